//! Exit codes and error texts.

use std::net::TcpListener;

use hybridrelay::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Output, Relay, command, run, within};

/// The message without its `(TrackingId …)`, and the advice.
#[track_caller]
fn parts(output: &Output) -> (String, String) {
    let mut lines = output.stderr.lines();
    let message = lines.next().expect("a message").to_owned();
    let advice = lines.next().unwrap_or_default().to_owned();
    assert_eq!(lines.next(), None, "{}", output.stderr);
    assert!(output.stdout.is_empty());
    match message.split_once(" (TrackingId ") {
        Some((text, id)) => {
            let id = id.strip_suffix("_G0)").expect("the relay's id");
            assert!(id.len() == 36, "{message}");
            (text.to_owned(), advice)
        }
        None => (message, advice),
    }
}

#[tokio::test]
async fn code_1_for_a_rejection_in_the_listeners_words() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").await.unwrap();
    let rejecting = tokio::spawn(async move {
        while let Ok(Some(Incoming::Connect(connect))) = listener.accept().await {
            connect.reject(451, "Not for you").await.unwrap();
        }
    });
    let output = run(relay.command().args(["connect", "hello"]), "").await;
    assert_eq!(output.code, Some(1));
    let expected = format!("error: cannot connect to 'hello' at {}: 451 Not for you", relay.authority());
    assert_eq!(parts(&output).0, expected);
    rejecting.abort();
}

#[tokio::test]
async fn code_2_for_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    let key = "c2VjcmV0";
    let connection_string = format!("Endpoint=sb://localhost:1/;SharedAccessKeyName=n;SharedAccessKey={key}");
    for (arguments, says) in [
        (&["--unknown"][..], "unexpected argument '--unknown'"),
        (&["connect", "--unknown"], "unexpected argument '--unknown'"),
        (&["listen", "x", "--echo", "--exec", "cat"], "cannot be used with"),
        (&["serve", "--dev", "--listen", "9443"], "write https://host:port or http://host:port"),
        (&["serve", "--dev", "--key", "a;b"], "error: --key holds characters"),
        (&["demo", "--size", "big"], "write a size such as"),
        (&["connect"], "error: no hybrid connection is named\nname one, such as 'hello'"),
        (&["listen"], "error: no hybrid connection is named\nname one, such as 'hello'"),
        (&["listen", "a b"], "\"a b\" cannot name a hybrid connection: ' ' is not allowed"),
        (&["connect", &connection_string], "error: ENTITY is a connection string\nset HYBRIDRELAY_CONNECTION_STRING"),
        (&["connect", "x?sb-hc-token=1"], "query parameters that begin with 'sb-hc-' belong to the relay"),
        (&["connect", "x", "--proxy", "ftp://c2VjcmV0@h"], "the proxy's URL names no proxy of a known kind"),
        (&["connect", "x", "--header", key], "error: --header is written 'Name: value'"),
        (&["connect", "x", "--header", "Host: h"], "the header Host is set by the handshake itself"),
        (&["connect", "x", "--extra-ca", "/nonexistent"], "/nonexistent cannot be read: No such file"),
        (&["connect", "x", "--connection-string", "Endpoint"], "error: --connection-string: part 1"),
        (&["connect", "x", "--connection-string-file", "/nonexistent"], "cannot be read from /nonexistent"),
        (
            &["connect", "x", "--connection-string", "Endpoint=sb://relay.example.net/;UseDevelopmentEmulator=true"],
            "would be reached without TLS, but it is not a local or private address\ndrop UseDevelopmentEmulator",
        ),
    ] {
        let mut usage = command(home.path());
        let output = run(usage.env("HYBRIDRELAY_CONNECTION_STRING", &connection_string).args(arguments), "").await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{arguments:?}: {}", output.stderr);
        assert!(!output.stderr.contains(key), "{arguments:?}: {}", output.stderr);
    }
}

#[tokio::test]
async fn code_2_without_a_relay_and_with_a_broken_variable() {
    let home = tempfile::tempdir().unwrap();
    let output = run(command(home.path()).args(["connect", "x"]), "").await;
    assert_eq!(output.code, Some(2));
    assert!(
        output.stderr.starts_with("error: no relay is named\nset HYBRIDRELAY_CONNECTION_STRING"),
        "{}",
        output.stderr
    );

    let mut broken = command(home.path());
    broken.args(["connect", "x"]).env("HYBRIDRELAY_CONNECTION_STRING", "Endpoint=sb://h/;SharedAccesKey=k");
    let output = run(&mut broken, "").await;
    assert_eq!(output.code, Some(2));
    assert_eq!(
        output.stderr,
        "error: HYBRIDRELAY_CONNECTION_STRING: the connection string has the key \"SharedAccesKey\", which is not known\n\
         did you mean SharedAccessKey?\n"
    );
    let output = run(command(home.path()).args(["demo"]).env("HYBRIDRELAY_LOG", "a=b=c"), "").await;
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.starts_with("error: HYBRIDRELAY_LOG cannot be read"), "{}", output.stderr);
}

#[tokio::test]
async fn code_3_for_a_wrong_key_and_an_expired_token() {
    let relay = Relay::start().await;
    let right = relay.text("key");
    for command in ["connect", "listen"] {
        let wrong = relay.connection_string().replace(right, "wrong");
        let output =
            run(relay.command().env("HYBRIDRELAY_CONNECTION_STRING", wrong).args([command, "hello"]), "").await;
        assert_eq!(output.code, Some(3), "{}", output.stderr);
        let (message, advice) = parts(&output);
        assert!(
            message.contains(&format!(
                "'hello' at {}: 401 InvalidSignature: The token has an invalid signature",
                relay.authority()
            )),
            "{message}"
        );
        assert_eq!(advice, "check the key name, the key, and that this machine's clock is right");
    }
    let token = run(relay.command().args(["token", "create", "hello", "--validity", "0s"]), "").await.ok();
    let (endpoint, _) = relay.connection_string().split_once(';').unwrap();
    let expired = format!("{endpoint};SharedAccessSignature={}", String::from_utf8(token).unwrap().trim());
    let output =
        run(relay.command().env("HYBRIDRELAY_CONNECTION_STRING", expired).args(["connect", "hello"]), "").await;
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert_eq!(parts(&output), ("error: the ready-made token has expired".into(), "set a new token".into()));
}

#[tokio::test]
async fn code_4_for_nobody_and_for_no_endpoint() {
    let relay = Relay::start().await;
    let authority = relay.authority();
    let output = run(relay.command().args(["connect", "orders"]), "").await;
    assert_eq!(output.code, Some(4));
    assert_eq!(
        parts(&output),
        (
            format!("error: there is no hybrid connection 'orders' at {authority}"),
            "start a listener, which makes it: hybridrelay listen orders".to_owned()
        )
    );

    let listener = relay.sdk_listener("orders").await.unwrap();
    within("the listener to close", listener.close()).await;
    let output = run(relay.command().args(["connect", "orders"]), "").await;
    assert_eq!(output.code, Some(4));
    assert_eq!(
        parts(&output),
        (
            format!("error: no listener is online for 'orders' at {authority}"),
            "start one: hybridrelay listen orders".to_owned()
        )
    );
}

#[tokio::test]
async fn code_5_for_a_listener_that_does_not_answer() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("asleep").await.unwrap();
    let output = run(relay.command().args(["connect", "asleep", "--connect-timeout", "1s"]), "").await;
    assert_eq!(output.code, Some(5));
    let message = parts(&output).0;
    assert!(message.starts_with("error: no ") && message.contains(relay.authority()), "{message}");
    assert!(message.ends_with(" within 1 s"), "{message}");
    drop(listener);
}

#[tokio::test]
async fn code_6_where_nobody_is_and_where_tls_fails() {
    let relay = Relay::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let at = |authority: &str| relay.connection_string().replace(relay.authority(), authority);

    let mut nobody = relay.command();
    nobody.args(["connect", "x"]).env("HYBRIDRELAY_CONNECTION_STRING", at(&address.to_string()));
    let output = run(&mut nobody, "").await;
    assert_eq!(output.code, Some(6));
    let (message, advice) = parts(&output);
    assert!(message.starts_with(&format!("error: cannot connect to {address}: Connection refused")), "{message}");
    assert_eq!(advice, "is the relay running? start one: hybridrelay serve --dev");

    let mut stranger = relay.command();
    let output = run(stranger.args(["connect", "x"]).env_remove("HYBRIDRELAY_EXTRA_CA"), "").await;
    assert_eq!(output.code, Some(6));
    let (message, advice) = parts(&output);
    assert!(
        message.starts_with("error: the TLS handshake with localhost failed: invalid peer certificate"),
        "{message}"
    );
    assert!(advice.ends_with("give its certificate with --extra-ca FILE"), "{advice}");

    let plain = relay.plain_connection_string();
    let plain_port = plain.split_once("127.0.0.1:").unwrap().1.split_once('/').unwrap().0;
    let mut confused = relay.command();
    confused.args(["connect", "x"]).env("HYBRIDRELAY_CONNECTION_STRING", at(&format!("localhost:{plain_port}")));
    let output = run(&mut confused, "").await;
    assert_eq!(output.code, Some(6), "{}", output.stderr);
    assert!(output.stderr.contains("is this a plain (non-TLS) port?"), "{}", output.stderr);
}

#[tokio::test]
async fn code_6_for_a_proxy_that_does_not_let_us_through() {
    let relay = Relay::start().await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://nobody:hunter2@{}", proxy.local_addr().unwrap());
    let mut command = relay.command();
    let connecting = tokio::spawn(async move { run(command.args(["connect", "x", "--proxy", &url]), "").await });
    let (mut socket, _) = within("the proxy's client", proxy.accept()).await.unwrap();
    let mut request = [0; 4096];
    let read = within("its request", socket.read(&mut request)).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    assert!(request.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", relay.authority())), "{request}");
    socket.write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let output = connecting.await.unwrap();
    assert_eq!(output.code, Some(6), "{}", output.stderr);
    assert!(output.stderr.contains("407") && !output.stderr.contains("hunter2"), "{}", output.stderr);
}

#[tokio::test]
async fn with_json_a_failure_is_one_object() {
    let relay = Relay::start().await;
    let output = run(relay.command().args(["connect", "orders", "--json"]), "").await;
    assert_eq!(output.code, Some(4));
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.starts_with(r#"{"event":"error","#), "{}", output.stderr);
    let event = output.last_event();
    assert_eq!((&event["kind"], &event["exitCode"]), (&"EndpointNotFound".into(), &4.into()));
    assert_eq!((&event["status"], &event["retryable"]), (&404.into(), &false.into()));
    assert!(event["reason"].as_str().unwrap().starts_with("Endpoint does not exist"), "{event}");
    assert!(event["trackingId"].as_str().unwrap().ends_with("_G0"), "{event}");
    assert_eq!(event["advice"], "start a listener, which makes it: hybridrelay listen orders");

    let output = run(relay.command().args(["connect", "--json", "--unknown"]), "").await;
    assert_eq!(output.code, Some(2));
    let event = output.last_event();
    assert_eq!((&event["kind"], &event["exitCode"]), (&"InvalidArgument".into(), &2.into()));
    assert!(event["message"].as_str().unwrap().starts_with("unexpected argument '--unknown'"), "{event}");
}

#[tokio::test]
async fn help_and_version_go_to_standard_output() {
    let home = tempfile::tempdir().unwrap();
    let version = run(command(home.path()).arg("--version"), "").await;
    assert_eq!(version.text(), concat!("hybridrelay ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&["--help"][..], &["serve", "--help"], &["listen", "--help"], &["connect", "--help"]] {
        let help = run(command(home.path()).args(arguments), "").await;
        assert_eq!(help.code, Some(0));
        assert!(help.text().contains("Examples:\n  hybridrelay "), "{arguments:?}");
        assert_eq!(help.stderr, "");
    }
}
