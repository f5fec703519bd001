//! `publish` and `subscribe`: what one says, everybody hears.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Process, Relay, run};

/// A relay where everything below `events/` goes to everybody.
async fn relay() -> Relay {
    Relay::start_with(["--listen", "https://127.0.0.1:0", "--events", "events/*"]).await
}

async fn subscribe(relay: &Relay, arguments: &[&str]) -> Process {
    let mut process = Process::start(relay.command().arg("subscribe").args(arguments));
    let online = if arguments.contains(&"--json") { r#"{"event":"online""# } else { "subscribed to" };
    process.says(online).await;
    process
}

async fn publish(relay: &Relay, arguments: &[&str], input: &str) {
    let output = run(relay.command().arg("publish").args(arguments), input).await;
    assert_eq!(output.stderr, "");
    assert_eq!(output.ok(), b"");
}

#[tokio::test]
async fn every_subscriber_prints_what_is_published_one_line_for_each_event() {
    let relay = relay().await;
    let mut subscribers = [subscribe(&relay, &["events/doors"]).await, subscribe(&relay, &["events/doors"]).await];
    publish(&relay, &["events/doors", "front door", "back door"], "").await;
    for subscriber in &mut subscribers {
        assert_eq!((subscriber.line().await, subscriber.line().await), ("front door\n".into(), "back door\n".into()));
    }
    publish(&relay, &["events/doors"], "from\r\n\nstandard input").await;
    for subscriber in &mut subscribers {
        for line in ["from\n", "\n", "standard input\n"] {
            assert_eq!(subscriber.line().await, line);
        }
    }
}

#[tokio::test]
async fn with_json_a_subscriber_prints_an_object_for_each_event() {
    let relay = relay().await;
    let mut subscriber = subscribe(&relay, &["events", "--json"]).await;
    async fn next(subscriber: &mut Process) -> Value {
        serde_json::from_str(&subscriber.line().await).unwrap()
    }
    let published = run(relay.command().args(["--json", "publish", "events/a?x=secret", "grün"]), "").await;
    let (told, seen) = (published.last_event(), next(&mut subscriber).await);
    assert_eq!((&told["event"], &told["events"]), (&json!("published"), &json!(1)));
    let id = told["trackingId"].as_str().unwrap().trim_end_matches("_G0");
    assert!(seen["publisher"].as_str().unwrap().starts_with(id), "{seen}");
    let publisher = &seen["publisher"];
    assert_eq!(seen, json!({"publisher": publisher, "path": "/a", "kind": "text", "text": "grün"}));

    publish(&relay, &["events", "--binary"], "x\ny").await;
    for data in ["eA==", "eQ=="] {
        let seen = next(&mut subscriber).await;
        let publisher = &seen["publisher"];
        assert_eq!(seen, json!({"publisher": publisher, "path": "", "kind": "binary", "data": data}));
    }

    publish(&relay, &["--http", "events/orders/7", "paid"], "").await;
    let seen = next(&mut subscriber).await;
    let publisher = &seen["publisher"];
    let request =
        json!({"publisher": publisher, "path": "/orders/7", "kind": "request", "method": "POST", "text": "paid"});
    assert_eq!(seen, request);
}

#[tokio::test]
async fn at_a_hybrid_connection_of_the_ordinary_kind_one_subscriber_hears_all_the_same() {
    let relay = relay().await;
    let mut subscriber = subscribe(&relay, &["hello"]).await;
    publish(&relay, &["hello", "by stream"], "").await;
    assert_eq!(subscriber.line().await, "by stream\n");
    publish(&relay, &["hello", "--http"], "by\nrequest").await;
    assert_eq!((subscriber.line().await, subscriber.line().await), ("by\n".into(), "request\n".into()));
}

#[tokio::test]
async fn the_connection_strings_own_hybrid_connection_is_the_default() {
    let relay = relay().await;
    let own = format!("{};EntityPath=events/doors", relay.connection_string());
    let mut subscriber = subscribe(&relay, &["events/doors", "--json"]).await;
    for (arguments, kind, path) in [
        (&["publish"][..], "text", ""),
        (&["publish", "--http"], "request", "/"),
        (&["publish", "/7", "x"], "text", "/7"),
    ] {
        let output = run(relay.command().args(arguments).env("HYBRIDRELAY_CONNECTION_STRING", &own), "x").await;
        assert_eq!((output.stderr.as_str(), output.code), ("", Some(0)));
        let seen: Value = serde_json::from_str(&subscriber.line().await).unwrap();
        assert_eq!((&seen["kind"], &seen["path"], &seen["text"]), (&json!(kind), &json!(path), &json!("x")));
    }

    for arguments in [&["publish"][..], &["publish", "--http"], &["publish", "", "x"]] {
        let output = run(relay.command().args(arguments), "x").await;
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert!(output.stderr.contains("no hybrid connection is named"), "{}", output.stderr);
    }
    // One that is named, but empty, is a mistake.
    let mut empty = relay.command();
    let output = run(empty.args(["publish", "", "x"]).env("HYBRIDRELAY_CONNECTION_STRING", &own), "").await;
    assert_eq!(output.code, Some(2), "{}", output.stderr);
}

#[tokio::test]
async fn a_signal_ends_a_subscriber_in_good_order() {
    let relay = relay().await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut subscriber = subscribe(&relay, &["events/doors"]).await;
        publish(&relay, &["events/doors", "front door"], "").await;
        assert_eq!(subscriber.line().await, "front door\n");
        subscriber.signal(signal);
        assert_eq!(subscriber.output().await.ok(), b"");
    }
}

#[tokio::test]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let relay = relay().await;
    let mut subscriber = subscribe(&relay, &["events/doors"]).await;
    subscriber.close_stdout();
    publish(&relay, &["events/doors", "front door"], "").await;
    assert_eq!(subscriber.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_subscriber_that_is_not_read_tells_what_it_missed() {
    const EVENTS: usize = 4000;
    let relay = relay().await;
    let mut subscriber = subscribe(&relay, &["events/log", "--json"]).await;
    let lines: Vec<String> = (0..EVENTS).map(|number| format!("{number} {}", "x".repeat(10_000))).collect();
    publish(&relay, &["events/log"], &lines.join("\n")).await;
    let (mut got, mut last) = (0, None);
    while last != Some(EVENTS - 1) {
        let seen: Value = serde_json::from_str(&subscriber.line().await).unwrap();
        let number = seen["text"].as_str().unwrap().split(' ').next().unwrap().parse().ok();
        assert!(number > last, "{number:?} after {last:?}");
        (got, last) = (got + 1, number);
    }
    assert!(got < EVENTS, "so much waits nowhere");
    // The last of it is told a moment later.
    let told = |said: &str| -> u64 {
        let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == "missed").filter_map(|event| event["count"].as_u64()).sum()
    };
    let mut times = 1;
    while told(&subscriber.said()) < (EVENTS - got) as u64 {
        subscriber.says_times(times, r#"{"event":"missed""#).await;
        times += 1;
    }
    assert_eq!(told(&subscriber.said()), (EVENTS - got) as u64);
}

#[tokio::test]
async fn what_cannot_be_published_is_told_with_the_exit_code() {
    let relay = relay().await;
    let _subscriber = subscribe(&relay, &["events/doors"]).await;
    for (arguments, input, code, why) in [
        (&["events/nobody", "x"][..], "", 4, "there is no hybrid connection 'events/nobody'"),
        (&["events/doors", "--http", "x", "y"], "", 2, "one HTTP request carries one MESSAGE"),
        (&["Endpoint=sb://x;SharedAccessKey=y", "x"], "", 2, "ENTITY is a connection string"),
        (&["events/doors"], "\u{0}", 0, ""),
        (&["events/doors", "--http", "--binary"], "", 2, "cannot be used with"),
    ] {
        let output = run(relay.command().arg("publish").args(arguments), input).await;
        assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{arguments:?}: {}", output.stderr);
    }
    let output = run(relay.command().args(["publish", "events/doors"]), b"\xFF\n").await;
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("publish it with --binary"), "{}", output.stderr);
    let long = "x".repeat(2 << 20);
    let output = run(relay.command().args(["publish", "events/doors"]), long).await;
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("an event is longer than the hybrid connection takes"), "{}", output.stderr);
}
