//! Health, readiness, and the order in which a relay ends.

use hybridrelay::Status;
use hybridrelay::env::sim::{self, Sim};
use hybridrelay_tests::wire::raw::Ask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{A, SEND, World, meet, seconds, serve};

#[tokio::test]
async fn health_and_readiness_are_told_to_anybody() {
    for path in ["/$relay/healthz", "/$relay/readyz", "/%24relay/healthz"] {
        for host in ["relay", "no-such-namespace.example"] {
            let answer = Ask::http("GET", path).header("Host", host).send(&serve(|_| {}).await.door).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
}

#[tokio::test]
async fn there_is_nothing_else_below_that_path() {
    let relay = serve(|_| {}).await;
    let asks = [
        Ask::http("GET", "/$relay"),
        Ask::http("GET", "/$relay/"),
        Ask::http("GET", "/$relay/metrics"),
        Ask::http("GET", "/$relay/healthz/more"),
        Ask::websocket("/$relay/events"),
    ];
    for ask in asks {
        let answer = ask.clone().send(&relay.door).await;
        assert_eq!((answer.status, answer.text()), (404, "Endpoint does not exist"), "{ask:?}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert!(answer.body.contains("\"code\":\"EndpointNotFound\""), "{}", answer.body);
    }
    let answer = Ask::http("POST", "/$relay/healthz").send(&relay.door).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
}

/// Asks over a new socket, as a load balancer does; `None` if none is taken.
async fn ask(sim: &Sim, path: &str) -> Option<String> {
    let env = sim.env("balancer");
    let address = env.resolve("relay", 80).await.expect("a known host")[0];
    let mut socket = env.dial(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).expect("a status line");
    Some(format!("{status} {body}"))
}

#[test]
fn a_relay_announces_its_end_before_it_takes_nothing_new() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |config| config.timings.drain_lead = seconds(20)).await;
        let listener = world.listener("office", A).reconnect(false).open().await.expect("online");
        let sender = world.sender("phone", A, SEND).build().expect("a valid target");
        let (sent, accepted) = meet(&sender, &listener).await;
        assert_eq!(ask(&sim, "/$relay/readyz").await.as_deref(), Some("200 ok"));

        let began = sim.elapsed();
        let shutdown = tokio::spawn(world.relay.shutdown(seconds(60)));

        // Everything goes on, but whoever asks stays away.
        sim.sleep(seconds(10)).await;
        assert_eq!(ask(&sim, "/$relay/readyz").await.as_deref(), Some("503 draining"));
        assert_eq!(ask(&sim, "/$relay/healthz").await.as_deref(), Some("200 ok"));
        assert!(matches!(listener.status().current(), Status::Online { .. }));
        let (second, second_accepted) = meet(&sender, &listener).await;
        second.send("new").await.expect("open");
        assert_eq!(second_accepted.receive().await.expect("open"), Some("new".into()));

        // Then nothing new, and listeners are told; what is open goes on.
        let error = listener.accept().await.expect_err("the relay closed the channel");
        assert_eq!(error.close_code(), Some(1001), "{error:?}");
        assert_eq!((sim.elapsed() - began).as_secs(), 20);
        assert_eq!(ask(&sim, "/$relay/readyz").await, None);
        sent.send("still").await.expect("open");
        assert_eq!(accepted.receive().await.expect("open"), Some("still".into()));

        // The end comes when the last connection has ended, or its time.
        for connection in [sent, second] {
            connection.abort();
        }
        shutdown.await.expect("no panic");
        assert!(sim.elapsed() - began < seconds(30), "{:?}", sim.elapsed() - began);
    });
}
