//! Relayed HTTP under a clock that the test moves.

use std::time::Duration;

use http::{Request, Response};
use hybridrelay::env::BoxSocket;
use hybridrelay::env::sim::{self, Sim, Trace};
use hybridrelay::{ErrorKind, Incoming, IncomingRequest, Listener, Sender};
use hybridrelay_relay::{Entity, HttpSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{ENTITY, NAMESPACE, RELAY, SENDER, World, connection_string};

async fn incoming(listener: &Listener) -> IncomingRequest {
    match listener.accept().await {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("a request was expected, not {other:?}"),
    }
}

fn post(body: Vec<u8>) -> Request<Vec<u8>> {
    Request::post("/x").body(body).expect("a request")
}

/// Requests by both ways of delivery, answers by both ways, several at once, and a control channel that is lost in between.
async fn a_few_requests(sim: Sim) -> Trace {
    sim.network().set_latency(Duration::from_millis(3));
    let world = World::start(sim.clone()).await;
    let listener = world.listener().open().await.expect("online");
    let sender = world.sender().build().expect("a valid target");
    for size in [0, 1_000, 100_000] {
        let asking = async {
            let (one, other) = tokio::join!(sender.request(post(vec![1; size])), sender.request(post(vec![2; size])));
            for response in [one, other] {
                let body = response.expect("an answer").into_body().bytes(1 << 20).await.expect("a whole one");
                assert_eq!(body.len(), size);
            }
        };
        let answering = async {
            for _ in 0..2 {
                let (request, responder) = incoming(&listener).await.into_parts();
                let body = request.into_body().bytes(1 << 20).await.expect("a whole body");
                responder.send(Response::new(body)).await.expect("it is sent");
            }
        };
        tokio::join!(asking, answering);
    }
    let (lost, ()) = tokio::join!(sender.request(post(vec![])), async {
        let request = incoming(&listener).await;
        assert_eq!(world.relay.drop_control(NAMESPACE, ENTITY), 1);
        request.cancelled().await;
    });
    let error = lost.expect_err("who would have answered has gone");
    assert_eq!((error.status(), error.is_retryable()), (Some(502), true));
    listener.close().await;
    sim.trace()
}

#[test]
fn one_seed_gives_one_trace_of_requests() {
    for seed in 1..=3 {
        let first = sim::run(seed, a_few_requests);
        assert!(first.records().len() > 100, "something was sent:\n{first}");
        if let Some(difference) = first.difference(&sim::run(seed, a_few_requests)) {
            panic!("two runs with seed {seed} differ:\n{difference}");
        }
    }
}

#[test]
fn a_sender_that_lives_for_hours_always_has_a_token_that_is_good() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        let sender = world.sender().build().expect("a valid target");
        for _ in 0..20 {
            let (response, ()) = tokio::join!(sender.request(post(vec![])), async {
                incoming(&listener).await.into_parts().1.send(Response::new("x")).await.expect("it is sent");
            });
            assert_eq!(response.expect("an answer").status(), 200);
            sim.sleep(Duration::from_secs(17 * 60)).await;
        }
    });
}

/// Takes a request without a body from a sender, as a relay that has a listener would, and answers.
async fn serve(socket: &mut BoxSocket, answer: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a request"));
    }
    socket.write_all(answer.as_bytes()).await.expect("the sender reads");
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nVia: 1.1 relay\r\nContent-Length: 0\r\n\r\n";

#[test]
fn the_connection_of_requests_that_travel_alone_is_kept_for_half_a_minute() {
    sim::run(1, async |sim| {
        let mut relay = sim.env(RELAY).bind(([0, 0, 0, 0], 80).into()).await.expect("the port is free");
        let sender = Sender::builder(connection_string()).env(sim.env(SENDER)).build().expect("a valid target");
        let get = || Request::get("/").body(()).expect("a request");
        let serving = async {
            let mut socket = relay.accept().await.expect("the sender comes");
            serve(&mut socket, ANSWER).await;
            serve(&mut socket, ANSWER).await;
            let since = sim.elapsed();
            let ended = sim.env(RELAY).timeout(Duration::from_secs(300), socket.read_u8()).await;
            ended.expect("it ends by itself").expect_err("nothing more comes");
            (sim.elapsed() - since).as_secs()
        };
        let asking = async {
            sender.request(get()).await.expect("an answer");
            sim.sleep(Duration::from_secs(29)).await;
            sender.request(get()).await.expect("an answer on the same connection");
        };
        let (kept, ()) = tokio::join!(serving, asking);
        assert_eq!(kept, 30);
    });
}

#[test]
fn a_request_that_finds_its_connection_ended_goes_by_another_one() {
    sim::run(1, async |sim| {
        let mut relay = sim.env(RELAY).bind(([0, 0, 0, 0], 80).into()).await.expect("the port is free");
        let sender = Sender::builder(connection_string()).env(sim.env(SENDER)).build().expect("a valid target");
        let get = || Request::get("/").body(()).expect("a request");
        let serving = async {
            // Said, or not.
            for answer in [ANSWER.replace("Via", "Connection: close\r\nVia"), ANSWER.to_owned(), ANSWER.to_owned()] {
                serve(&mut relay.accept().await.expect("the sender comes"), &answer).await;
            }
            // Not answered at all, which is no reason to ask again.
            let mut socket = relay.accept().await.expect("the sender comes");
            let _ = socket.read_u8().await.expect("a request");
        };
        let asking = async {
            for _ in 0..3 {
                sender.request(get()).await.expect("an answer");
                sim.sleep(Duration::from_secs(1)).await;
            }
            let error = sender.request(get()).await.expect_err("no answer");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ConnectionLost, true));
        };
        tokio::join!(serving, asking);
    });
}

#[test]
fn a_listener_that_does_not_answer_is_given_up_by_the_relay_and_learns_it() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        let sender = world.sender().build().expect("a valid target");
        let began = sim.elapsed();
        let (response, responder) =
            tokio::join!(sender.request(post(vec![])), async { incoming(&listener).await.into_parts().1 });
        let error = response.expect_err("nobody answers");
        assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, Some(504)));
        assert_eq!((sim.elapsed() - began).as_secs(), 60);
        drop(responder);
    });
}

#[test]
fn an_answer_that_takes_its_time_keeps_its_sender() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let listener = world.listener().open().await.expect("online");
        let sender = world.sender().build().expect("a valid target");
        let (response, ()) = tokio::join!(sender.request(post(vec![])), async {
            let (_, responder) = incoming(&listener).await.into_parts();
            let mut writer = responder.start(Response::new(())).expect("a status");
            for _ in 0..10 {
                writer.write("tick").await.expect("the sender waits");
                writer.flush().await.expect("the sender waits");
                sim.sleep(Duration::from_secs(50)).await;
            }
            writer.finish().await.expect("the sender waits");
        });
        // The body waits in the sockets until it is read.
        let body = response.expect("an answer").into_body().bytes(99).await.expect("a whole body");
        assert_eq!(body.len(), 40);
    });
}

#[test]
fn an_answer_of_a_hundred_and_thirty_seconds_comes_where_that_is_allowed() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let silence = Duration::from_secs(130);
        let mut settings = HttpSettings::default();
        (settings.response_timeout, settings.idle_timeout) = (2 * silence, 2 * silence);
        let entity = Entity::new(ENTITY.parse().expect("a valid name")).with_http(settings);
        assert!(world.store.put_entity(NAMESPACE, entity));
        let listener = world.listener().open().await.expect("online");
        let sender = world.sender().build().expect("a valid target");
        let began = sim.elapsed();
        let (response, ()) = tokio::join!(
            async {
                let response = sender.request(post(vec![])).await.expect("an answer");
                response.into_body().bytes(99).await.expect("a whole body")
            },
            async {
                let (_, responder) = incoming(&listener).await.into_parts();
                sim.sleep(silence).await;
                let mut writer = responder.start(Response::new(())).expect("a status");
                writer.write("la").await.expect("the sender waits");
                writer.flush().await.expect("the sender waits");
                sim.sleep(silence).await;
                writer.write("te").await.expect("the sender waits");
                writer.finish().await.expect("the sender waits");
            }
        );
        assert_eq!(response, "late");
        assert!(sim.elapsed() - began >= 2 * silence, "the clock was moved through the silence");
    });
}
