//! The SDK follows what the relay tells.

use std::time::Duration;

use hybridrelay::{
    EndpointEvent, ErrorKind, Listener, Namespace, PresenceEvent, PresenceEvents, PresenceWatcher, Sender,
};
use hybridrelay_relay::{Discoverable, LocalRelay, Rights, Visibility};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::FakeRelay;
use hybridrelay_tests::wire::setup::{self, HYCO, entity, until};

fn sender(relay: &LocalRelay) -> Sender {
    setup::sender(relay, HYCO).build().expect("the options are right")
}

async fn online(relay: &LocalRelay) -> Listener {
    setup::listener(relay, HYCO).soon().await.expect("the listener gets online")
}

/// Waits until a watcher has seen so many.
async fn sees(watcher: &mut PresenceWatcher, count: usize) {
    while watcher.current().count != count {
        watcher.changed().soon().await.expect("it goes on");
    }
}

async fn next(events: &mut PresenceEvents) -> PresenceEvent {
    events.next().soon().await.expect("the relay tells")
}

#[tokio::test]
async fn a_watcher_follows_listeners_over_plain_http_and_http_2() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).label("zone", "eu, north").label("v", "2").soon().await;
        let listener = listener.expect("the listener gets online");
        let mut watcher = sender(&relay).presence().soon().await.expect("the relay tells");
        let presence = watcher.current();
        assert_eq!((presence.count, presence.since.is_some()), (1, true));
        let [only] = &presence.listeners.expect("the key may manage")[..] else { panic!("one listener") };
        assert!(only.agent.as_deref().is_some_and(|agent| agent.starts_with("hybridrelay-rust/")), "{only:?}");
        assert_eq!(
            only.labels.iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>(),
            [("v", "2"), ("zone", "eu, north")]
        );
        assert!(only.address.is_some() && only.last_heard >= only.since, "{only:?}");

        let second = online(&relay).await;
        sees(&mut watcher, 2).await;
        assert_eq!(watcher.current().listeners.expect("the key may manage").len(), 2);
        listener.close().soon().await;
        second.close().soon().await;
        sees(&mut watcher, 0).await;
        let presence = watcher.current();
        assert_eq!((presence.since, presence.listeners), (None, Some(Vec::new())));
        assert!(watcher.interruption().is_none());
        assert_eq!(sender(&relay).presence_now().soon().await.expect("the relay tells"), watcher.current());
    }
}

#[tokio::test]
async fn a_watcher_outlives_its_relay() {
    let relay = setup::plain().await;
    let (port, key) = (relay.local_addr().port(), relay.key().to_owned());
    let _listener = online(&relay).await;
    let mut watcher = sender(&relay).presence().soon().await.expect("the relay tells");
    relay.shutdown(Duration::ZERO).soon().await;
    while watcher.interruption().is_none() {
        watcher.changed().soon().await.expect("it goes on");
    }
    let relay = setup::again(port, &key).await;
    let mut online = relay.watch_listeners(HYCO);
    online.wait_for(|online| *online == 1).soon().await.expect("the relay runs");
    while watcher.interruption().is_some() || watcher.current().count != 1 {
        watcher.changed().soon().await.expect("it goes on");
    }
}

#[tokio::test]
async fn no_listener_is_missed_while_the_relay_is_not_heard() {
    let relay = setup::plain().await;
    let mut events = sender(&relay).presence_events();
    let first = online(&relay).await;
    let PresenceEvent::Present(present) = next(&mut events).await else { panic!("the present state comes first") };
    assert_eq!(present.count, 1);
    // Another right ends the stream. While nothing is read, one comes and one goes.
    relay.store().edit(relay.namespace(), |namespace| namespace.rules[0].rights = Rights::LISTEN_AND_SEND);
    let PresenceEvent::Interrupted { error, .. } = next(&mut events).await else { panic!("the stream has ended") };
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    let _second = online(&relay).await;
    first.close().soon().await;
    assert!(matches!(next(&mut events).await, PresenceEvent::Restored));
    let PresenceEvent::Connected { id, count: 2, listener: None, .. } = next(&mut events).await else {
        panic!("the second came, and who it is may not be told")
    };
    let PresenceEvent::Disconnected { id: gone, count: 1, .. } = next(&mut events).await else {
        panic!("the first went")
    };
    assert_ne!(id, gone);
    assert_eq!(events.current().count, 1);
}

#[tokio::test]
async fn dropping_a_watcher_ends_its_stream() {
    let relay = setup::plain().await;
    let _listener = online(&relay).await;
    let watcher = sender(&relay).presence().soon().await.expect("the relay tells");
    let other = watcher.clone();
    drop(watcher);
    let sockets = |relay: &LocalRelay| {
        hybridrelay_tests::metrics::Samples::new(relay.metrics_text()).sum("hybridrelay_sockets", &[])
    };
    assert_eq!(sockets(&relay), 2.0, "the listener's, and the watcher's");
    drop(other);
    until(|| sockets(&relay) == 1.0).await;
}

#[tokio::test]
async fn a_sender_waits_for_a_listener() {
    let relay = setup::plain().await;
    relay.store().put_entity(relay.namespace(), entity(HYCO));
    let sender = sender(&relay);
    let error = sender.wait_for_listener(Duration::from_millis(50)).soon().await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("nobody listened on 'hyco'"), "{error}");
    let waiting = sender.wait_for_listener(Duration::from_secs(60));
    let (present, _listener) = tokio::join!(waiting, online(&relay));
    assert_eq!(present.expect("somebody listens").count, 1);
}

#[tokio::test]
async fn a_relay_that_does_not_tell_is_named_as_one() {
    let azure = r#"{"error":{"code":"EndpointNotFound","message":"Endpoint does not exist."}}"#;
    for (status, kind) in [
        ("404 Endpoint does not exist", ErrorKind::Unsupported),
        ("401 InvalidAudience", ErrorKind::Unsupported),
        ("200 OK", ErrorKind::Unsupported),
        ("503 Service Unavailable", ErrorKind::ServerBusy),
        ("429 Too Many Requests", ErrorKind::ServerBusy),
    ] {
        let relay = FakeRelay::start().await;
        let sender = Sender::new(relay.connection_string()).expect("a target");
        let refusing = async {
            let visitor = relay.visitor().await;
            assert_eq!(visitor.target, "/$relay/presence/hyco");
            visitor.refuse(status, "Content-Type: application/json\r\n", azure).await;
        };
        let (presence, ()) = tokio::join!(sender.presence().soon(), refusing);
        let error = presence.expect_err("it does not tell");
        assert_eq!(error.kind(), kind, "{status}: {error}");
        if kind == ErrorKind::Unsupported {
            assert!(error.to_string().contains("'presence'"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_our_relay_refuses_is_a_refusal() {
    let relay = setup::plain().await;
    let nowhere = sender(&relay).presence().soon().await.expect_err("there is no such hybrid connection");
    assert_eq!(nowhere.kind(), ErrorKind::EndpointNotFound, "{nowhere}");
    let stranger = Sender::builder(relay.address()).entity(HYCO).build().expect("a target");
    let stranger = stranger.presence_now().soon().await.expect_err("a token is needed");
    assert_eq!(stranger.kind(), ErrorKind::Unauthorized, "{stranger}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_in_an_event_is_read_again_from_the_last_whole_one() {
    let relay = FakeRelay::start().await;
    let mut events = Sender::new(relay.connection_string()).expect("a target").presence_events();
    let head = "HTTP/1.1 200 OK\r\nRelay-Features: presence\r\nContent-Type: text/event-stream\r\n\r\n";
    let first = async {
        let mut visitor = relay.visitor().await;
        assert_eq!((visitor.header("accept"), visitor.header("last-event-id")), (Some("text/event-stream"), None));
        let begun = ": hello\n\nid: a-1\nevent: snapshot\ndata: {\"count\":0}\n\nevent: later\ndata: {}\n\nid: a-2\nevent: listener-connected\nda";
        visitor.answer(&format!("{head}{begun}")).await;
    };
    let (event, ()) = tokio::join!(events.next().soon(), first);
    assert!(matches!(event, Ok(PresenceEvent::Present(_))), "{event:?}");
    assert!(matches!(next(&mut events).await, PresenceEvent::Interrupted { .. }));
    let second = async {
        let mut visitor = relay.visitor().await;
        assert_eq!(visitor.header("last-event-id"), Some("a-1"));
        let data = r#"{"id":"x","count":1,"more":true}"#;
        visitor.answer(&format!("{head}id: a-2\nevent: listener-connected\ndata: {data}\n\n")).await;
        visitor
    };
    let (event, _visitor) = tokio::join!(events.next().soon(), second);
    assert!(matches!(event, Ok(PresenceEvent::Restored)), "{event:?}");
    assert!(matches!(next(&mut events).await, PresenceEvent::Connected { count: 1, .. }));
}

#[tokio::test]
async fn labels_that_cannot_be_sent_are_told_at_once() {
    let relay = setup::plain().await;
    for (key, value) in [("", "x"), ("a", &*"x".repeat(1024))] {
        let error = setup::listener(&relay, HYCO).label(key, value).soon().await.expect_err("it cannot be sent");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

/// A relay whose namespace tells of `hyco`, and a namespace with the relay's key or without one.
async fn with_discovery() -> (LocalRelay, Namespace, Namespace) {
    let relay = setup::tls().await;
    let described = Discoverable { title: "A title".to_owned(), ..Discoverable::new(Visibility::Authorised) };
    relay.store().edit(relay.namespace(), |namespace| namespace.discovery = true);
    relay.store().put_entity(relay.namespace(), entity(HYCO).discoverable(described));
    relay
        .store()
        .put_entity(relay.namespace(), entity("open").anonymous().discoverable(Discoverable::new(Visibility::Public)));
    let trust = || relay.ca_pem().expect("TLS").to_owned();
    let known = Namespace::builder(relay.connection_string("open")).extra_ca_pem(trust()).build();
    let stranger = Namespace::builder(relay.address()).extra_ca_pem(trust()).build();
    (relay, known.expect("a target"), stranger.expect("a target"))
}

#[tokio::test]
async fn a_namespace_tells_what_it_offers() {
    let (relay, known, stranger) = with_discovery().await;
    assert_eq!(known.endpoints().soon().await.expect("the relay tells"), []);
    let _hyco = online(&relay).await;
    let _open = setup::listener(&relay, "open").soon().await.expect("the listener gets online");
    let endpoints = known.endpoints().soon().await.expect("the relay tells");
    let [hyco, open] = &endpoints[..] else { panic!("both: {endpoints:?}") };
    assert_eq!((hyco.path.as_str(), &*hyco.title, hyco.requires_authorization), ("hyco", "A title", true));
    let port = relay.local_addr().port();
    assert_eq!(open.url, format!("https://localhost:{port}/open"));
    assert_eq!(
        (&*open.web_socket_url, open.requires_authorization),
        (&*format!("wss://localhost:{port}/$hc/open"), false)
    );
    assert!(open.since.is_some() && open.tags.is_empty());
    assert_eq!(stranger.endpoints().soon().await.expect("the relay tells"), std::slice::from_ref(open));
}

#[tokio::test]
async fn endpoints_are_followed() {
    let (relay, known, _) = with_discovery().await;
    let mut events = known.watch();
    let first = events.next().soon().await.expect("the relay tells");
    assert!(matches!(&first, EndpointEvent::Present(none) if none.is_empty()), "{first:?}");
    let listener = online(&relay).await;
    let came = events.next().soon().await.expect("the relay tells");
    assert!(matches!(&came, EndpointEvent::Online(endpoint) if endpoint.title == "A title"), "{came:?}");
    listener.close().soon().await;
    let went = events.next().soon().await.expect("the relay tells");
    assert!(matches!(&went, EndpointEvent::Offline { path, .. } if path == "hyco"), "{went:?}");
    relay.store().put_entity(relay.namespace(), entity("other").discoverable(Discoverable::new(Visibility::Public)));
    let anew = events.next().soon().await.expect("the relay tells");
    assert!(matches!(&anew, EndpointEvent::Present(_)), "{anew:?}");
}

#[tokio::test]
async fn a_namespace_that_tells_nobody_is_named_as_one() {
    let relay = setup::plain().await;
    let namespace = Namespace::new(relay.connection_string(HYCO)).expect("a target");
    let error = namespace.endpoints().soon().await.expect_err("it does not tell");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("'discovery'"), "{error}");
    assert_eq!(namespace.watch().next().soon().await.expect_err("nor this way").kind(), ErrorKind::Unsupported);
}
