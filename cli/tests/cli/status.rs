//! `status`: who listens.

use serde_json::{Value, json};

use crate::harness::{Process, Relay, run};

fn status(relay: &Relay, arguments: &[&str]) -> tokio::process::Command {
    let mut command = relay.command();
    command.arg("status").args(arguments);
    command
}

#[tokio::test]
async fn who_may_manage_sees_who_listens() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo", "--label", "zone=eu\u{1b}[2J", "--label", "v=2"]).await;
    let output = run(&mut status(&relay, &["hello"]), "").await;
    let (head, table) = output.text().split_once("\n\n").expect("a head and a table");
    let expected = format!("hello at {}: 1 listener is online since 20", relay.authority());
    assert!(head.starts_with(&expected) && head.ends_with(" UTC"), "{head}");
    let lines: Vec<_> = table.lines().collect();
    let [heading, row] = lines[..] else { panic!("two lines: {table}") };
    assert!(heading.starts_with("SINCE") && heading.contains("IN FLIGHT") && heading.contains("LABELS"), "{heading}");
    for part in [" ago", "127.0.0.1:", "hybridrelay-rust/", "v=2 zone=eu\u{FFFD}[2J", "cancel"] {
        assert!(row.contains(part), "{part} is missing in {row}");
    }

    let output = run(&mut status(&relay, &["hello", "--json"]), "").await;
    let told: Value = serde_json::from_slice(&output.ok()).expect("JSON");
    assert_eq!((&told["endpoint"], &told["count"]), (&json!("hello"), &json!(1)));
    assert_eq!(told["listeners"][0]["labels"], json!({"v": "2", "zone": "eu\u{1b}[2J"}));
}

#[tokio::test]
async fn a_watcher_gets_a_line_for_each_change() {
    let relay = Relay::start().await;
    let first = relay.sdk_listener("hello").open().await.expect("online");
    let mut text = Process::start(&mut status(&relay, &["hello", "--watch"]));
    let mut json = Process::start(&mut status(&relay, &["hello", "-w", "--json"]));
    assert!(text.line().await.contains(": 1 listener is online since"));
    // The empty line, the heading and the listener.
    for _ in 0..3 {
        text.line().await;
    }
    let present: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!((&present["event"], &present["count"]), (&json!("present"), &json!(1)));

    let second = relay.sdk_listener("hello").label("zone", "eu").open().await.expect("online");
    let came = text.line().await;
    assert!(came.contains(" UTC  2 online  + ") && came.ends_with("  zone=eu\n"), "{came}");
    let came_json: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!((&came_json["event"], &came_json["listener"]["labels"]["zone"]), (&json!("connected"), &json!("eu")));
    second.close().await;
    let went = text.line().await;
    assert_eq!(went.split_once(" - ").map(|(_, who)| who), came.split_once(" + ").map(|(_, who)| who), "{went}");
    let went_json: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!((&went_json["event"], &went_json["id"]), (&json!("disconnected"), &came_json["id"]));
    first.close().await;
    assert!(text.line().await.contains(" UTC  0 online  - "));

    let home = relay.stop().await;
    text.says("the relay is not heard: ").await;
    drop(home);
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let relay = Relay::start().await;
    let nowhere = run(&mut status(&relay, &["nowhere"]), "").await;
    assert_eq!(nowhere.code, Some(4), "{}", nowhere.stderr);
    let _listener = relay.sdk_listener("hello").open().await.expect("online");
    let address = format!("sb://{}/", relay.authority());
    let stranger = run(&mut status(&relay, &["--connection-string", &address, "hello"]), "").await;
    assert_eq!(stranger.code, Some(3), "{}", stranger.stderr);
}
