//! `connect`: standard input and output joined to a listener.

use std::process::Stdio;

use hybridrelay::{Incoming, Message};
use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::harness::{Process, Relay, noise, run, sha256, within};

/// The one sender that a listener of this process is asked for.
async fn sender(listener: &hybridrelay::Listener) -> hybridrelay::IncomingConnect {
    match within("a sender", listener.accept()).await.unwrap() {
        Some(Incoming::Connect(connect)) => connect,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_sent_comes_back_with_tls_and_without() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let data = noise(5_000_000);
    for connection_string in [relay.connection_string().to_owned(), relay.plain_connection_string()] {
        let mut connect = relay.command();
        connect.args(["connect", "hello"]).env("HYBRIDRELAY_CONNECTION_STRING", connection_string);
        let output = run(&mut connect, &data).await;
        assert_eq!(output.stderr, "");
        assert_eq!(sha256(&output.ok()), sha256(&data));
    }
}

#[tokio::test]
async fn the_connection_string_may_be_in_a_file_or_an_option() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let file = relay.home().join("connection-string");
    std::fs::write(&file, format!("{};EntityPath=hello\n", relay.connection_string())).unwrap();
    let file = file.to_str().unwrap();
    let other = "HYBRIDRELAY_CONNECTION_STRING";

    let mut by_option = relay.command();
    by_option.env_remove(other).args(["connect", "hello", "--connection-string", relay.connection_string()]);
    assert_eq!(run(&mut by_option, "1").await.ok(), b"1");
    let mut by_file = relay.command();
    by_file.env(other, "Endpoint=sb://nowhere.invalid/").args(["connect", "--connection-string-file", file]);
    assert_eq!(run(&mut by_file, "2").await.ok(), b"2");
    let mut by_variable = relay.command();
    by_variable.env_remove(other).env("HYBRIDRELAY_CONNECTION_STRING_FILE", file).arg("connect");
    assert_eq!(run(&mut by_variable, "3").await.ok(), b"3");
}

#[tokio::test]
async fn a_command_is_answered_while_input_stays_open() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let mut connect = relay.connect(["hello"]);
    for word in ["one", "two"] {
        connect.write(word).await;
        assert_eq!(connect.read(3).await, word.as_bytes());
    }
    connect.close_stdin();
    assert_eq!(connect.output().await.ok(), b"");
}

#[tokio::test]
async fn the_listeners_end_is_the_end_of_output_while_input_still_flows() {
    // As an ssh ProxyCommand: whoever reads our output must see that the other side has ended, or they wait for ever.
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").await.unwrap();
    let mut connect = relay.connect(["hello"]);
    let connection = sender(&listener).await.accept().await.unwrap();
    connection.send(&b"banner"[..]).await.unwrap();
    connection.shutdown().await.unwrap();
    assert_eq!(connect.rest().await, b"banner");

    connect.write("still heard").await;
    let heard = within("what is sent", connection.receive()).await.unwrap();
    assert_eq!(heard.unwrap().as_bytes(), b"still heard");
    connect.close_stdin();
    assert_eq!(within("the end", connection.receive()).await.unwrap(), None);
    assert_eq!(connect.exit().await.code(), Some(0));
}

#[tokio::test]
async fn at_a_terminal_the_listeners_end_is_the_end() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["greeter", "--exec", "echo welcome"]).await;
    let terminal = openpty(None, None).unwrap();
    let mut command = relay.command();
    let connect = Process::start_with(command.args(["connect", "greeter"]), Stdio::from(terminal.slave));
    assert_eq!(connect.output().await.ok(), b"welcome\n");
    drop(terminal.master);
}

#[tokio::test]
async fn the_end_of_input_is_an_end_that_the_listener_sees() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").await.unwrap();
    let connect = tokio::spawn({
        let mut command = relay.command();
        async move { run(command.args(["connect", "hello"]), "all of it").await }
    });
    let connection = sender(&listener).await.accept().await.unwrap();
    let message = within("the input", connection.receive()).await.unwrap().unwrap();
    assert_eq!(message, Message::from(&b"all of it"[..]));
    assert_eq!(within("its end", connection.receive()).await.unwrap(), None);
    connection.send(&b"late answer"[..]).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(connect.await.unwrap().ok(), b"late answer");
}

#[tokio::test]
async fn the_listener_sees_path_query_headers_and_subprotocols() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("orders").subprotocols(["v2"]).await.unwrap();
    let mut command = relay.command();
    command.args(["--json", "connect", "orders/7/caf%C3%A9?x=1&y=a b", "--header", "X-Team: blue"]);
    command.args(["--subprotocol", "v1", "--subprotocol", "v2"]);
    let connect = Process::start(&mut command);
    let incoming = sender(&listener).await;
    assert_eq!((incoming.path(), incoming.query()), ("/7/caf%C3%A9", Some("x=1&y=a%20b")));
    assert_eq!(incoming.headers()["x-team"], "blue");
    assert_eq!(incoming.subprotocols().collect::<Vec<_>>(), ["v1", "v2"]);
    let id = incoming.tracking_id().trim_end_matches("_G0").to_owned();
    let connection = incoming.accept().await.unwrap();
    connection.shutdown().await.unwrap();
    let output = connect.output().await;
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let event = output.last_event();
    assert_eq!((&event["event"], &event["entity"]), (&"connected".into(), &"orders/7".into()));
    assert_eq!((&event["subprotocol"], &event["trackingId"]), (&"v2".into(), &id.into()));
    assert_eq!(event["relay"], relay.authority());
}

#[tokio::test]
async fn what_begins_with_a_slash_follows_the_entity_path() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("deep/orders").await.unwrap();
    let connection_string = format!("{};EntityPath=deep/orders", relay.connection_string());
    for (arguments, path, query) in [
        (&["connect"][..], "", None),
        (&["connect", "/7?x=1"], "/7", Some("x=1")),
        (&["connect", "?x=1"], "", Some("x=1")),
        (&["connect", "deep/orders/7"], "/7", None),
        (&["connect", "--path", "7", "--query", "x=1"], "/7", Some("x=1")),
    ] {
        let mut command = relay.command();
        let connect = Process::start(command.env("HYBRIDRELAY_CONNECTION_STRING", &connection_string).args(arguments));
        let incoming = sender(&listener).await;
        assert_eq!((incoming.path(), incoming.query()), (path, query), "{arguments:?}");
        incoming.reject(451, "seen").await.unwrap();
        assert_eq!(connect.output().await.code, Some(1), "{arguments:?}");
    }
}

#[tokio::test]
async fn text_mode_speaks_in_messages_of_one_line() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("chat").await.unwrap();
    let mut connect = relay.connect(["chat", "--text"]);
    let connection = sender(&listener).await.accept().await.unwrap();
    connect.write("first\r\n\nthird").await;
    connect.close_stdin();
    for line in ["first", "", "third"] {
        let message = within("a line", connection.receive()).await.unwrap();
        assert_eq!(message, Some(Message::from(line)));
    }
    assert_eq!(within("the end", connection.receive()).await.unwrap(), None);
    connection.send("an answer").await.unwrap();
    connection.send(&b"bytes"[..]).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(connect.output().await.ok(), b"an answer\nbytes\n");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("endless").await.unwrap();
    let mut connect = relay.connect(["endless"]);
    let connection = sender(&listener).await.accept().await.unwrap();
    let sending = tokio::spawn(async move { while connection.send(vec![b'x'; 60_000]).await.is_ok() {} });
    assert_eq!(connect.read(10).await, b"xxxxxxxxxx");
    connect.close_stdout();
    assert_eq!(connect.exit().await.code(), Some(0));
    within("the listener to notice", sending).await.unwrap();
}

#[tokio::test]
async fn a_listener_that_dies_is_a_failure_and_what_it_said_is_not_lost() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").await.unwrap();
    let connect = relay.connect(["hello"]);
    let connection = sender(&listener).await.accept().await.unwrap();
    connection.send(&b"last words"[..]).await.unwrap();
    connection.flush().await.unwrap();
    let mut connect = connect;
    assert_eq!(connect.read(10).await, b"last words");
    connection.abort();
    let output = connect.output().await;
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.starts_with("error: the connection to 'hello' was lost: "), "{}", output.stderr);
}

#[tokio::test]
async fn a_sender_that_is_killed_is_no_end_of_stream_at_the_listener() {
    let relay = Relay::start().await;
    let listener = relay.sdk_listener("hello").await.unwrap();
    let mut connect = relay.connect(["hello"]);
    let connection = sender(&listener).await.accept().await.unwrap();
    connect.write("half of it").await;
    assert_eq!(within("half", connection.receive()).await.unwrap().unwrap().as_bytes(), b"half of it");
    connect.signal(Signal::SIGTERM);
    let error = within("the abort", connection.receive()).await.unwrap_err();
    assert_eq!(error.kind(), hybridrelay::ErrorKind::ConnectionLost);
}
