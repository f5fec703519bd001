//! What a program sees of the SDK: errors by kind, options, a listener's life, cancellation.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use hybridrelay::token::TokenProvider;
use hybridrelay::{
    Body, ByteStream, Cancellation, Connection, ConnectionReader, ConnectionString, ConnectionWriter, Error, ErrorKind,
    Incoming, IncomingConnect, IncomingRequest, Listener, ListenerBuilder, Message, RelayAddress, Responder,
    ResponseWriter, Sender, SenderBuilder, Status, StatusWatcher, Target,
};
use hybridrelay_relay::{Config, LocalRelay, Namespace, Rights, Rule};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::FakeRelay;
use hybridrelay_tests::wire::setup::{self, Ends, HYCO, Served, entity};
use tokio::sync::Notify;

/// A relay whose one hybrid connection has a rule for listeners and one for senders.
async fn strict() -> Served {
    let hyco = entity(HYCO).with_rule(Rule::new("listen", Rights::LISTEN, "l")).with_rule(Rule::new(
        "send",
        Rights::SEND,
        "s",
    ));
    let mut config = Config::default();
    config.limits.listeners_per_entity = 1;
    config.limits.waiting_per_entity = 1;
    setup::serve([Namespace::new("n").with_entity(hyco)], config).await
}

fn target(served: &Served, entity: &str, rule: &str, key: &str) -> String {
    let authority = &served.door.authority;
    format!(
        "Endpoint=sb://{authority}/;SharedAccessKeyName={rule};SharedAccessKey={key};EntityPath={entity};UseDevelopmentEmulator=true"
    )
}

#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind, status: impl Into<Option<u16>>, retryable: bool) {
    let seen = (error.kind(), error.status(), error.is_retryable());
    assert_eq!(seen, (kind, status.into(), retryable), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("sig="), "no token shows");
}

#[tokio::test]
async fn every_refusal_has_its_kind_the_relays_words_and_its_tracking_id() {
    let served = strict().await;
    for (rule, key, status, words) in [
        ("listen", "wrong", 401, "token has an invalid signature"),
        ("nobody", "l", 401, "invalid signature"),
        ("send", "s", 403, "right to listen"),
    ] {
        let error = Listener::builder(target(&served, HYCO, rule, key)).soon().await.unwrap_err();
        assert_error(&error, ErrorKind::Unauthorized, status, false);
        assert!(error.reason().is_some_and(|reason| reason.contains(words)), "{error}");
        assert!(error.tracking_id().is_some_and(|id| error.reason().unwrap().contains(id)));
        assert!(error.hint().is_some());
    }
    let error = hybridrelay::connect(target(&served, HYCO, "listen", "l")).soon().await.unwrap_err();
    assert_error(&error, ErrorKind::Unauthorized, 403, false);
    let anonymous = format!("http://{}/{HYCO}", served.door.authority);
    assert_error(&hybridrelay::connect(anonymous).soon().await.unwrap_err(), ErrorKind::Unauthorized, 401, false);
    let error = hybridrelay::connect(target(&served, HYCO, "send", "s")).soon().await.unwrap_err();
    assert_error(&error, ErrorKind::NoListeners, 404, true);

    let listener = Listener::builder(target(&served, HYCO, "listen", "l")).soon().await.unwrap();
    let error = Listener::builder(target(&served, HYCO, "listen", "l")).soon().await.unwrap_err();
    assert_error(&error, ErrorKind::QuotaExceeded, 403, false);
    let sender = Sender::new(target(&served, HYCO, "send", "s")).unwrap();
    let mut waiting = Box::pin(sender.connect().open());
    let incoming = tokio::select! {
        incoming = setup::incoming(&listener) => incoming,
        _ = &mut waiting => panic!("nobody has answered"),
    };
    let error = sender.connect().soon().await.unwrap_err();
    assert_error(&error, ErrorKind::ServerBusy, 503, true);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    drop(incoming);

    // A namespace's rule finds out what does not exist.
    let rule = Rule::new("all", Rights::MANAGE, "a");
    served.store.edit("n", |namespace| namespace.rules.push(rule));
    for error in [
        Listener::builder(target(&served, "nobody", "all", "a")).soon().await.unwrap_err(),
        hybridrelay::connect(target(&served, "nobody", "all", "a")).soon().await.unwrap_err(),
    ] {
        assert_error(&error, ErrorKind::EndpointNotFound, 404, false);
        assert!(error.reason().is_some_and(|reason| reason.contains("/nobody,")), "{error}");
    }
}

/// A port of loopback on which nobody listens.
async fn closed_port() -> u16 {
    let bound = tokio::net::TcpListener::bind("127.0.0.1:0").soon().await.unwrap();
    bound.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_relay_that_cannot_be_reached_is_a_network_failure() {
    let port = closed_port().await;
    for address in [format!("http://127.0.0.1:{port}/hyco"), "http://no-such-host.invalid-name.localhost:1/hyco".into()]
    {
        let error = hybridrelay::connect(address.clone()).soon().await.unwrap_err();
        assert_error(&error, ErrorKind::Network, None, true);
        let error = hybridrelay::listen(address).soon().await.unwrap_err();
        assert_error(&error, ErrorKind::Network, None, true);
        assert!(error.reason().is_some());
    }
    // One that takes the connection and says nothing.
    let fake = FakeRelay::start().await;
    let sender = Sender::builder(fake.connection_string()).connect_timeout(Duration::from_millis(200)).build().unwrap();
    assert_error(&sender.connect().soon().await.unwrap_err(), ErrorKind::Timeout, None, true);
    let listening = Listener::builder(fake.connection_string()).connect_timeout(Duration::from_millis(200));
    assert_error(&listening.soon().await.unwrap_err(), ErrorKind::Timeout, None, true);
}

#[tokio::test]
async fn unusable_options_are_named_before_anything_is_dialled() {
    let good = "sb://relay.example.net/hyco";
    let invalid = |result: Result<Sender, Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        error.to_string()
    };
    assert!(invalid(Sender::new("sb://relay.example.net/")).contains("no hybrid connection is named"));
    assert!(invalid(Sender::new("nonsense")).contains("="));
    assert!(invalid(Sender::builder(good).extra_ca_pem("no PEM").build()).contains("extra_ca_pem"));
    assert!(invalid(Sender::builder(good).header("Host", "x").build()).contains("Host"));
    assert!(invalid(Sender::builder(good).header("X-Y", "a\nb").build()).contains("X-Y"));
    assert!(invalid(Sender::builder(good).header("no name", "x").build()).contains("no name"));
    assert!(invalid(Sender::builder(good).entity("-").build()).contains("begin and end"));
    let sender = Sender::new(good).unwrap();
    for connect in [
        sender.connect().query("sb-hc-token=x"),
        sender.connect().tracking_id("no GUID"),
        sender.connect().header("Upgrade", "h2c"),
    ] {
        assert_eq!(connect.soon().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let listening = Listener::builder(good).tracking_id("no GUID").soon().await;
    assert_eq!(listening.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn plain_text_is_for_near_hosts_unless_the_program_insists() {
    let emulator = |host: &str| {
        format!(
            "Endpoint=sb://{host}/;SharedAccessKeyName=r;SharedAccessKey=secret;EntityPath=hyco;UseDevelopmentEmulator=true"
        )
    };
    for near in [
        "localhost",
        "127.0.0.1:9080",
        "[::1]",
        "10.0.0.1",
        "192.168.1.2",
        "169.254.1.1",
        "relay",
        "host.docker.internal",
    ] {
        Sender::new(emulator(near)).unwrap();
        Sender::new(format!("ws://{near}/hyco")).unwrap();
    }
    for far in ["relay.example.net", "8.8.8.8"] {
        let error = Sender::new(emulator(far)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.hint().is_some_and(|hint| hint.contains("insecure_plaintext")));
        Sender::builder(emulator(far)).insecure_plaintext(true).build().unwrap();
        let error = Listener::builder(format!("http://{far}/hyco")).soon().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        Sender::new(emulator(far).replace("=true", "=false")).unwrap();
    }
}

#[tokio::test]
async fn a_target_may_come_from_a_file() {
    let relay = setup::plain().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("\n{}\n", relay.connection_string(HYCO))).unwrap();
    Listener::builder(Target::from_file(file.path())).soon().await.unwrap();
    let error = Listener::builder(Target::from_file("/no/such/file")).soon().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("/no/such/file"));
}

#[tokio::test]
async fn a_listener_that_waits_gets_online_as_soon_as_it_can() {
    // The relay comes later.
    let port = closed_port().await;
    let text = format!(
        "Endpoint=sb://127.0.0.1:{port}/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=k;EntityPath=hyco;UseDevelopmentEmulator=true"
    );
    let mut listening = Box::pin(Listener::builder(text.clone()).wait(true).open());
    assert!(listening.as_mut().now_or_never().is_none());
    let (listener, relay) = tokio::join!(listening.soon(), setup::again(port, "k"));
    let listener = listener.unwrap();
    assert!(listener.status().current().is_online());
    drop(relay);

    // The hybrid connection comes later.
    let namespace = Namespace::new("n").with_rule(Rule::new("all", Rights::MANAGE, "a"));
    let served = setup::serve([namespace], Config::default()).await;
    let mut listening = Box::pin(Listener::builder(target(&served, HYCO, "all", "a")).wait(true).open());
    assert!(listening.as_mut().now_or_never().is_none());
    served.store.put_entity("n", entity(HYCO));
    listening.soon().await.unwrap();

    // A wrong key does not become right by waiting.
    let error = Listener::builder(target(&served, HYCO, "all", "wrong")).wait(true).soon().await.unwrap_err();
    assert_error(&error, ErrorKind::Unauthorized, 401, false);
}

#[tokio::test]
async fn dropping_a_listener_that_is_being_opened_ends_the_attempt() {
    let fake = FakeRelay::start().await;
    let mut listening = Box::pin(Listener::builder(fake.connection_string()).wait(true).open());
    assert!(listening.as_mut().now_or_never().is_none());
    let mut visitor = tokio::select! {
        visitor = fake.visitor() => visitor,
        _ = &mut listening => panic!("nobody has answered"),
    };
    drop(listening);
    assert!(visitor.ended().await, "the socket goes with it");
}

#[tokio::test]
async fn without_reconnect_a_loss_is_delivered_once_and_then_there_is_an_end() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).reconnect(false).soon().await.unwrap();
    let mut status = listener.status();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(listener.accept())).collect();
    assert!(waiting.iter_mut().all(|accept| accept.as_mut().now_or_never().is_none()));
    relay.drop_control(HYCO);
    let mut failures = Vec::new();
    for accept in waiting {
        match accept.soon().await {
            Err(error) => failures.push(error),
            Ok(incoming) => assert!(incoming.is_none()),
        }
    }
    assert_eq!(failures.len(), 1, "to one of those who wait");
    assert_eq!(failures[0].kind(), ErrorKind::ConnectionLost);
    assert!(listener.accept().soon().await.unwrap().is_none());
    while let Some(seen) = status.changed().soon().await {
        if let Status::Closed { error } = seen {
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ConnectionLost));
        }
    }
    listener.close().soon().await;
}

#[tokio::test]
async fn a_stream_of_incoming_ends_with_the_listener() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let mut incoming = pin!(listener.incoming());
    let (connected, _accepted) = tokio::join!(sender.connect().soon(), async {
        let Some(Ok(Incoming::Connect(connect))) = incoming.next().soon().await else { panic!("no sender came") };
        connect.accept().soon().await.unwrap()
    });
    connected.unwrap();
    listener.close().soon().await;
    assert!(incoming.next().soon().await.is_none());
}

#[tokio::test]
async fn the_last_handle_closes_a_listener_and_its_connections_go_on() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, listener } = setup::ends(&relay).await;
    let mut online = relay.watch_listeners(HYCO);
    let other = listener.clone();
    drop(listener);
    let second = setup::sender(&relay, HYCO).build().unwrap();
    setup::meet(&second, &other).await;
    drop(other);
    online.wait_for(|count| *count == 0).soon().await.unwrap();
    sender.send("still joined").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("still joined".into()));
}

#[tokio::test]
async fn a_key_that_is_changed_takes_a_listener_offline_and_a_good_one_brings_it_back() {
    let mut config = Config::default();
    config.timings.revocation = Duration::from_millis(10);
    let namespace = Namespace::new("n").with_rule(Rule::new("all", Rights::MANAGE, "old")).with_entity(entity(HYCO));
    let served = setup::serve([namespace], config).await;
    let listener = Listener::builder(target(&served, HYCO, "all", "old")).soon().await.unwrap();
    let mut status = listener.status();
    served.store.edit("n", |namespace| namespace.rules[0].primary_key = "new".into());
    let mut seen = Vec::new();
    // First the close, then the refusals: after a first success they are no end.
    while seen.len() < 2 {
        if let Some(Status::Offline { error, retry_in }) = status.changed().soon().await {
            assert!(retry_in.is_some());
            seen.push((error.close_code(), error.status()));
        }
    }
    assert_eq!(seen, [(Some(1008), None), (None, Some(401))]);
    served.store.edit("n", |namespace| namespace.rules[0].primary_key = "old".into());
    while !status.changed().soon().await.is_some_and(|status| status.is_online()) {}
}

#[tokio::test]
async fn a_credential_of_the_programs_own_is_asked_with_the_audience() {
    let relay = setup::plain().await;
    let (key_name, key) = (relay.key_name(), relay.key().to_owned());
    let provider = TokenProvider::from_fn(move |audience| {
        assert_eq!(audience, "http://127.0.0.1/hyco/");
        let token = hybridrelay_tests::wire::peers::token(&audience, key_name, &key);
        async { Ok(hybridrelay::token::Token::new(token, None)) }
    });
    let address = relay.address();
    let listener = Listener::builder(address.clone()).entity(HYCO).credential(provider.clone()).soon().await.unwrap();
    let sender = Sender::builder(address.clone()).entity(HYCO).credential(provider).build().unwrap();
    setup::meet(&sender, &listener).await;

    let failing = TokenProvider::from_fn(|_| async { Err(Error::new(ErrorKind::Network, "the vault is closed")) });
    let sender = Sender::builder(address).entity(HYCO).credential(failing).build().unwrap();
    let error = sender.connect().soon().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Network, "the vault is closed"));
}

/// Polls a future a few times, gives others their turn in between, and drops it.
async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=polls {
        if let Some(output) = future.as_mut().now_or_never() {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn receives_that_are_given_up_lose_nothing() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let sending = async {
            for number in 0..300_usize {
                sender.send(vec![number as u8; number * 777]).soon().await.unwrap();
            }
            sender.shutdown().soon().await.unwrap();
        };
        let receiving = async {
            let (mut number, mut polls) = (0, 0);
            loop {
                polls = (polls * 5 + 3) % 7;
                match give_up_after(polls, accepted.receive()).await {
                    None => continue,
                    Some(Ok(None)) => return number,
                    Some(message) => {
                        assert!(message.unwrap() == Some(vec![number as u8; number * 777].into()), "{number}");
                        number += 1;
                    }
                }
            }
        };
        let ((), received) = tokio::join!(sending, receiving.soon());
        assert_eq!(received, 300);
    }
}

#[tokio::test]
async fn a_send_that_is_given_up_has_sent_all_of_its_message_or_nothing() {
    /// Two hundred of these are more than all buffers on the way hold.
    const LEN: usize = 400_000;
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        // Nothing is read before one was given up: so some are, however fast the relay is.
        let given_up = Notify::new();
        let sending = async {
            let (mut completed, mut polls) = (Vec::new(), 0);
            for number in 0..200_u8 {
                polls = (polls * 5 + 3) % 7;
                if let Some(sent) = give_up_after(polls, sender.send(vec![number; LEN])).await {
                    sent.unwrap();
                    completed.push(number);
                } else {
                    given_up.notify_one();
                }
            }
            given_up.notify_one();
            sender.shutdown().soon().await.unwrap();
            completed
        };
        let receiving = async {
            given_up.notified().soon().await;
            let mut received = Vec::new();
            while let Some(message) = accepted.receive().soon().await.unwrap() {
                let bytes = message.into_bytes();
                assert!(bytes.len() == LEN && bytes.iter().all(|byte| *byte == bytes[0]), "a whole message");
                received.push(bytes[0]);
            }
            received
        };
        let (completed, received) = tokio::join!(sending, receiving);
        assert!(received.is_sorted_by(|a, b| a < b), "in order, none twice");
        assert!(completed.iter().all(|number| received.contains(number)), "what was reported as sent has come");
        assert!(completed.len() < 200, "some were given up, or this has tested nothing");
    }
}

#[tokio::test]
async fn accepts_that_are_given_up_lose_no_sender() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let connecting = futures_util::future::join_all((0..40).map(|_| sender.connect().soon()));
    let accepting = async {
        let (mut accepted, mut polls) = (Vec::new(), 0);
        while accepted.len() < 40 {
            polls = (polls * 5 + 3) % 7;
            if let Some(Ok(Some(Incoming::Connect(connect)))) = give_up_after(polls, listener.accept()).await {
                accepted.push(connect.accept().soon().await.unwrap());
            }
        }
        accepted
    };
    let (connected, _accepted) = tokio::join!(connecting, accepting.soon());
    assert!(connected.into_iter().all(|connection| connection.is_ok()));
}

#[test]
fn handles_move_between_threads_and_outlive_what_made_them() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send>(_: fn(&'static Listener, &'static Connection) -> T) {}
    shared::<Listener>();
    shared::<ListenerBuilder>();
    shared::<Incoming>();
    shared::<IncomingConnect>();
    shared::<IncomingRequest>();
    shared::<Responder>();
    shared::<ResponseWriter>();
    shared::<Cancellation>();
    shared::<Body>();
    shared::<Connection>();
    shared::<ConnectionReader>();
    shared::<ConnectionWriter>();
    shared::<ByteStream>();
    shared::<Sender>();
    shared::<SenderBuilder>();
    shared::<StatusWatcher>();
    shared::<Status>();
    shared::<Message>();
    shared::<Error>();
    shared::<Target>();
    shared::<ConnectionString>();
    shared::<RelayAddress>();
    shared::<TokenProvider>();
    shared::<LocalRelay>();
    sent(|listener, _| listener.accept());
    sent(|listener, _| listener.close());
    sent(|_, connection| connection.receive());
    sent(|_, connection| connection.send("x"));
    sent(|_, connection| connection.close());
    sent(|_, connection| connection.flush());

    // What a binding lets its own runtime wait for.
    fn awaited<T: Send + 'static>(_: T) {}
    let _requests = |sender: &'static Sender, body: &'static mut Body, writer: &'static mut ResponseWriter| {
        awaited(sender.request(http::Request::new(())));
        awaited(body.chunk());
        awaited(writer.write("x"));
    };
    let _answers = |whole: Responder, begun: ResponseWriter, body: Body, listener: Listener| {
        awaited(whole.send(http::Response::new(())));
        awaited(begun.finish());
        awaited(body.bytes(1));
        awaited(listener.forward("tcp://127.0.0.1:1").into_future());
        awaited(listener.serve(axum::Router::new()).into_future());
    };
}
