//! Sockets of which nothing is known yet: how many, and for how long.

use hybridrelay::env::sim;
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Answer, Ask, Socket};
use hybridrelay_tests::wire::setup::{Served, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{A, LISTEN, SEND, World, connect, listen, seconds, serve};

const HERE: [u8; 4] = [127, 0, 0, 2];
const THERE: [u8; 4] = [127, 0, 0, 3];

fn gauge(relay: &Served, name: &str) -> f64 {
    Samples::from(&relay.handle).sum(name, &[])
}

/// Opens sockets on which nothing is said, and waits until the relay has them.
async fn silent(relay: &Served, from: [u8; 4], count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    let before = gauge(relay, "hybridrelay_sockets");
    for _ in 0..count {
        sockets.push(relay.door.from_address(from).open().await);
    }
    until(|| gauge(relay, "hybridrelay_sockets") == before + count as f64).await;
    sockets
}

#[tokio::test]
async fn sockets_of_one_address_that_say_nothing_do_not_stand_in_anothers_way() {
    let relay = serve(|config| config.limits.handshakes_per_address = 2).await;
    let mut idle = silent(&relay, HERE, 5).await;
    assert_eq!(gauge(&relay, "hybridrelay_handshakes"), 2.0, "the others wait");

    let there = relay.door.from_address(THERE);
    let control = listen(A, LISTEN).send(&there).await.websocket();

    // One more from the same address is answered as soon as those before it have gone.
    let mut waiting = relay.door.from_address(HERE).open().await;
    connect(A, SEND).without("ServiceBusAuthorization").write(&relay.door, &mut waiting).await;
    until(|| gauge(&relay, "hybridrelay_unauthenticated_sockets") == 6.0).await;
    idle.clear();
    assert_eq!(Answer::read(waiting).await.status, 401);
    drop(control);
}

#[tokio::test]
async fn a_sender_that_waits_for_its_listener_holds_up_no_handshake() {
    let relay = serve(|config| config.limits.handshakes = 1).await;
    let mut control = RawListener::new(&relay.door, listen(A, LISTEN).send(&relay.door).await);
    // The listener's dial is a handshake as well: it gets its turn while the sender waits.
    let ask = connect(A, SEND);
    let (sender, _accepted) = tokio::join!(ask.send(&relay.door), control.accept());
    sender.websocket();
    assert_eq!(gauge(&relay, "hybridrelay_handshakes"), 0.0);
}

#[tokio::test]
async fn sockets_without_authorization_are_bounded_and_one_more_is_closed_unanswered() {
    let relay = serve(|config| config.limits.unauthenticated_per_address = 2).await;
    let mut idle = silent(&relay, HERE, 2).await;
    let mut third = relay.door.from_address(HERE).open().await;
    let mut nothing = Vec::new();
    assert!(matches!(third.receive(&mut nothing).await, Ok(0) | Err(_)));
    assert_eq!(Samples::from(&relay.handle).refusals("unauthenticated_per_address"), 1.0);

    // A socket that proves what it may do does not count any more.
    let control = {
        let mut socket = idle.remove(0);
        listen(A, LISTEN).write(&relay.door, &mut socket).await;
        Answer::read(socket).await.websocket()
    };
    until(|| gauge(&relay, "hybridrelay_unauthenticated_sockets") == 1.0).await;
    let _another = silent(&relay, HERE, 1).await;
    drop(control);
}

#[tokio::test]
async fn one_socket_more_than_the_relay_may_have_is_closed_unanswered() {
    for (limit, edit) in [
        ("sockets", (|config| config.limits.sockets = 1) as fn(&mut hybridrelay_relay::Config)),
        ("unauthenticated", |config| config.limits.unauthenticated = 1),
    ] {
        let relay = serve(edit).await;
        let _first = silent(&relay, HERE, 1).await;
        let mut second = relay.door.from_address(THERE).open().await;
        let mut nothing = Vec::new();
        assert!(matches!(second.receive(&mut nothing).await, Ok(0) | Err(_)));
        assert_eq!(Samples::from(&relay.handle).refusals(limit), 1.0, "{limit}");
    }
}

#[test]
fn a_socket_that_asks_nothing_is_closed_after_ten_seconds() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |_| {}).await;
        let mut socket = world.dial("stranger").await;
        let began = sim.elapsed();
        assert!(matches!(socket.read_u8().await, Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof));
        let took = sim.elapsed() - began;
        assert!((seconds(10)..seconds(11)).contains(&took), "{took:?}");
        assert_eq!(Samples::from(&world.relay).refusals("handshake_timeout"), 1.0);
    });
}

#[test]
fn a_request_that_comes_byte_by_byte_is_not_waited_for_longer() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |_| {}).await;
        let mut socket = world.dial("stranger").await;
        let began = sim.elapsed();
        for byte in b"GET /$hc/a?sb-hc-action=listen HTTP/1.1\r\nHost: relay\r\n".iter().cycle() {
            sim.sleep(seconds(1)).await;
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        let took = sim.elapsed() - began;
        assert!((seconds(10)..seconds(13)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_socket_that_waits_for_its_turn_too_long_is_closed() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |config| {
            config.limits.handshakes = 1;
            // Who has the turn keeps it.
            config.timings.header_read = seconds(3600);
        })
        .await;
        let _first = world.dial("stranger").await;
        let mut second = world.dial("other").await;
        sim.sleep(seconds(1)).await;
        assert_eq!(Samples::from(&world.relay).sum("hybridrelay_handshakes", &[]), 1.0);
        assert!(second.read_u8().await.is_err());
        // The first had ten seconds as well, and ended a moment earlier or later.
        sim.sleep(seconds(10)).await;
        assert_eq!(Samples::from(&world.relay).refusals("handshake_timeout"), 2.0);
        assert_eq!(Samples::from(&world.relay).sum("hybridrelay_sockets", &[]), 0.0);
    });
}

#[test]
fn a_request_that_is_being_answered_has_all_the_time_it_needs() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |_| {}).await;
        let listener = world.listener("office", A).open().await.expect("online");
        let sender = world.sender("phone", A, SEND).build().expect("a valid target");
        // The listener takes longer than a handshake may.
        let accepting = async {
            let incoming = hybridrelay_tests::wire::setup::incoming(&listener).await;
            sim.sleep(seconds(20)).await;
            incoming.accept().await.expect("the sender waits")
        };
        let (sent, _accepted) = tokio::join!(sender.connect().open(), accepting);
        sent.expect("the relay waits");
    });
}

#[tokio::test]
async fn a_connection_that_goes_on_asking_is_no_handshake_any_more() {
    let relay = serve(|config| config.limits.handshakes = 1).await;
    let answer = Ask::http("GET", "/$relay/healthz").send(&relay.door).await;
    assert_eq!(answer.status, 200);
    let mut kept = answer.into_socket();
    // Its turn is over, so another gets one while it stays.
    assert_eq!(Ask::http("GET", "/$relay/healthz").send(&relay.door).soon().await.status, 200);
    Ask::http("GET", "/$relay/healthz").write(&relay.door, &mut kept).await;
    assert_eq!(Answer::read(kept).await.status, 200);
}
