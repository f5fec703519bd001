//! `request`: curl for hybrid connections.

use http::{Request, Response};
use hybridrelay::Body;
use hybridrelay::{Incoming, Listener, Responder};

use crate::harness::{Process, Relay, noise, run, sha256, within};

async fn next(listener: &Listener) -> (Request<Body>, Responder) {
    match within("a request", listener.accept()).await {
        Ok(Some(Incoming::Request(request))) => request.into_parts(),
        other => panic!("a request was expected, not {other:?}"),
    }
}

/// Answers every request with its own body, and tells method and Content-Type by headers.
async fn mirror(listener: Listener) {
    while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
        let (request, responder) = request.into_parts();
        let kind = request.headers().get("content-type").map_or("none", |kind| kind.to_str().unwrap()).to_owned();
        let response = Response::builder()
            .header("x-method", request.method().as_str())
            .header("x-kind", kind)
            .header("x-length", request.headers().get("content-length").map_or("none", |len| len.to_str().unwrap()))
            .body(request.into_body());
        tokio::spawn(async move {
            let _ = responder.send(response.unwrap()).await;
        });
    }
}

#[tokio::test]
async fn data_of_every_kind_is_sent_byte_for_byte() {
    let relay = Relay::start().await;
    tokio::spawn(mirror(relay.sdk_listener("mirror").open().await.unwrap()));
    let file = relay.home().join("data");
    let data = noise(3_000_001);
    std::fs::write(&file, &data).unwrap();
    let from_file = format!("@{}", file.display());
    for (data_argument, input, expected) in [
        ("line\n\r\n ", &b""[..], &b"line\n\r\n "[..]),
        ("@-", &data, &data),
        ("@-", b"", b""),
        (&from_file, b"", &data),
    ] {
        let output = run(&mut relay.request(&["mirror/x", "-d", data_argument]), input).await.ok();
        assert_eq!(sha256(&output), sha256(expected), "{}", &data_argument[..1]);
    }
    let missing = run(&mut relay.request(&["mirror", "-d", "@/nowhere/at/all"]), "").await;
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
    assert!(missing.stderr.starts_with("error: /nowhere/at/all cannot be read: No such file"), "{}", missing.stderr);
}

#[tokio::test]
async fn the_method_is_the_named_one_or_follows_from_the_data_and_headers_are_as_given() {
    let relay = Relay::start().await;
    tokio::spawn(mirror(relay.sdk_listener("mirror").open().await.unwrap()));
    for (arguments, method, kind) in [
        (&["mirror"][..], "GET", "none"),
        (&["mirror", "-d", "x"], "POST", "none"),
        (&["DELETE", "mirror"], "DELETE", "none"),
        (&["PATCH", "-H", "Content-Type: text/plain", "mirror", "-d", "x"], "PATCH", "text/plain"),
    ] {
        let output = run(relay.request(arguments).arg("--include"), "").await.ok();
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        for line in [format!("\r\nx-method: {method}\r\n"), format!("\r\nx-kind: {kind}\r\n")] {
            assert!(text.contains(&line), "{line:?} is missing in {text}");
        }
    }
}

#[tokio::test]
async fn the_listeners_own_reason_is_shown() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").open().await.unwrap();
    let mut command = relay.request(&["-i", "hello/x", "--fail"]);
    command.env("HYBRIDRELAY_CONNECTION_STRING", relay.plain_connection_string());
    let asking = run(&mut command, "");
    let answering = async {
        let (_, responder) = next(&listener).await;
        let reason = hybridrelay::ReasonPhrase("Not For You".to_owned());
        responder.send(Response::builder().status(451).extension(reason).body("because").unwrap()).await.unwrap();
    };
    let (output, ()) = tokio::join!(asking, answering);
    assert_eq!(output.code, Some(1));
    assert_eq!(output.stderr, "error: the answer is 451 Not For You\n");
    assert!(output.text().starts_with("HTTP/1.1 451 Not For You\r\n"), "{}", output.text());
    assert!(output.text().ends_with("\r\n\r\nbecause"), "{}", output.text());
}

#[tokio::test]
async fn both_directions_stream() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").open().await.unwrap();
    let mut process = Process::start(&mut relay.request(&["hello", "-d", "@-"]));
    process.write("first").await;
    let (request, responder) = next(&listener).await;
    let mut body = request.into_body();
    assert_eq!(within("a chunk", body.chunk()).await.unwrap().unwrap(), "first");
    let mut answer = responder.start(Response::new(())).unwrap();
    answer.write("one").await.unwrap();
    answer.flush().await.unwrap();
    assert_eq!(process.read(3).await, b"one");
    process.write("second").await;
    assert_eq!(within("a chunk", body.chunk()).await.unwrap().unwrap(), "second");
    process.close_stdin();
    assert_eq!(within("the end", body.chunk()).await.unwrap(), None);
    answer.write("two").await.unwrap();
    answer.finish().await.unwrap();
    assert_eq!(process.rest().await, b"two");
    assert_eq!(process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong_on_the_way() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").open().await.unwrap();
    let nobody = run(&mut relay.request(&["nobody/x"]), "").await;
    assert_eq!(nobody.code, Some(4), "{}", nobody.stderr);
    let address = format!("sb://{}/", relay.authority());
    let stranger = run(&mut relay.request(&["--connection-string", &address, "hello"]), "").await;
    assert_eq!(stranger.code, Some(3), "{}", stranger.stderr);
    let usage = run(&mut relay.request(&["GE T", "hello"]), "").await;
    assert_eq!((usage.code, usage.stderr.as_str()), (Some(2), "error: \"GE T\" is no HTTP method\n"));
    let reserved = run(&mut relay.request(&["hello?sb-hc-token=x"]), "").await;
    assert_eq!(reserved.code, Some(2), "{}", reserved.stderr);

    // An answer that breaks off is none.
    let mut process = Process::start(&mut relay.request(&["--json", "hello"]));
    let mut answer = next(&listener).await.1.start(Response::new(())).unwrap();
    answer.write("half").await.unwrap();
    answer.flush().await.unwrap();
    assert_eq!(process.read(4).await, b"half");
    drop(answer);
    let output = process.output().await;
    assert_eq!(output.code, Some(1));
    assert_eq!(output.last_event()["kind"], "ConnectionLost", "{}", output.stderr);
    assert!(output.stderr.contains(r#"{"event":"answered","reason":"OK","status":200}"#), "{}", output.stderr);
    listener.close().await;

    let home = relay.stop().await;
    let mut gone = crate::harness::command(home.path());
    gone.args(["request", "hello"]).env("HYBRIDRELAY_CONNECTION_STRING", "Endpoint=sb://127.0.0.1:1/");
    assert_eq!(run(&mut gone, "").await.code, Some(6));
}

#[tokio::test]
async fn who_has_read_enough_may_go() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").open().await.unwrap();
    let mut process = Process::start(&mut relay.request(&["hello"]));
    let (_, responder) = next(&listener).await;
    let answering = tokio::spawn(responder.send(Response::new(noise(30_000_000))));
    process.read(10).await;
    process.close_stdout();
    assert_eq!(process.exit().await.code(), Some(0));
    let error = within("the answer's end", answering).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), hybridrelay::ErrorKind::ConnectionLost);
}
