//! What must not be written anywhere: keys, signatures, tickets, queries.

use nix::sys::signal::Signal;

use crate::harness::{Process, Relay};

#[tokio::test]
async fn logs_hold_no_secret_at_any_level() {
    for (option, log) in [("-vv", ""), ("-vvv", ""), ("--json", "trace")] {
        let home = tempfile::tempdir().unwrap();
        let relay = Relay::start_logging(home, log, ["--listen", "https://127.0.0.1:0", option]).await;
        let verbose = |relay: &Relay, arguments: &[&str]| {
            let mut command = relay.command();
            command.env("HYBRIDRELAY_LOG", log).args(arguments).arg(option);
            Process::start(&mut command)
        };
        let mut listener = verbose(&relay, &["listen", "hello", "--echo"]);
        listener.says("hello").await;
        let ask = ["connect", "hello/7?password=hunter2", "--header", "Authorization: Basic aHVudGVyMg"];
        let mut connect = loop {
            // Until the listener is online.
            let mut connect = verbose(&relay, &ask);
            connect.write("x").await;
            connect.close_stdin();
            if connect.rest().await == b"x" {
                break connect;
            }
        };
        assert_eq!(connect.exit().await.code(), Some(0));
        listener.signal(Signal::SIGTERM);
        relay.process.signal(Signal::SIGTERM);
        let key = relay.text("key").to_owned();
        for (who, process) in [("relay", relay.process), ("listener", listener), ("sender", connect)] {
            let output = process.output().await;
            assert!(!output.stderr.is_empty(), "{who} logs something at {option}");
            for secret in [key.as_str(), "sig=", "sb-hc-ticket", "sb-hc-token", "hunter2", "aHVudGVyMg"] {
                let line = output.stderr.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{who} at {option} writes {secret}");
            }
        }
    }
}
