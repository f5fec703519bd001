//! Handshakes as the strictest client reads them, and every refusal (protocol.md 3.1, 3.2, 4.5, 4.6).

use hybridrelay_tests::wire::peers::{self, RawListener};
use hybridrelay_tests::wire::raw::{Answer, Ask, Door, KEY, RawWebSocket};
use hybridrelay_tests::wire::setup::{self, HYCO};

const GUID: &str = "3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11";

/// What the managed .NET client checks, and a little more.
fn check_strictly(answer: &Answer) {
    assert_eq!(answer.status_line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert!(answer.header("sec-websocket-accept").is_some());
    for absent in ["sec-websocket-extensions", "content-length", "transfer-encoding", "content-type"] {
        assert_eq!(answer.header(absent), None, "{:?}", answer.headers);
    }
    assert!(
        answer.header("trackingid").is_some_and(|id| id.len() == 39 && id.ends_with("_G0")),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn all_three_handshakes_are_answered_as_the_strictest_client_needs_it() {
    for relay in setup::plain_and_tls().await {
        let door = Door::from(&relay);
        let offering = |ask: Ask| ask.header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        let listen = Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen")).token(&peers::token_of(&relay));
        let listening = offering(listen.header("Sec-WebSocket-Protocol", "never")).send(&door).await;
        check_strictly(&listening);
        assert_eq!(listening.header("sec-websocket-protocol"), None, "none on a control channel");
        assert_eq!(listening.header("relay-features"), None, "nothing was offered");
        let mut control = RawListener::new(&door, listening);
        let (sender, listener) = tokio::join!(offering(peers::connect(&relay, "")).send(&door), async {
            let invitation = control.invitation().await;
            // Declined by silence, but the listener may know.
            assert!(invitation.header("Sec-WebSocket-Extensions").is_some());
            offering(invitation.ask("")).header("0", "Sec-WebSocket-Extensions: permessage-deflate").send(&door).await
        });
        for answer in [sender, listener] {
            check_strictly(&answer);
            assert_eq!(answer.header("sec-websocket-protocol"), None);
        }
    }
}

#[tokio::test]
async fn the_listeners_sub_protocol_is_echoed_to_both_and_none_is_invented() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    // What the sender offers, what the listener offers, what both are told.
    for (sender_offers, listener_offers, told) in [
        ("a, b", Some("a"), Some("a")),
        ("a, b", Some("b"), Some("b")),
        ("a,b", None, None),
        ("a, b", Some("c, b, a"), Some("b")),
        ("a", Some("z"), Some("z")),
        ("a", Some("y, z"), None),
    ] {
        let ask = peers::connect(&relay, "").header("Sec-WebSocket-Protocol", sender_offers);
        let (sender, listener) = tokio::join!(ask.send(&door), async {
            let invitation = control.invitation().await;
            assert_eq!(invitation.header("Sec-WebSocket-Protocol"), Some(sender_offers), "verbatim");
            let ask = invitation.ask("");
            let ask = listener_offers.into_iter().fold(ask, |ask, list| ask.header("Sec-WebSocket-Protocol", list));
            ask.send(&door).await
        });
        assert_eq!(sender.header("sec-websocket-protocol"), told, "{sender_offers} / {listener_offers:?}");
        assert_eq!(listener.header("sec-websocket-protocol"), told);
    }
}

/// The refusal of a request that the relay makes itself.
async fn refused(ask: Ask, door: &Door, status: u16, text: &str) -> Answer {
    let answer = ask.send(door).await;
    assert_eq!(answer.status, status, "{}", answer.status_line);
    assert!(answer.text().contains(text), "{}", answer.status_line);
    let id = answer.header("trackingid").expect("every answer of the relay has one").to_owned();
    assert!(id.len() == 39 && id.ends_with("_G0"), "{id}");
    let (_, tail) = answer.reason.split_once(". TrackingId:").expect("the reason phrase names it too");
    let (tracking_id, tail) = tail.split_once(", SystemTracker:").expect("and where it happened");
    let (_, timestamp) = tail.split_once(", Timestamp:").expect("and when");
    assert_eq!(tracking_id, id);
    let shape: String =
        timestamp.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00");
    assert!(answer.reason.len() <= 512 && answer.reason.chars().all(|character| matches!(character, ' '..='~')));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("via"), None, "Via tells answers of a listener from those of the relay");
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["error"]["message"], answer.reason.as_str());
    assert!(body["error"]["code"].is_string());
    assert!(!format!("{answer:?}").contains("sig="), "no token is repeated");
    answer
}

fn tracker(answer: &Answer) -> &str {
    let (_, tail) = answer.reason.split_once("SystemTracker:").expect("a tracker");
    tail.split(", Timestamp").next().unwrap_or_default()
}

#[tokio::test]
async fn every_refusal_says_what_where_and_when() {
    for relay in setup::plain_and_tls().await {
        let door = Door::from(&relay);
        let _control = RawListener::open(&relay).await;
        let token = peers::token_of(&relay);
        let listen = |entity: &str| Ask::websocket(format!("/$hc/{entity}?sb-hc-action=listen&sb-hc-id={GUID}_G1_G2"));

        let missing = refused(listen(HYCO), &door, 401, "MissingToken").await;
        assert_eq!(missing.header("trackingid"), Some(format!("{GUID}_G0").as_str()), "the client's own id");
        assert_eq!(tracker(&missing), format!("sb://{}/{HYCO}", door.authority));
        let forged = peers::token("http://localhost/", relay.key_name(), "another key");
        let forged = refused(listen(HYCO).token(&forged), &door, 401, "token has an invalid signature").await;
        assert!(forged.reason.contains("/hyco,"), "the entity's path");
        refused(listen(HYCO).token("nonsense"), &door, 401, "MalformedToken").await;

        let unknown = Ask::websocket("/$hc/nobody/here?x=secret").token(&token);
        let unknown = refused(unknown, &door, 404, "Endpoint does not exist").await;
        assert!(unknown.reason.contains("/nobody/here,") && !unknown.reason.contains("secret"));

        refused(Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=fly")).token(&token), &door, 400, "sb-hc-action")
            .await;
        for name in ["sb-hc-action=connect", "sb-hc-id=1", "sb-hc-token=x", "SB-HC-Ticket=x"] {
            let twice = Ask::websocket(format!("/$hc/{HYCO}?{name}&{}", name.to_ascii_lowercase()));
            refused(twice, &door, 400, "given twice").await;
        }
        refused(Ask::http("GET", format!("/$hc/{HYCO}")).token(&token), &door, 400, "WebSocket").await;
        let large = peers::connect(&relay, "").header("X-Large", &"x".repeat(33 * 1024));
        refused(large, &door, 431, "too large").await;
        let http = Ask::http("GET", format!("/{HYCO}/x?y=1")).token(&token);
        let http = http.header("Microsoft-Relay-AllowedListeners", "another");
        let http = refused(http, &door, 404, "None of the connected listeners meet").await;
        assert_eq!(tracker(&http), format!("{}:{HYCO}/x", door.authority), "as the service writes it for HTTP");
        refused(Ask::http("POST", "/").token(&token), &door, 404, "Endpoint does not exist").await;
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_with_what_is_wrong() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let _control = RawListener::open(&relay).await;
    let ask = || peers::connect(&relay, "");
    let old = ask().without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "8");
    let old = refused(old, &door, 426, "version 13").await;
    assert_eq!(old.header("sec-websocket-version"), Some("13"));
    assert_eq!(refused(ask().without("Sec-WebSocket-Version"), &door, 426, "version 13").await.status, 426);
    for (wrong, what) in [
        (ask().without("Sec-WebSocket-Key"), "Sec-WebSocket-Key"),
        (ask().header("Sec-WebSocket-Key", KEY), "Sec-WebSocket-Key"),
        (ask().without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", "short"), "16 bytes"),
        (ask().without("Connection"), "upgrade"),
        (ask().without("Upgrade").header("Upgrade", "h2c"), "upgrade"),
    ] {
        refused(wrong, &door, 400, what).await;
    }
    // Headers that some clients write differently are fine.
    let lenient = ask()
        .without("Connection")
        .without("Upgrade")
        .header("Connection", "keep-alive, upgrade")
        .header("Upgrade", "WebSocket");
    let mut control = RawListener::open(&relay).await;
    drop(_control);
    setup::until(|| *relay.watch_listeners(HYCO).borrow() == 1).await;
    let (answer, _accepted) = tokio::join!(lenient.send(&door), control.accept());
    check_strictly(&answer);
}

#[tokio::test]
async fn checks_come_in_the_order_syntax_authorization_existence() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let token = peers::token_of(&relay);
    refused(Ask::websocket("/$hc/nobody?sb-hc-action=fly"), &door, 400, "sb-hc-action").await;
    refused(Ask::websocket("/$hc/nobody"), &door, 401, "MissingToken").await;
    refused(Ask::websocket("/$hc/nobody").token(&token), &door, 404, "Endpoint does not exist").await;
    refused(Ask::http("GET", "/nobody"), &door, 401, "MissingToken").await;
    // Nothing is said about the namespace itself.
    refused(Ask::http("GET", "/"), &door, 404, "Endpoint does not exist").await;
}

#[tokio::test]
async fn a_ticket_is_good_once_and_for_its_own_address() {
    for relay in setup::plain_and_tls().await {
        let door = Door::from(&relay);
        let mut control = RawListener::open(&relay).await;
        let (_sender, ()) = tokio::join!(peers::connect(&relay, "/a?x=1").send(&door), async {
            let invitation = control.invitation().await;
            let address = invitation.field("address").to_owned();
            let ticket = address.split("sb-hc-ticket=").nth(1).expect("a ticket");
            assert!(
                ticket.len() >= 22 && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );

            let target = hybridrelay_tests::wire::raw::path_and_query(&address);
            let foreign = target.replace(ticket, &"A".repeat(ticket.len()));
            refused(Ask::websocket(foreign), &door, 403, "not valid").await;
            refused(Ask::websocket(format!("{target}x")), &door, 403, "not valid").await;
            let none = target.replace(&format!("&sb-hc-ticket={ticket}"), "");
            refused(Ask::websocket(none), &door, 403, "not valid").await;
            for changed in [
                format!("{target}&x=2"),
                target.replace("/a?", "/b?"),
                target.replace("x=1", "x=2"),
                target.replace("sb-hc-id=", "sb-hc-id=0"),
                target.replace("sb-hc-action=accept", "sb-hc-action=request"),
            ] {
                refused(Ask::websocket(changed), &door, 400, "was changed").await;
            }
            refused(Ask::http("GET", target.clone()), &door, 400, "WebSocket").await;
            // None of that has used the ticket up.
            invitation.dial().await.websocket();
            refused(invitation.ask(""), &door, 403, "was used before").await;
            refused(invitation.ask("&sb-hc-statusCode=451"), &door, 403, "was used before").await;
        });
    }
}

#[tokio::test]
async fn a_rendezvous_is_closed_once_the_sender_has_gone() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    let mut socket = door.open().await;
    peers::connect(&relay, "").write(&door, &mut socket).await;
    let invitation = control.invitation().await;
    drop(socket);
    // The relay notices when the end of the socket reaches it.
    loop {
        let answer = invitation.dial_with("&bogus").await;
        match answer.status {
            400 => tokio::task::yield_now().await,
            status => break assert_eq!(status, 403, "{}", answer.status_line),
        }
    }
    refused(invitation.ask(""), &door, 403, "not valid").await;
}

#[tokio::test]
async fn one_socket_serves_refused_handshakes_until_one_succeeds() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    let mut answer = Ask::websocket("/$hc/hyco").send(&door).await;
    for _ in 0..3 {
        assert_eq!(answer.status, 401);
        let mut socket = answer.into_socket();
        Ask::websocket("/$hc/hyco").write(&door, &mut socket).await;
        answer = Answer::read(socket).await;
    }
    let mut socket = answer.into_socket();
    peers::connect(&relay, "").write(&door, &mut socket).await;
    let (answer, accepted): (Answer, RawWebSocket) = tokio::join!(Answer::read(socket), control.accept());
    answer.websocket();
    drop(accepted);
}
