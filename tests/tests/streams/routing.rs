//! Which hybrid connection, which listener, and what it is told (protocol.md 1.3, 3.3, 4.1, decisions 2, 4, 11, 13, 16 to 18, 38, 59).

use std::collections::BTreeSet;
use std::time::Duration;

use hybridrelay_relay::{AutoCreate, Config, Namespace, Rights, Rule};
use hybridrelay_tests::wire::peers::{Invitation, RawListener, token};
use hybridrelay_tests::wire::raw::{Answer, Ask, KEY, Socket};
use hybridrelay_tests::wire::setup::{self, Served, entity};

const GUID: &str = "3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11";

async fn serve(paths: &[&str], config: Config) -> Served {
    let namespace = Namespace::new("n").with_rule(Rule::new("r", Rights::MANAGE, "k"));
    let namespace = paths.iter().fold(namespace, |namespace, path| namespace.with_entity(entity(path)));
    setup::serve([namespace], config).await
}

fn ask(target: &str) -> Ask {
    Ask::websocket(target).token(&token("http://x/", "r", "k"))
}

async fn listener(served: &Served, path: &str) -> RawListener {
    listener_with(served, path, "").await
}

async fn listener_with(served: &Served, path: &str, more: &str) -> RawListener {
    let answer = ask(&format!("/$hc/{path}?sb-hc-action=listen{more}")).send(&served.door).await;
    RawListener::new(&served.door, answer)
}

/// Sends a request whose answer is of no interest and keeps its socket open.
async fn waits(served: &Served, ask: Ask) -> Socket {
    let mut socket = served.door.open().await;
    ask.write(&served.door, &mut socket).await;
    socket
}

/// What a listener is told of a sender.
async fn told(served: &Served, control: &mut RawListener, ask: Ask) -> Invitation {
    let _socket = waits(served, ask).await;
    control.invitation().await
}

#[tokio::test]
async fn the_longest_hybrid_connection_takes_the_sender() {
    let served = serve(&["a", "a/b", "Hyco"], Config::default()).await;
    let mut controls = [listener(&served, "a").await, listener(&served, "a/b").await, listener(&served, "HYCO").await];
    for (path, takes) in [
        ("a/b/c", 1),
        ("a/b", 1),
        ("A/B/", 1),
        ("a/%62", 1),
        ("a/x", 0),
        ("a/bc", 0),
        ("a", 0),
        ("hYcO/Orders/%2F%20;=%c3%A9", 2),
    ] {
        let invitation = told(&served, &mut controls[takes], ask(&format!("/$hc/{path}"))).await;
        let expected = format!("ws://{}/$hc/{path}?sb-hc-action=accept&sb-hc-id=", served.door.authority);
        assert!(invitation.field("address").starts_with(&expected), "the sender's spelling");
    }
    for path in ["hycox", "b", "", "/a", "hyc"] {
        let answer = ask(&format!("/$hc/{path}")).send(&served.door).await;
        assert_eq!((answer.status, answer.text()), (404, "Endpoint does not exist"), "{path}");
    }
}

#[tokio::test]
async fn a_listener_names_the_hybrid_connection_itself() {
    let served = serve(&["a", "Hyco"], Config::default()).await;
    for path in ["a/suffix", "nobody", "", "%FF"] {
        let answer = ask(&format!("/$hc/{path}?sb-hc-action=listen")).send(&served.door).await;
        assert_eq!((answer.status, answer.text()), (404, "Endpoint does not exist"), "{path}");
    }
    // Any spelling registers under the canonical name.
    let _one = listener(&served, "hyco").await;
    let _two = listener(&served, "HYCO/").await;
    let _three = listener(&served, "%48yco").await;
    assert_eq!(served.handle.listeners("n", "Hyco").len(), 3);
}

#[tokio::test]
async fn the_prefix_and_the_parameters_may_be_written_in_many_ways() {
    let served = serve(&["hyco"], Config::default()).await;
    for target in [
        "/$hc/hyco?sb-hc-action=listen",
        "/$HC/hyco?SB-HC-ACTION=Listen",
        "/%24hc/hyco?sb-hc-action=listen&other=1",
        "/$hc/hyco?x=1&&sb-hc-action=listen",
        "/$hc/hyco%3Fsb-hc-action=listen",
        "/$hc/hyco%3fsb-hc-action=listen&x=1",
    ] {
        assert_eq!(ask(target).send(&served.door).await.status, 101, "{target}");
        setup::until(|| served.handle.listeners("n", "hyco").is_empty()).await;
    }
    let mut control = listener(&served, "hyco").await;
    for (target, address) in [
        ("/$hc/hyco", "/$hc/hyco?sb-hc-action=accept&sb-hc-id="),
        ("/$hc/hyco?", "/$hc/hyco?sb-hc-action=accept&sb-hc-id="),
        ("/$hc/hyco?sb-hc-action=connect", "/$hc/hyco?sb-hc-action=accept&sb-hc-id="),
        ("/%24HC/hyco/a%2fb?x=%3D+%41", "/$hc/hyco/a%2fb?x=%3D+%41&sb-hc-action=accept&sb-hc-id="),
        ("/$hc/hyco%3Fsb-hc-action=connect", "/$hc/hyco?sb-hc-action=accept&sb-hc-id="),
        (
            "/$hc/hyco?x=1&sb-hc-token=no&&&sb-hc-undefined&&SB-HC-Else=2",
            "/$hc/hyco?x=1&&&sb-hc-undefined&&sb-hc-action=accept&sb-hc-id=",
        ),
    ] {
        let invitation = told(&served, &mut control, ask(target)).await;
        let expected = format!("ws://{}{address}", served.door.authority);
        assert!(invitation.field("address").starts_with(&expected), "{target}: {}", invitation.field("address"));
    }
    for target in
        ["/$hc/hyco?sb-hc-action=fly", "/$hc/hyco?sb-hc-action=", "/$hc/hyco?sb-hc-action=listen&sb-hc-action=listen"]
    {
        assert_eq!(ask(target).send(&served.door).await.status, 400, "{target}");
    }
}

#[tokio::test]
async fn an_accept_message_has_everything_that_any_client_needs() {
    let served = serve(&["hyco"], Config::default()).await;
    let mut control = listener(&served, "hyco").await;
    let ask = ask(&format!("/$hc/hyco/orders?region=eu&sb-hc-action=connect&sb-hc-id={GUID}"))
        .header("sec-websocket-protocol", "chat.v2, chat.v1")
        .header("x-custom-id", "one")
        .header("X-CUSTOM-ID", "two")
        .header("etag", "e")
        .header("cookie", "a=1")
        .header("Authorization", "Basic eDp5")
        .header("origin", "https://app.example")
        .header("Microsoft-Relay-DisallowedListeners", GUID)
        .header("User-Agent", "demo/1");
    let mut socket = served.door.open().await;
    ask.write(&served.door, &mut socket).await;
    let invitation = control.invitation().await;
    let fields: BTreeSet<_> = invitation.accept.keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["address", "id", "connectHeaders", "remoteEndpoint"]));
    let headers = invitation.accept["connectHeaders"].as_object().expect("an object");
    assert!(headers.values().all(serde_json::Value::is_string));
    let headers: BTreeSet<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let authority = served.door.authority.as_str();
    assert_eq!(
        headers,
        BTreeSet::from([
            ("Authorization", "Basic eDp5"),
            ("Connection", "Upgrade"),
            ("Cookie", "a=1"),
            ("ETag", "e"),
            ("Host", authority),
            ("Origin", "https://app.example"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
            ("Sec-WebSocket-Version", "13"),
            ("Upgrade", "websocket"),
            ("User-Agent", "demo/1"),
            ("X-Custom-Id", "one, two"),
        ])
    );
    assert_eq!(invitation.remote(), socket.local_addr());
    assert_eq!(invitation.field("id"), format!("{GUID}_G0"));
    check_address(&invitation, "region=eu&");
}

/// What a Java listener's parser needs of an address (4.1).
fn check_address(invitation: &Invitation, user_query: &str) {
    let address = invitation.field("address");
    let (path, query) = address.split_once('?').expect("always a query");
    assert!(!address.contains('#') && path.starts_with("ws://"));
    let added = query.strip_prefix(user_query).expect("the sender's query comes first");
    let names: Vec<_> = added
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("pairs");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            assert!(!value.is_empty() && value.bytes().all(plain), "{value}");
            name
        })
        .collect();
    assert_eq!(names, ["sb-hc-action", "sb-hc-id", "sb-hc-ticket"]);
    let id = added.split("sb-hc-id=").nth(1).and_then(|rest| rest.split('&').next());
    assert_eq!(id, Some(invitation.field("id")));
}

#[tokio::test]
async fn ids_begin_with_a_guid_whatever_the_sender_calls_itself() {
    let served = serve(&["hyco"], Config::default()).await;
    let mut control = listener(&served, "hyco").await;
    let mut fresh = BTreeSet::new();
    for (given, kept) in [
        (GUID, true),
        (&*format!("{GUID}_G7_G30"), true),
        (&*format!("{GUID}extra"), false),
        ("my-sender", false),
        ("%3Cscript%3E", false),
        ("", false),
    ] {
        let invitation = told(&served, &mut control, ask(&format!("/$hc/hyco?sb-hc-id={given}"))).await;
        let id = invitation.field("id").to_owned();
        assert_eq!(id == format!("{GUID}_G0"), kept, "{given} became {id}");
        assert!(id.len() == 39 && id.ends_with("_G0"));
        assert!(id[..36].split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{id}");
        assert!(kept || fresh.insert(id), "never the same twice");
        check_address(&invitation, "");
    }
}

#[tokio::test]
async fn tickets_are_never_the_same() {
    let served = serve(&["hyco"], Config::default()).await;
    let mut control = listener(&served, "hyco").await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let invitation = told(&served, &mut control, ask(&format!("/$hc/hyco?sb-hc-id={GUID}"))).await;
        assert!(seen.insert(invitation.field("address").to_owned()));
    }
}

#[tokio::test]
async fn the_26th_listener_is_refused_until_another_leaves() {
    let served = serve(&["hyco"], Config::default()).await;
    let mut listeners = Vec::new();
    for _ in 0..25 {
        listeners.push(listener(&served, "hyco").await);
    }
    let refused = ask("/$hc/hyco?sb-hc-action=listen").send(&served.door).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("QuotaExceeded"), "{}", refused.status_line);
    // One leaves.
    listeners.pop();
    setup::until(|| served.handle.listeners("n", "hyco").len() == 24).await;
    listener(&served, "hyco").await;
}

#[tokio::test]
async fn without_a_listener_a_sender_is_told_so() {
    let served = serve(&["hyco"], Config::default()).await;
    let answer = ask("/$hc/hyco").send(&served.door).await;
    assert_eq!((answer.status, answer.text()), (404, "There are no listeners connected for the endpoint"));
}

#[tokio::test]
async fn a_sender_may_choose_among_listeners() {
    let served = serve(&["hyco"], Config::default()).await;
    let ids = ["11111111-0000-4000-8000-00000000000a", "22222222-0000-4000-8000-00000000000b"];
    let mut one = listener_with(&served, "hyco", &format!("&sb-hc-id={}", ids[0])).await;
    let mut two = listener_with(&served, "hyco", &format!("&sb-hc-id={}_G5", ids[1])).await;
    let (allowed, disallowed) = ("Microsoft-Relay-AllowedListeners", "Microsoft-Relay-DisallowedListeners");
    for _ in 0..10 {
        told(&served, &mut one, ask("/$hc/hyco").header(allowed, ids[0])).await;
        let many = format!("{GUID}, {}", ids[1].to_uppercase());
        told(&served, &mut two, ask("/$hc/hyco").header(allowed, &many)).await;
        told(&served, &mut two, ask("/$hc/hyco").header(disallowed, ids[0])).await;
        let both = ask("/$hc/hyco").header(allowed, &format!("{},{}", ids[0], ids[1])).header(disallowed, ids[1]);
        let invitation = told(&served, &mut one, both).await;
        assert_eq!(invitation.header(allowed).or(invitation.header(disallowed)), None, "not the listener's business");
    }
    for none in [(allowed, GUID.to_owned()), (disallowed, ids.join(",")), (allowed, String::new())] {
        let answer = ask("/$hc/hyco").header(none.0, &none.1).send(&served.door).await;
        assert_eq!(answer.status, 404);
        let text = "None of the connected listeners meet the AllowedListeners/DisallowedListeners criteria";
        assert_eq!(answer.text(), text);
    }
}

#[tokio::test]
async fn listeners_with_one_id_are_two_listeners() {
    let served = serve(&["hyco"], Config::default()).await;
    let more = format!("&sb-hc-id={GUID}");
    let mut one = listener_with(&served, "hyco", &more).await;
    let mut two = listener_with(&served, "hyco", &more).await;
    assert_eq!(served.handle.listeners("n", "hyco").len(), 2);
    let mut seen = [0, 0];
    for _ in 0..40 {
        let _socket = waits(&served, ask("/$hc/hyco").header("Microsoft-Relay-AllowedListeners", GUID)).await;
        let chosen = tokio::select! {
            _ = one.invitation() => 0,
            _ = two.invitation() => 1,
        };
        seen[chosen] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[tokio::test]
async fn a_listener_that_dies_before_it_dials_is_replaced_by_another() {
    let served = serve(&["hyco"], Config::default()).await;
    let one = listener(&served, "hyco").await;
    let two = listener(&served, "hyco").await;
    let mut socket = served.door.open().await;
    ask("/$hc/hyco").write(&served.door, &mut socket).await;
    let (mut one, mut two) = (one, two);
    let mut other = tokio::select! {
        _ = one.invitation() => { one.ws.reset(); two }
        _ = two.invitation() => { two.ws.reset(); one }
    };
    let invitation = other.invitation().await;
    let (answer, accepted) = tokio::join!(Answer::read(socket), invitation.dial());
    assert_eq!((answer.status, accepted.status), (101, 101));

    // And when that one dies too, nobody is left to be asked.
    let mut socket = served.door.open().await;
    ask("/$hc/hyco").write(&served.door, &mut socket).await;
    other.invitation().await;
    other.ws.reset();
    let answer = Answer::read(socket).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.text(), "None of the connected listeners accepted the connections within the allowed timeout");
}

#[tokio::test]
async fn namespaces_are_told_apart_by_the_host() {
    let namespace = |name: &str, host: &str| {
        Namespace::new(name)
            .with_hosts([host])
            .with_rule(Rule::new("r", Rights::MANAGE, name))
            .with_entity(entity("hyco"))
    };
    let served =
        setup::serve([namespace("one", "one.example"), namespace("two", "two.example")], Config::default()).await;
    let listen = |host: &str, key: &str| {
        let token = token(&format!("http://{host}/hyco"), "r", key);
        Ask::websocket("/$hc/hyco?sb-hc-action=listen").header("Host", host).token(&token).send(&served.door)
    };
    let listener = listen("ONE.example:443", "one").await;
    assert_eq!(listener.status, 101);
    assert_eq!(served.handle.listeners("one", "hyco").len(), 1);
    assert_eq!(served.handle.listeners("two", "hyco").len(), 0);
    assert_eq!(listen("one.example", "two").await.status, 401);
    assert_eq!(listen("three.example", "one").await.status, 404);
    let token = token("http://two.example/hyco", "r", "two");
    let answer = Ask::websocket("/$hc/hyco").header("Host", "two.example").token(&token).send(&served.door).await;
    assert_eq!(answer.text(), "There are no listeners connected for the endpoint");
}

#[tokio::test]
async fn rendezvous_addresses_name_what_the_listener_can_reach() {
    // The authority the listener itself used, also behind a proxy that ends TLS.
    let proxied = Config { trusted_proxies: vec![[127, 0, 0, 1].into()], ..Config::default() };
    let public =
        Config { public_url: Some("https://node7.example:9443/ignored".parse().unwrap()), ..Config::default() };
    for (config, forwarded, base) in [
        (Config::default(), Some("https"), "ws://relay.example:8080"),
        (proxied.clone(), Some("https"), "wss://relay.example:8080"),
        (proxied, None, "ws://relay.example:8080"),
        (public, None, "wss://node7.example:9443"),
    ] {
        let served = serve(&["hyco"], config).await;
        let listen = ask("/$hc/hyco?sb-hc-action=listen").header("Host", "relay.example:8080");
        let listen = forwarded.into_iter().fold(listen, |ask, proto| ask.header("X-Forwarded-Proto", proto));
        let mut control = RawListener::new(&served.door, listen.send(&served.door).await);
        let invitation = told(&served, &mut control, ask("/$hc/hyco")).await;
        assert!(
            invitation.field("address").starts_with(&format!("{base}/$hc/hyco?")),
            "{}",
            invitation.field("address")
        );
    }
}

#[tokio::test]
async fn too_many_waiting_senders_are_told_to_come_later() {
    for limit_of_address in [true, false] {
        let mut config = Config::default();
        if limit_of_address {
            config.limits.waiting_per_address = 3;
        } else {
            config.limits.waiting_per_entity = 3;
        }
        let served = serve(&["hyco"], config).await;
        let mut control = listener(&served, "hyco").await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(waits(&served, ask("/$hc/hyco")).await);
            control.invitation().await;
        }
        let answer = ask("/$hc/hyco").send(&served.door).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.status_line);
        // One that gives up makes room, as soon as the relay sees it.
        waiting.pop();
        let next = async {
            loop {
                let mut socket = served.door.open().await;
                ask("/$hc/hyco").write(&served.door, &mut socket).await;
                tokio::select! {
                    answer = Answer::read(socket) => assert_eq!(answer.status, 503),
                    _ = control.invitation() => return,
                }
            }
        };
        hybridrelay_tests::wire::Soon::soon(next).await;
    }
}

#[tokio::test]
async fn a_first_listen_makes_a_hybrid_connection_only_where_that_is_wanted() {
    let policy = AutoCreate { public: vec!["pub*".into()], limit: 2, ..AutoCreate::default() };
    let namespace = Namespace::new("n").with_rule(Rule::new("r", Rights::MANAGE, "k")).with_auto_create(policy);
    let served = setup::serve([namespace], Config::default()).await;
    let unauthorised = Ask::websocket("/$hc/new?sb-hc-action=listen").send(&served.door).await;
    assert_eq!(unauthorised.status, 401);
    let _one = listener(&served, "New/Path").await;
    let mut public = listener(&served, "public").await;
    let third = ask("/$hc/third?sb-hc-action=listen").send(&served.door).await;
    assert_eq!((third.status, third.text()), (404, "Endpoint does not exist"));
    let _socket = waits(&served, Ask::websocket("/$hc/public")).await;
    public.invitation().await;
    assert_eq!(Ask::websocket("/$hc/new/path").send(&served.door).await.status, 401);
    // It stays when its listener goes.
    public.ws.reset();
    setup::until(|| served.handle.listeners("n", "public").is_empty()).await;
    let answer = Ask::websocket("/$hc/public").send(&served.door).await;
    assert_eq!(answer.text(), "There are no listeners connected for the endpoint");
    // A name that cannot be is none.
    let impossible = ask("/$hc/-x?sb-hc-action=listen").send(&served.door).await;
    assert_eq!(impossible.status, 404);
}

#[tokio::test]
async fn an_invitation_that_nobody_follows_ends_after_its_time() {
    let mut config = Config::default();
    config.timings.accept = Duration::from_millis(100);
    let served = serve(&["hyco"], config).await;
    let mut control = listener(&served, "hyco").await;
    let (answer, invitation) = tokio::join!(ask("/$hc/hyco").send(&served.door), control.invitation());
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("trackingid"), Some(invitation.field("id")));
    assert_eq!(invitation.dial().await.status, 403);
}
