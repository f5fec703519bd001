//! `cargo xtask autobahn`: the Autobahn test suite, which knows every corner of RFC 6455, against both of our WebSocket ends.
//!
//! As *sender* the suite comes through our relay to a listener of ours; as *server* it takes a sender of ours. What each case
//! may come out as is a rule here; how each came out is in `tests/autobahn/cases.toml`.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use xshell::{Shell, cmd};

mod suite;
mod verdict;

use suite::Suite;
use verdict::{Results, Role};

/// What does not concern us: compression, which is never negotiated.
const EXCLUDED: [&str; 2] = ["12.*", "13.*"];

/// How often a server that is starting is knocked at, and how long it is waited for between two knocks.
const KNOCKS: usize = 600;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    /// Run these cases only, such as '6.*'. They are judged by the rules, and the list is left alone. May be given several times
    #[arg(long, value_name = "PATTERN")]
    case: Vec<String>,
    /// Write the list of results anew if all of them are as the rules say.
    #[arg(long, conflicts_with = "case")]
    update: bool,
}

pub(crate) fn run(sh: &Shell, options: &Options) -> Result<()> {
    let suite = Suite::prepare(sh)?;
    cmd!(sh, "cargo build --locked --package hybridrelay-tests --bin autobahn_peer").run()?;
    let peer = target(sh).join("debug/autobahn_peer");
    let cases = if options.case.is_empty() { vec!["*".to_owned()] } else { options.case.clone() };

    let mut results = Results::default();
    results.add(Role::Sender, &as_sender(&suite, &peer, &cases)?)?;
    results.add(Role::Server, &as_server(&suite, &peer, &cases)?)?;
    println!("{}", results.summary());

    let broken = results.broken_rules();
    ensure!(broken.is_empty(), "not as the rules say:\n{}", broken.join("\n"));
    if !options.case.is_empty() {
        return Ok(());
    }
    let list = sh.current_dir().join("tests/autobahn/cases.toml");
    if options.update {
        sh.write_file(&list, results.to_toml())?;
        return Ok(());
    }
    let differences = results.differences(&Results::from_toml(&sh.read_file(&list)?)?);
    if !differences.is_empty() {
        bail!("not as in {}; if it is better: --update\n{}", list.display(), differences.join("\n"));
    }
    Ok(())
}

/// The suite sends, through our relay, to our listener.
fn as_sender(suite: &Suite, peer: &PathBuf, cases: &[String]) -> Result<String> {
    let mut listener = Running::start(Command::new(peer).arg("listener").stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let mut port = String::new();
    let stdout = listener.0.stdout.take().context("it is piped")?;
    BufReader::new(stdout).read_line(&mut port)?;
    let port: u16 = port.trim().parse().context("the listener did not get online")?;
    let spec = json!({
        "outdir": Suite::REPORTS,
        "servers": [{
            "agent": "hybridrelay",
            "url": format!("ws://127.0.0.1:{port}/$hc/echo?sb-hc-action=connect"),
        }],
        "cases": cases,
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    });
    let mode = "fuzzingclient";
    eprintln!("the suite is the sender; what it says goes to {}", suite.log(mode).display());
    let mut client = Running::start(&mut suite.command(mode, &spec)?)?;
    let status = client.0.wait()?;
    ensure!(status.success(), "the suite failed as a sender: {status}");
    suite.report()
}

/// The suite is the server; our sender comes.
fn as_server(suite: &Suite, peer: &PathBuf, cases: &[String]) -> Result<String> {
    // Free now, and it is not the custom to hand the next free one out twice in a row.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let spec = json!({
        "outdir": Suite::REPORTS,
        "url": format!("ws://127.0.0.1:{port}"),
        "cases": cases,
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    });
    let mode = "fuzzingserver";
    eprintln!("the suite is the server; what it says goes to {}", suite.log(mode).display());
    let mut server = Running::start(&mut suite.command(mode, &spec)?)?;
    let mut knocks = 0;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = server.0.try_wait()? {
            bail!("the suite failed as a server: {status}");
        }
        knocks += 1;
        ensure!(knocks < KNOCKS, "the suite's server does not start");
        std::thread::sleep(PAUSE);
    }
    let mut sender = Running::start(Command::new(peer).args(["sender", &port.to_string()]))?;
    let status = sender.0.wait()?;
    ensure!(status.success(), "our sender did not get through the cases: {status}");
    suite.report()
}

/// Where cargo builds.
fn target(sh: &Shell) -> PathBuf {
    sh.var_os("CARGO_TARGET_DIR").map_or_else(|| sh.current_dir().join("target"), PathBuf::from)
}

/// A child that ends with us.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        Ok(Self(command.spawn().with_context(|| format!("{} cannot be started", program.display()))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is left alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
