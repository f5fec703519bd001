//! The control channel: what a listener may say and what ends it (protocol.md 3.4 to 3.7, 3.10, decisions 7, 22, 36, 49, 57).

use std::time::Duration;

use hybridrelay_relay::{Config, LocalRelay, Namespace, Rights, Rule};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawEnds, RawListener, token};
use hybridrelay_tests::wire::raw::{Ask, Seen, binary, frame, header, op, ping, text};
use hybridrelay_tests::wire::setup::{self, HYCO, Served, entity};
use serde_json::json;

/// Shows that the channel lives: what was said before was taken in.
async fn lives(control: &mut RawListener) {
    control.ws.send(&ping(b"still there?")).await;
    let pong = control.ws.frame().await;
    assert_eq!((pong.opcode, pong.payload), (op::PONG, b"still there?".to_vec()));
}

/// The relay closes with this code, then ends the transport in good order.
async fn closes(mut control: RawListener, code: u16) -> String {
    let (seen, reason) = control.ws.close().await;
    assert_eq!(seen, Some(code), "{reason}");
    control.ws.send_close(Some(code), "").await;
    assert_eq!(control.ws.next().await, Seen::Eof, "the last word was not overtaken by a reset");
    reason
}

#[tokio::test]
async fn what_a_listener_may_say_does_not_disturb_its_channel() {
    for relay in setup::plain_and_tls().await {
        let mut control = RawListener::open(&relay).await;
        for harmless in [
            text(r#"{"teleport":{"x":1}}"#),
            text(r#"{ }"#),
            text(r#"{"renewToken":{"token":"com.microsoft.azure.relay.SharedAccessSignatureToken@1b2c3d"}}"#),
            text(r#"{"renewToken":{"token":"SharedAccessSignature sr=x&sig=AAAA&se=1&skn=nobody"}}"#),
            text(&json!({"renewToken": {"token": peers::token_of(&relay)}}).to_string()),
            text(r#"{"response":{"requestId":"nobody asked","statusCode":200,"body":false}}"#),
            // A response's body is swallowed with it.
            text(r#"{"response":{"requestId":"nobody asked","statusCode":"200","body":"true"}}"#),
            binary(b"the body"),
            binary(b""),
            // In fragments, with a ping in between.
            frame(op::TEXT, br#"{"some"#),
            ping(b"x"),
            frame(0x80 | op::CONTINUATION, br#"thing":1}"#),
            frame(0x80 | op::PONG, b"a sign of life that nobody asked for"),
            text(&json!({"padding": "x".repeat(128 * 1024 - 14)}).to_string()),
        ] {
            control.ws.send(&harmless).await;
        }
        let pong = control.ws.frame().await;
        assert_eq!((pong.opcode, &pong.payload[..]), (op::PONG, &b"x"[..]));
        lives(&mut control).await;
        // It still gets its senders, and nothing has been said to it before.
        let door = hybridrelay_tests::wire::raw::Door::from(&relay);
        let (sender, _accepted) = tokio::join!(peers::connect(&relay, "").send(&door), control.accept());
        sender.websocket();
    }
}

#[tokio::test]
async fn what_a_listener_may_not_say_closes_its_channel_with_the_reason() {
    for relay in setup::plain_and_tls().await {
        let announced = text(r#"{"response":{"requestId":"x","statusCode":200,"body":true}}"#);
        for (what, said, code) in [
            ("no JSON", text("hello"), 1002),
            ("cut JSON", text(r#"{"accept":"#), 1002),
            ("no object", text("[]"), 1002),
            ("a response without an id", text(r#"{"response":{"statusCode":200}}"#), 1002),
            ("text that is not UTF-8", frame(0x80 | op::TEXT, b"{\"a\":\"\xFF\"}"), 1007),
            ("a body that was not announced", binary(b"x"), 1002),
            ("a text where a body was announced", [announced.clone(), text("{}")].concat(), 1002),
            ("a text that is too long", text(&"x".repeat(128 * 1024 + 1)), 1009),
            ("a body that is too long", [announced, binary(&[7; 256 * 1024 + 1])].concat(), 1009),
            ("a frame that will be too long", header(0x80 | op::BINARY, 1 << 40), 1009),
            ("a reserved bit", frame(0xC0 | op::TEXT, b"{}"), 1002),
            ("an unknown opcode", frame(0x80 | 3, b"{}"), 1002),
            ("a frame without a mask", b"\x81\x02{}".to_vec(), 1002),
            ("a fragmented ping", frame(op::PING, b""), 1002),
            ("a long ping", ping(&[b'x'; 126]), 1002),
            ("a continuation of nothing", frame(0x80 | op::CONTINUATION, b"{}"), 1002),
        ] {
            println!("{what}");
            let mut control = RawListener::open(&relay).await;
            control.ws.send(&said).await;
            let reason = closes(control, code).await;
            assert!(!reason.is_empty(), "{what}");
        }
        setup::until(|| *relay.watch_listeners(HYCO).borrow() == 0).await;
    }
}

#[tokio::test]
async fn a_channel_that_breaks_the_rules_takes_no_sender_with_it() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, mut control } = peers::raw_ends(&relay).await;
    control.ws.send(&text("no JSON")).await;
    closes(control, 1002).await;
    sender.send(&text("still joined")).await;
    assert_eq!(accepted.text().await, "still joined");
}

#[tokio::test]
async fn who_waits_for_a_listener_that_is_being_closed_goes_to_another_at_once() {
    let mut config = Config::default();
    // The channel's farewell is not waited for, however long it takes.
    config.timings.control_close = Duration::from_secs(3600);
    let relay = LocalRelay::builder().config(config).start().soon().await.unwrap();
    let door = hybridrelay_tests::wire::raw::Door::from(&relay);
    let (mut one, mut two) = (RawListener::open(&relay).await, RawListener::open(&relay).await);
    let (sender, _accepted) = tokio::join!(peers::connect(&relay, "").send(&door), async {
        let (asked, other) = tokio::select! {
            _ = one.invitation() => (&mut one, &mut two),
            _ = two.invitation() => (&mut two, &mut one),
        };
        asked.ws.send(&text("no JSON")).await;
        other.accept().await
    });
    sender.websocket();
}

#[tokio::test]
async fn a_listener_that_closes_is_answered_and_gone() {
    for relay in setup::plain_and_tls().await {
        let mut control = RawListener::open(&relay).await;
        control.ws.send_close(Some(1000), "Normal Closure").await;
        assert_eq!(control.ws.close().await.0, Some(1000));
        assert_eq!(control.ws.next().await, Seen::Eof);
        setup::until(|| *relay.watch_listeners(HYCO).borrow() == 0).await;
    }
}

#[tokio::test]
async fn connections_survive_the_loss_of_the_control_channel() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, mut control } = peers::raw_ends(&relay).await;
        assert_eq!(relay.drop_control(HYCO), 1);
        assert_eq!(control.ws.next().await, Seen::Reset, "as a network failure");
        setup::until(|| *relay.watch_listeners(HYCO).borrow() == 0).await;
        sender.send(&text("there")).await;
        assert_eq!(accepted.text().await, "there");
        accepted.send(&text("back")).await;
        assert_eq!(sender.text().await, "back");
        assert_eq!(relay.connections(), 1);
    }
}

#[tokio::test]
async fn pings_of_every_length_are_answered_alike() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, mut control } = peers::raw_ends(&relay).await;
    for ws in [&mut control.ws, &mut sender, &mut accepted] {
        for length in [0, 1, 124, 125] {
            ws.send(&ping(&vec![b'x'; length])).await;
            let pong = ws.frame().await;
            assert_eq!((pong.opcode, pong.payload, pong.masked), (op::PONG, vec![b'x'; length], false));
        }
    }
}

#[tokio::test]
async fn a_silent_listener_is_pinged_and_one_that_answers_stays() {
    let mut config = Config::default();
    config.timings.control_ping = Duration::from_millis(50);
    config.timings.control_gone = Duration::from_secs(60);
    let relay = LocalRelay::builder().config(config.clone()).start().soon().await.unwrap();
    let mut control = RawListener::open(&relay).await;
    for _ in 0..3 {
        assert_eq!(control.ws.frame().await.opcode, op::PING);
        control.ws.send(&frame(0x80 | op::PONG, b"")).await;
    }
    config.timings.control_gone = Duration::from_millis(100);
    let relay = LocalRelay::builder().config(config).start().soon().await.unwrap();
    let mut control = RawListener::open(&relay).await;
    assert_eq!(control.ws.end().await, Seen::Reset, "who does not answer is gone");
}

#[tokio::test]
async fn features_are_told_where_they_were_asked_for() {
    let relay = setup::plain().await;
    let door = hybridrelay_tests::wire::raw::Door::from(&relay);
    let listen =
        |more: &str| Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen{more}")).token(&peers::token_of(&relay));
    let answer = listen("").header("Relay-Features", "teleport, raw-target,CANCEL").send(&door).await;
    assert_eq!(answer.header("relay-features"), Some("cancel, raw-target"));
    lives(&mut RawListener::new(&door, answer)).await;

    let answer = listen("&relay-features=header-arrays%2C%20teleport").send(&door).await;
    assert_eq!(answer.header("relay-features"), None);
    let mut control = RawListener::new(&door, answer);
    assert_eq!(control.ws.text().await, r#"{"features":["header-arrays"]}"#);

    let answer = listen("").header("Relay-Features", "teleport").send(&door).await;
    assert_eq!(answer.header("relay-features"), None);
    lives(&mut RawListener::new(&door, answer)).await;
}

/// A relay with a rule of the namespace and one of the entity, whose changes act almost at once.
async fn revoking(after: Duration) -> Served {
    let mut config = Config::default();
    config.timings.revocation = after;
    let own = Rule::new("own", Rights::LISTEN, "own key").with_secondary_key("own spare");
    let namespace = Namespace::new("n")
        .with_rule(Rule::new("shared", Rights::MANAGE, "shared key"))
        .with_entity(entity(HYCO).with_rule(own));
    setup::serve([namespace], config).await
}

async fn listener(served: &Served, rule: &str, key: &str) -> RawListener {
    let ask = Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen")).token(&token("http://x/hyco", rule, key));
    RawListener::new(&served.door, ask.send(&served.door).await)
}

#[tokio::test]
async fn a_listener_whose_rule_or_key_was_changed_is_closed_with_1008() {
    type Change = fn(&mut Namespace);
    let changes: [(&str, &str, &str, Change); 5] = [
        ("the key", "shared", "shared key", |namespace| namespace.rules[0].primary_key = "new".into()),
        ("the rule itself", "shared", "shared key", |namespace| namespace.rules.clear()),
        ("the right", "shared", "shared key", |namespace| namespace.rules[0].rights = Rights::SEND),
        ("the entity's primary key", "own", "own key", |namespace| {
            edit_own(namespace, |rule| rule.primary_key = "new".into())
        }),
        ("the entity's second key", "own", "own spare", |namespace| {
            edit_own(namespace, |rule| rule.secondary_key = None)
        }),
    ];
    for (what, rule, key, change) in changes {
        let served = revoking(Duration::from_millis(50)).await;
        let affected = listener(&served, rule, key).await;
        let mut other = if key == "own key" {
            listener(&served, "own", "own spare").await
        } else {
            listener(&served, "own", "own key").await
        };
        assert!(served.store.edit("n", change));
        let reason = closes(affected, 1008).await;
        assert!(!reason.is_empty(), "{what}");
        lives(&mut other).await;
        assert_eq!(served.handle.listeners("n", HYCO).len(), 1, "{what}: only who is affected");
    }
}

fn edit_own(namespace: &mut Namespace, change: fn(&mut Rule)) {
    let mut entity = namespace.entity(HYCO).expect("it is there").clone();
    entity.rules.iter_mut().for_each(change);
    *namespace = namespace.clone().with_entity(entity);
}

#[tokio::test]
async fn a_revoked_listener_stays_if_it_renews_with_what_is_good_now() {
    // Long enough for a renewal on any machine; the end of it is never waited for.
    let served = revoking(Duration::from_secs(3600)).await;
    let mut control = listener(&served, "shared", "shared key").await;
    served.store.edit("n", |namespace| namespace.rules[0].primary_key = "new key".into());
    let renewal = json!({"renewToken": {"token": token("http://x/hyco", "own", "own key")}}).to_string();
    control.ws.send(&text(&renewal)).await;
    lives(&mut control).await;
    // Now the other rule is what it lives on.
    served.store.edit("n", |namespace| edit_own(namespace, |rule| rule.rights = Rights::SEND));
    served.store.edit("n", |namespace| edit_own(namespace, |rule| rule.rights = Rights::LISTEN));
    lives(&mut control).await;
}

#[tokio::test]
async fn deleting_a_hybrid_connection_closes_everything_on_it_with_1001() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, control } = peers::raw_ends(&relay).await;
        let other = RawListener::open_on(&relay, "other").await;
        assert!(relay.store().delete_entity(relay.namespace(), "HYCO"));
        closes(control, 1001).await;
        for ws in [&mut sender, &mut accepted] {
            assert_eq!(ws.close().await.0, Some(1001));
            ws.send_close(Some(1001), "").await;
        }
        assert_eq!((sender.next().await, accepted.next().await), (Seen::Eof, Seen::Eof));
        drop((sender, accepted));
        setup::no_connection(&relay).await;
        let door = hybridrelay_tests::wire::raw::Door::from(&relay);
        let answer = peers::connect(&relay, "").send(&door).await;
        assert_eq!((answer.status, answer.text()), (404, "Endpoint does not exist"));
        let mut other = other;
        lives(&mut other).await;
    }
}
