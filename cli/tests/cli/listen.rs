//! `listen` without --exec: netcat and echo.

use nix::sys::signal::Signal;

use crate::harness::{Process, Relay, noise, run, sha256};

#[tokio::test]
async fn one_sender_is_joined_to_standard_input_and_output_and_its_end_is_the_end() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["hello"]).await;
    let mut connect = relay.connect(["hello"]);
    connect.write("from the sender").await;
    assert_eq!(listener.read(15).await, b"from the sender");
    listener.write("from the listener").await;
    assert_eq!(connect.read(17).await, b"from the listener");
    connect.close_stdin();
    // Our half is still open: the listener goes on until its own input ends.
    assert_eq!(listener.rest().await, b"");
    listener.write("!").await;
    assert_eq!(connect.read(1).await, b"!");
    listener.close_stdin();
    assert_eq!(connect.output().await.ok(), b"");
    assert_eq!(listener.output().await.ok(), b"");
}

#[tokio::test]
async fn a_file_is_received_whole_by_a_listener_without_input() {
    let relay = Relay::start().await;
    let data = noise(3_000_000);
    let mut listener = relay.listen(["backup"]).await;
    listener.close_stdin();
    let sent = tokio::spawn({
        let (mut command, data) = (relay.command(), data.clone());
        async move { run(command.args(["connect", "backup"]), data).await }
    });
    assert_eq!(sha256(&listener.output().await.ok()), sha256(&data));
    assert_eq!(sent.await.unwrap().ok(), b"");
}

#[tokio::test]
async fn a_file_is_handed_out_to_a_sender_without_input() {
    let relay = Relay::start().await;
    let data = noise(3_000_000);
    let mut command = relay.command();
    let handing_out = tokio::spawn({
        let data = data.clone();
        async move { run(command.args(["listen", "download", "--wait"]), data).await }
    });
    // Online when the first connect succeeds; before that it is refused with 4.
    let received = loop {
        let output = run(relay.command().args(["connect", "download"]), "").await;
        if output.code != Some(4) {
            break output;
        }
    };
    assert_eq!(sha256(&received.ok()), sha256(&data));
    handing_out.await.unwrap().ok();
}

#[tokio::test]
async fn a_second_sender_finds_nobody() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["hello"]).await;
    let mut first = relay.connect(["hello"]);
    first.write("x").await;
    assert_eq!(listener.read(1).await, b"x");
    // Offline in a moment; until then a sender is rejected as the listener closes.
    loop {
        let second = run(relay.command().args(["connect", "hello"]), "").await;
        match second.code {
            Some(4) => break assert!(second.stderr.contains("no listener is online for 'hello'"), "{}", second.stderr),
            code => assert_eq!(code, Some(1), "{}", second.stderr),
        }
    }
    first.close_stdin();
    listener.close_stdin();
    first.output().await.ok();
    listener.output().await.ok();
}

#[tokio::test]
async fn with_keep_one_sender_follows_the_other() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["log", "--keep"]).await;
    listener.close_stdin();
    for text in ["first\n", "second\n"] {
        run(relay.command().args(["connect", "log"]), text).await.ok();
    }
    assert_eq!((listener.line().await, listener.line().await), ("first\n".into(), "second\n".into()));
}

#[tokio::test]
async fn an_echo_keeps_the_kind_of_messages() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let output = run(relay.command().args(["connect", "hello", "--text"]), "one\ntwo\n").await;
    assert_eq!(output.ok(), b"one\ntwo\n");
}

#[tokio::test]
async fn the_entity_path_is_the_default_and_the_argument_wins() {
    let relay = Relay::start().await;
    let connection_string = format!("{};EntityPath=own", relay.connection_string());
    for (arguments, entity) in [(&["listen", "--echo"][..], "own"), (&["listen", "other", "--echo"], "other")] {
        let mut command = relay.command();
        command.env("HYBRIDRELAY_CONNECTION_STRING", &connection_string).args(arguments);
        let mut listener = Process::start(&mut command);
        listener.says(&format!("listening as '{entity}' at {}", relay.authority())).await;
    }
}

#[tokio::test]
async fn a_program_can_follow_the_listener_by_json() {
    let relay = Relay::start().await;
    let mut command = relay.command();
    let mut listener = Process::start(command.args(["--json", "listen", "hello", "--echo"]));
    listener.says(r#"{"event":"online","entity":"hello","relay":"#).await;
    run(relay.command().args(["connect", "hello/7?secret"]), "x").await.ok();
    listener.says(r#"{"event":"connected","path":"/7","remote":"127.0.0.1:"#).await;
    listener.says(r#"{"event":"disconnected","reason":null,"#).await;
    relay.stop().await;
    listener.says(r#"{"event":"offline","entity":"hello","reason":"#).await;
    listener.signal(Signal::SIGTERM);
    let output = listener.output().await;
    assert_eq!(output.code, Some(0));
    for line in output.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not JSON: {line}");
    }
}

#[tokio::test]
async fn a_waiting_listener_comes_online_when_the_relay_does() {
    let relay = Relay::start().await;
    let (port, connection_string) = (relay.authority().to_owned(), relay.connection_string().to_owned());
    let home = relay.stop().await;
    let state = home.path().join("state");
    let mut listener = Process::start(
        crate::harness::command(home.path())
            .args(["listen", "early", "--echo", "--wait", "--extra-ca"])
            .arg(state.join("ca.pem"))
            .env("HYBRIDRELAY_CONNECTION_STRING", connection_string),
    );
    listener.says("waiting for the relay: cannot connect to localhost:").await;
    let url = format!("https://127.0.0.1:{}", port.rsplit_once(':').unwrap().1);
    let _relay = Relay::start_in(home, ["--listen", &url]).await;
    listener.says("listening as 'early'").await;
}
