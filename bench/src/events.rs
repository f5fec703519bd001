//! `events`: what one publisher says to many subscribers, beside NATS, in interleaved rounds.
//!
//! Both get the same payloads from the same raw sockets: a burst from the publisher, then every subscriber reads all of it, then the next
//! burst. So nobody is slow, nothing is dropped, and neither the publisher's nor the subscribers' cost is in the numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hybridrelay::ConnectionString;
use hybridrelay::ws::OpCode;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::contender::Process;
use crate::load::Leg;
use crate::load::block::masked;
use crate::load::entrance::{ask_for_upgrade, expect_upgrade, listen, token};
use crate::network;
use crate::report::{Report, Spread};
use crate::serve::EVENTS;

/// The bytes of an event.
const EVENT: usize = 1024;

/// How many events leave at once.
const BURST: usize = 64;

const SUBSCRIBERS: [usize; 4] = [1, 10, 100, 1_000];

/// In how many pieces the work of a round is done.
const SLICES: usize = 8;

/// What the relay may take of what NATS takes.
const GOAL: f64 = 2.0;

/// Where `cargo xtask bench` puts the server.
const NATS: &str = "target/bench/python/bin/nats-server";

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured: 6 times, 2 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Do a quarter of the work in each measurement, for a first impression
    #[arg(long)]
    quick: bool,
    /// Also put the report into this Markdown file, between its lines `<!-- bench events: begin -->` and `<!-- bench events: end -->`
    #[arg(long, visible_alias = "markdown", value_name = "FILE")]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    Ours,
    Nats,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "hybridrelay",
            Self::Nats => "NATS",
        })
    }
}

/// Nanoseconds of CPU time for each delivered event, one number for each round.
type Results = BTreeMap<(usize, Contender), Vec<f64>>;

/// Measures and prints; `false` if a goal was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let network = network::enter()?;
    let running = [Running::ours()?, Running::nats()?];
    let rounds = options.rounds.unwrap_or(if options.quick { 2 } else { 6 });
    let deliveries = if options.quick { 100_000 } else { 400_000 };
    let mut results = Results::new();
    for subscribers in SUBSCRIBERS {
        let mut crowds = Vec::new();
        for running in &running {
            let crowd = Crowd::gather(running, subscribers).with_context(|| running.contender.to_string())?;
            crowds.push((running, crowd));
        }
        for round in 1..=rounds {
            for (contender, cost) in one_round(&mut crowds, subscribers, deliveries)? {
                eprintln!("round {round:>2}  {subscribers:>5} subscribers  {contender:<12} {cost:>9.1} ns/delivery");
                results.entry((subscribers, contender)).or_default().push(cost);
            }
        }
    }
    let (goals, met) = goals(&results);
    let report = Report { network, rounds, took: began.elapsed(), tables: table(&results), goals, met };
    report.publish("bench events", options.into.as_deref())?;
    Ok(met)
}

/// Delivers so many events at every contender, slice by slice in turn, and tells what each took.
fn one_round(crowds: &mut [(&Running, Crowd)], subscribers: usize, deliveries: usize) -> Result<Vec<(Contender, f64)>> {
    let bursts = deliveries.div_ceil(subscribers * BURST * SLICES);
    let mut used = [Duration::ZERO; 2];
    for slice in 0..SLICES {
        // Who goes first changes from slice to slice.
        for turn in 0..crowds.len() {
            let at = (slice + turn) % crowds.len();
            let (running, crowd) = &mut crowds[at];
            let before = running.process.cpu()?;
            for _ in 0..bursts {
                crowd.burst().with_context(|| running.contender.to_string())?;
            }
            used[at] += running.process.cpu()? - before;
        }
    }
    let delivered = (subscribers * BURST * SLICES * bursts) as f64;
    let costs = crowds.iter().zip(used);
    Ok(costs.map(|((running, _), used)| (running.contender, used.as_secs_f64() * 1e9 / delivered)).collect())
}

/// A contender that runs.
struct Running {
    contender: Contender,
    process: Process,
    address: SocketAddr,
    connection_string: Option<String>,
    _folder: Option<tempfile::TempDir>,
}

impl Running {
    fn ours() -> Result<Self> {
        let (process, announced) = Process::serve(&std::env::current_exe()?, "ours", None)?;
        let (address, connection_string) = (announced.address, announced.connection_string);
        Ok(Self { contender: Contender::Ours, process, address, connection_string, _folder: None })
    }

    fn nats() -> Result<Self> {
        ensure!(Path::new(NATS).exists(), "{NATS} is not there: `cargo xtask bench` installs it");
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(NATS);
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"]).arg(folder.path());
        command.arg("--log").arg(folder.path().join("log"));
        let process = Process::spawn(command)?;
        let address = announced_by_nats(folder.path())?;
        Ok(Self { contender: Contender::Nats, process, address, connection_string: None, _folder: Some(folder) })
    }
}

/// Waits for the file in which the server tells its port.
fn announced_by_nats(folder: &Path) -> Result<SocketAddr> {
    for _ in 0..1_000 {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ports")
                && let Ok(ports) = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path)?)
                && let Some(url) = ports["nats"][0].as_str()
            {
                let address = url.trim_start_matches("nats://").parse();
                return address.with_context(|| format!("{url} is no address"));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("the NATS server did not tell its port")
}

/// A publisher and its subscribers.
struct Crowd {
    publisher: Leg,
    burst: Vec<u8>,
    subscribers: Vec<Subscriber>,
}

enum Subscriber {
    /// What a burst is here has a fixed length.
    Ours { leg: Leg, arriving: usize },
    /// The server may ask whether anybody is there.
    Nats(BufReader<TcpStream>),
}

impl Crowd {
    fn gather(running: &Running, count: usize) -> Result<Self> {
        match running.contender {
            Contender::Ours => Self::ours(running, count),
            Contender::Nats => Self::nats(running, count),
        }
    }

    fn ours(running: &Running, count: usize) -> Result<Self> {
        let connection_string = running.connection_string.as_ref().context("a relay tells how to reach it")?;
        let connection_string: ConnectionString = connection_string.parse()?;
        let (address, token) = (running.address, token(&connection_string, EVENTS));
        let listeners = (0..count).map(|_| listen(Leg::connect(address, None)?, address, EVENTS, &token));
        let listeners = listeners.collect::<Result<Vec<_>>>()?;
        let mut publisher = Leg::connect(address, None)?;
        let target = format!("/$hc/{EVENTS}?sb-hc-action=connect");
        ask_for_upgrade(&mut publisher, &target, &format!("ServiceBusAuthorization: {token}\r\n"))?;
        expect_upgrade(&mut publisher)?;
        // A short frame's header here, and one with two bytes of length there, without a key.
        let arriving = BURST * (4 + EVENT);
        let mut subscribers = Vec::new();
        for accepts in listeners {
            let target = accepts.recv_timeout(Duration::from_secs(30)).context("no accept came")?;
            let mut leg = Leg::connect(address, None)?;
            ask_for_upgrade(&mut leg, &target, "")?;
            expect_upgrade(&mut leg)?;
            subscribers.push(Subscriber::Ours { leg, arriving });
        }
        let burst = masked(OpCode::Binary, &[7; EVENT], [1, 2, 3, 4]).repeat(BURST);
        let mut crowd = Self { publisher, burst, subscribers };
        // What does not count: buffers grow.
        crowd.burst()?;
        Ok(crowd)
    }

    fn nats(running: &Running, count: usize) -> Result<Self> {
        let subject = format!("s{count}");
        let mut subscribers = Vec::new();
        for _ in 0..count {
            let mut socket = nats_client(running.address)?;
            socket.get_mut().write_all(format!("SUB {subject} 1\r\nPING\r\n").as_bytes())?;
            expect_pong(&mut socket)?;
            subscribers.push(Subscriber::Nats(socket));
        }
        let event = [format!("PUB {subject} {EVENT}\r\n").as_bytes(), &[7; EVENT], b"\r\n"].concat();
        // The server's questions to it are left unanswered, of which it takes several minutes.
        let mut publisher = Leg::connect(running.address, None)?;
        publisher.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
        let mut crowd = Self { publisher, burst: event.repeat(BURST), subscribers };
        crowd.burst()?;
        Ok(crowd)
    }

    /// Publishes a burst, and waits until every subscriber has all of it.
    fn burst(&mut self) -> Result<()> {
        self.publisher.write_all(&self.burst)?;
        self.subscribers.iter_mut().try_for_each(Subscriber::receive)
    }
}

impl Subscriber {
    fn receive(&mut self) -> Result<()> {
        match self {
            Self::Ours { leg, arriving } => {
                let mut buffer = [0; 64 * 1024];
                let mut expected = *arriving;
                while expected > 0 {
                    let room = expected.min(buffer.len());
                    match leg.read(&mut buffer[..room])? {
                        0 => bail!("the stream ended"),
                        len => expected -= len,
                    }
                }
            }
            Self::Nats(socket) => {
                let (mut line, mut payload) = (String::new(), [0; EVENT + 2]);
                let mut expected = BURST;
                while expected > 0 {
                    line.clear();
                    socket.read_line(&mut line)?;
                    if line.starts_with("MSG ") {
                        socket.read_exact(&mut payload)?;
                        expected -= 1;
                    } else if line.starts_with("PING") {
                        socket.get_mut().write_all(b"PONG\r\n")?;
                    } else {
                        bail!("the server said {line:?}");
                    }
                }
            }
        }
        Ok(())
    }
}

/// A client that has introduced itself.
fn nats_client(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut socket = BufReader::with_capacity(64 * 1024, socket);
    let mut info = String::new();
    socket.read_line(&mut info)?;
    ensure!(info.starts_with("INFO "), "the server began with {info:?}");
    socket.get_mut().write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
    Ok(socket)
}

fn expect_pong(socket: &mut BufReader<TcpStream>) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        socket.read_line(&mut line)?;
        match line.as_str() {
            "PONG\r\n" => return Ok(()),
            "PING\r\n" => socket.get_mut().write_all(b"PONG\r\n")?,
            other => bail!("the server said {other:?}"),
        }
    }
}

fn table(results: &Results) -> String {
    let mut table = String::from("| subscribers | unit | hybridrelay | NATS |\n|---:|---|---:|---:|\n");
    for subscribers in SUBSCRIBERS {
        let spread = |contender| Spread::of(results.get(&(subscribers, contender))?.iter().copied());
        if let (Some(ours), Some(nats), Some(ratio)) =
            (spread(Contender::Ours), spread(Contender::Nats), ratio(results, subscribers))
        {
            table += &format!("| {subscribers} | ns/delivery | {ours:.0} | {nats:.0} / {:.2} |\n", ratio.median);
        }
    }
    table
}

/// Ours divided by the other's, formed inside each round.
fn ratio(results: &Results, subscribers: usize) -> Option<Spread> {
    let numbers = |contender| results.get(&(subscribers, contender)).map(|numbers| numbers.iter());
    Spread::of(numbers(Contender::Ours)?.zip(numbers(Contender::Nats)?).map(|(ours, nats)| ours / nats))
}

/// A row for each goal, and whether all are met.
fn goals(results: &Results) -> (String, bool) {
    let mut table = String::from("| subscribers | goal | measured | verdict |\n|---:|---|---|---|\n");
    let mut met = true;
    for subscribers in SUBSCRIBERS {
        if let Some(ratio) = ratio(results, subscribers) {
            let is_met = ratio.median <= GOAL;
            met &= is_met;
            let verdict = if is_met { "pass" } else { "FAIL" };
            table += &format!("| {subscribers} | ≤ {GOAL:.2} × NATS | {ratio} | {verdict} |\n");
        }
    }
    (table, met)
}
