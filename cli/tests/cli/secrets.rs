//! What must not be written anywhere: keys, signatures, tickets, queries.

use nix::sys::signal::Signal;

use crate::expose::Raw;
use crate::harness::{Process, Relay, run};

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

#[tokio::test]
async fn nor_do_those_of_requests_hold_one() {
    for option in ["-vvv", "--json"] {
        let relay = Relay::start_with(["--listen", "https://127.0.0.1:0", option]).await;
        let server = Raw::start().await;
        let mut command = relay.command();
        command.env("HYBRIDRELAY_LOG", "trace").args(["expose", "web", &server.url(), option]);
        let mut exposed = Process::start(&mut command);
        exposed.says("curl").await;
        let mut ask =
            relay.request(&["web/7?password=hunter2", "-H", "Authorization: Basic aHVudGVyMg", "-d", "hunter2"]);
        let asked = run(ask.env("HYBRIDRELAY_LOG", "trace").arg(option), "").await;
        assert_eq!(asked.code, Some(0), "{}", asked.stderr);
        exposed.says("/7").await;
        exposed.signal(Signal::SIGTERM);
        relay.process.signal(Signal::SIGTERM);
        let key = relay.text("key").to_owned();
        let said = [relay.process.output().await.stderr, exposed.output().await.stderr, asked.stderr];
        for said in said {
            for secret in [key.as_str(), "sig=", "sb-hc-ticket", "sb-hc-token", "hunter2", "aHVudGVyMg"] {
                let line = said.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret} is written at {option}");
            }
        }
    }
}
