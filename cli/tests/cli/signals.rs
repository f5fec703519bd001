//! SIGINT and SIGTERM: ends in good order, and at once.

use nix::sys::signal::Signal;

use crate::harness::{Relay, run};

#[tokio::test]
async fn an_idle_relay_ends_at_the_first_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let relay = Relay::start().await;
        relay.process.signal(signal);
        let output = relay.process.output().await;
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn a_relay_lets_open_connections_end_and_takes_no_new_ones() {
    let mut relay = Relay::start_with(["--listen", "https://127.0.0.1:0", "--drain", "10m"]).await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let mut connect = relay.connect(["hello"]);
    connect.write("before").await;
    assert_eq!(connect.read(6).await, b"before");

    relay.process.signal(Signal::SIGTERM);
    relay.process.says("waiting for 1 connection to end").await;
    let refused = run(relay.command().args(["connect", "hello"]), "").await;
    assert!(matches!(refused.code, Some(1 | 6)), "{refused:?}");
    connect.write("after").await;
    assert_eq!(connect.read(5).await, b"after");
    connect.close_stdin();
    assert_eq!(connect.output().await.ok(), b"");
    assert_eq!(relay.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_relay_at_once() {
    let mut relay = Relay::start_with(["--listen", "https://127.0.0.1:0", "--drain", "10m"]).await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let mut connect = relay.connect(["hello"]);
    connect.write("x").await;
    assert_eq!(connect.read(1).await, b"x");
    relay.process.signal(Signal::SIGINT);
    relay.process.says("waiting for 1 connection to end").await;
    relay.process.signal(Signal::SIGTERM);
    assert_eq!(relay.process.exit().await.code(), Some(143));
    assert_eq!(connect.output().await.code, Some(1));
}

#[tokio::test]
async fn a_listener_tells_the_relay_that_it_goes() {
    let relay = Relay::start().await;
    let mut listener = relay.listen(["hello", "--echo"]).await;
    listener.signal(Signal::SIGTERM);
    assert_eq!(listener.exit().await.code(), Some(0));
    let output = run(relay.command().args(["connect", "hello"]), "").await;
    assert!(output.stderr.starts_with("error: no listener is online"), "{}", output.stderr);
}
