//! What the metrics say after something has happened.

use hybridrelay::Listener;
use hybridrelay_relay::{ListenAddress, MemoryStore, Relay};
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawEnds, RawListener};
use hybridrelay_tests::wire::raw::{Ask, Door, binary};
use hybridrelay_tests::wire::setup::{self, HYCO, until};

use crate::common::{A, LISTEN, SEND, connect, listen, namespace, serve};

/// The labels of the local relay's hybrid connection.
const LOCAL: [(&str, &str); 2] = [("namespace", "localhost"), ("entity", HYCO)];

fn with<'a>(labels: &[(&'a str, &'a str)], label: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    [labels, &[(label, value)]].concat()
}

#[tokio::test]
async fn connections_bytes_and_ends_are_counted() {
    for relay in setup::plain_and_tls().await {
        let read = || Samples::from(&relay);
        let ends = setup::ends(&relay).await;
        assert_eq!(read().sum("hybridrelay_active_listeners", &LOCAL), 1.0);
        until(|| read().sum("hybridrelay_active_connections", &LOCAL) == 1.0).await;
        let success = |name| read().sum(name, &with(&LOCAL, "result", "success"));
        assert_eq!(success("hybridrelay_listener_connections_total"), 1.0);
        assert_eq!(success("hybridrelay_sender_connections_total"), 1.0);
        assert_eq!(read().sum("hybridrelay_rendezvous_seconds_count", &[("namespace", "localhost")]), 1.0);

        ends.sender.send(vec![1; 1000]).soon().await.expect("open");
        ends.accepted.receive().soon().await.expect("open");
        ends.accepted.send(vec![1; 77]).soon().await.expect("open");
        ends.sender.receive().soon().await.expect("open");
        let (closed, answered) = tokio::join!(ends.sender.close().soon(), async {
            assert_eq!(ends.accepted.receive().soon().await.expect("closed in good order"), None);
            ends.accepted.close().soon().await
        });
        closed.and(answered).expect("closed in good order");
        until(|| read().sum("hybridrelay_sender_disconnects_total", &LOCAL) == 1.0).await;
        let bytes =
            |direction| read().sum("hybridrelay_transferred_bytes_total", &with(&LOCAL, "direction", direction));
        assert_eq!((bytes("to_listener"), bytes("to_sender")), (1000.0, 77.0));
        assert_eq!(read().sum("hybridrelay_active_connections", &LOCAL), 0.0);

        ends.listener.close().soon().await;
        until(|| read().sum("hybridrelay_listener_disconnects_total", &LOCAL) == 1.0).await;
        assert_eq!(read().sum("hybridrelay_active_listeners", &LOCAL), 0.0);
        until(|| read().sum("hybridrelay_sockets", &[]) == 0.0).await;
    }
}

#[tokio::test]
async fn a_long_connection_shows_what_it_has_moved_before_it_ends() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
    let piece = binary(&vec![7; 64 * 1024]);
    for _ in 0..40 {
        tokio::join!(sender.send(&piece), accepted.message());
    }
    let bytes =
        Samples::from(&relay).sum("hybridrelay_transferred_bytes_total", &with(&LOCAL, "direction", "to_listener"));
    assert!(bytes >= f64::from(1 << 20), "{bytes}");
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn time_in_which_a_side_takes_nothing_is_counted_for_its_direction() {
    let relay = setup::plain().await;
    let ends = setup::ends(&relay).await;
    setup::fill(&ends.sender).await;
    let blocked = |direction| {
        Samples::from(&relay).sum("hybridrelay_blocked_seconds_total", &with(&LOCAL, "direction", direction))
    };
    drop((ends.sender, ends.accepted));
    setup::no_connection(&relay).await;
    until(|| blocked("to_listener") > 0.0).await;
    assert_eq!(blocked("to_sender"), 0.0);
}

#[tokio::test]
async fn refusals_are_counted_by_their_reasons_and_by_whose_fault_they_are() {
    let relay = serve(|_| {}).await;
    let labels = [("namespace", "main"), ("entity", A)];
    let read = || Samples::from(&relay.handle);
    assert_eq!(connect(A, SEND).send(&relay.door).await.status, 404);
    assert_eq!(connect(A, LISTEN).send(&relay.door).await.status, 403);
    assert_eq!(connect("unknown", SEND).send(&relay.door).await.status, 404);
    assert_eq!(listen(A, SEND).send(&relay.door).await.status, 403);
    assert_eq!(Ask::websocket("/$hc/a?sb-hc-action=dance").send(&relay.door).await.status, 400);
    assert_eq!(Ask::websocket("/$hc/a?sb-hc-action=accept&sb-hc-ticket=x").send(&relay.door).await.status, 403);
    for (reason, count) in [
        ("no_listeners", 1.0),
        ("missing_right", 2.0),
        ("endpoint_not_found", 1.0),
        ("bad_request", 1.0),
        ("bad_ticket", 1.0),
    ] {
        assert_eq!(read().refusals(reason), count, "{reason}");
    }
    let client_errors = |name, labels: &[(&str, &str)]| {
        Samples::from(&relay.handle).sum(name, &[labels, &[("result", "client_error")]].concat())
    };
    assert_eq!(client_errors("hybridrelay_sender_connections_total", &labels), 2.0);
    assert_eq!(client_errors("hybridrelay_sender_connections_total", &[("namespace", "main"), ("entity", "")]), 1.0);
    assert_eq!(client_errors("hybridrelay_listener_connections_total", &labels), 1.0);

    // What a listener refuses is no refusal of the relay's.
    let mut control = RawListener::new(&relay.door, listen(A, LISTEN).send(&relay.door).await);
    let ask = connect(A, SEND);
    let (sender, listener) = tokio::join!(ask.send(&relay.door), async {
        control.invitation().await.dial_with("&sb-hc-statusCode=503&sb-hc-statusDescription=no").await
    });
    assert_eq!((sender.status, listener.status), (503, 410));
    assert_eq!(read().sum("hybridrelay_refusals_total", &[]), 6.0);
    let server_errors = [&labels[..], &[("result", "server_error")]].concat();
    assert_eq!(read().sum("hybridrelay_sender_connections_total", &server_errors), 1.0);
}

#[tokio::test]
async fn names_of_strangers_make_no_series() {
    let relay = serve(|_| {}).await;
    for n in 0..20 {
        connect(&format!("stranger-{n}"), SEND).send(&relay.door).await;
        Ask::http("GET", "/a").header("Host", &format!("stranger-{n}.example")).send(&relay.door).await;
    }
    assert!(!relay.handle.metrics_text().contains("stranger"), "{}", relay.handle.metrics_text());
}

#[tokio::test]
async fn the_metrics_are_served_on_a_socket_of_their_own() {
    let relay = Relay::builder()
        .listen(ListenAddress::plain(([127, 0, 0, 1], 0).into()))
        .metrics_listen(([127, 0, 0, 1], 0).into())
        .store(MemoryStore::new([namespace()]))
        .build()
        .start()
        .soon()
        .await
        .expect("free ports");
    let metrics = Door::new(relay.metrics_addr().expect("they are served"), None);
    let answer = Ask::http("GET", "/metrics?name=x").send(&metrics).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(Samples::new(answer.body.clone()).sum("hybridrelay_build_info", &[]), 1.0);
    let mut kept = answer.into_socket();
    Ask::http("GET", "/metrics").write(&metrics, &mut kept).await;
    assert_eq!(hybridrelay_tests::wire::raw::Answer::read(kept).await.status, 200);
    assert_eq!(Ask::http("GET", "/").send(&metrics).await.status, 404);
    let wrong = Ask::http("POST", "/metrics").send(&metrics).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));

    // Not among the relay's own paths, which anybody can reach.
    let door = Door::new(relay.local_addrs()[0], None);
    assert_eq!(Ask::http("GET", "/metrics").token("SharedAccessSignature").send(&door).await.status, 401);

    // While connections drain they are still served, and at the end the port is free again.
    let mut control = RawListener::new(&door, listen(A, LISTEN).send(&door).await);
    let ask = connect(A, SEND);
    let (sender, _accepted) = tokio::join!(ask.send(&door), control.accept());
    let sender = sender.websocket();
    let shutdown = tokio::spawn(relay.shutdown(std::time::Duration::from_secs(60)));
    let draining = async {
        loop {
            let body = Ask::http("GET", "/metrics").send(&metrics).await.body;
            if Samples::new(body).sum("hybridrelay_drain_stage", &[]) == 2.0 {
                return;
            }
        }
    };
    draining.soon().await;
    drop(control);
    sender.reset();
    shutdown.soon().await.expect("no panic");
    std::net::TcpListener::bind(metrics.addr).expect("the port is free");
}

#[tokio::test]
async fn relays_of_one_process_count_for_themselves() {
    let [first, second] = [setup::plain().await, setup::plain().await];
    let _listener = Listener::builder(first.connection_string(HYCO)).open().soon().await.expect("online");
    assert_eq!(Samples::from(&first).sum("hybridrelay_active_listeners", &[]), 1.0);
    assert_eq!(Samples::from(&second).sum("hybridrelay_active_listeners", &[]), 0.0);
}
