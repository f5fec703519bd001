//! `send`: requests for whose answers nobody waits.

use hybridrelay::{Incoming, IncomingRequest, Listener};
use tokio::process::Command;

use crate::harness::{Process, Relay, noise, run, sha256, within};

fn send(relay: &Relay, arguments: &[&str]) -> Command {
    let mut command = relay.command();
    command.arg("send").args(arguments);
    command
}

async fn next(listener: &Listener) -> IncomingRequest {
    match within("a request", listener.accept()).await {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("a request was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn it_ends_when_a_listener_has_the_request_and_tells_its_id() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("jobs").open().await.unwrap();
    let file = relay.home().join("data");
    let data = noise(65_536);
    std::fs::write(&file, &data).unwrap();
    let from_file = format!("@{}", file.display());
    for (arguments, input, method, path, body) in [
        (&["jobs"][..], &b""[..], "POST", "/", &b""[..]),
        (&["jobs/7?x=1", "-d", "line\n", "-H", "X-Own: 1"], b"", "POST", "/7", b"line\n"),
        (&["PUT", "jobs", "-d", "@-"], b"from input", "PUT", "/", b"from input"),
        (&["jobs/file", "-d", &from_file], b"", "POST", "/file", &data),
    ] {
        // Nobody answers before it has ended.
        let output = run(&mut send(&relay, arguments), input).await;
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let request = next(&listener).await;
        assert!(request.is_one_way());
        assert_eq!((request.method().as_str(), request.path()), (method, path));
        assert_eq!(request.headers().contains_key("x-own"), arguments.contains(&"-H"));
        assert_eq!(output.stderr, format!("sent (TrackingId {})\n", request.tracking_id()));
        let got = request.into_parts().0.into_body().bytes(1 << 20).await.unwrap();
        assert_eq!(sha256(&got), sha256(body));
    }
}

#[tokio::test]
async fn it_tells_programs_in_json_and_says_nothing_where_that_is_wanted() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("jobs").open().await.unwrap();
    let output = run(&mut send(&relay, &["--json", "jobs"]), "").await;
    let event = output.last_event();
    let id = next(&listener).await.tracking_id().to_owned();
    assert_eq!(event, serde_json::json!({"event": "sent", "listeners": 1, "trackingId": id}));
    let quiet = run(&mut send(&relay, &["jobs", "--quiet"]), "").await;
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn it_fails_where_nobody_has_it() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("jobs").open().await.unwrap();
    let too_long = run(&mut send(&relay, &["--json", "jobs", "-d", "@-"]), noise(65_537)).await;
    assert_eq!(too_long.code, Some(1), "{}", too_long.stderr);
    let event = too_long.last_event();
    assert_eq!((&event["kind"], &event["status"]), (&"MessageTooLarge".into(), &413.into()), "{event}");
    let usage = run(&mut send(&relay, &["GE T", "jobs"]), "").await;
    assert_eq!((usage.code, usage.stderr.as_str()), (Some(2), "error: \"GE T\" is no HTTP method\n"));
    within("the end", listener.close()).await;
    let mut process = Process::start(&mut send(&relay, &["jobs"]));
    process.says("no listener is online for 'jobs'").await;
    assert_eq!(process.exit().await.code(), Some(4));
}
