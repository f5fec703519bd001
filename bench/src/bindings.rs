//! `bindings`: clients of other languages, ours and others, each in a process of its own, in interleaved rounds.
//!
//! All of them talk to the same server ([`endpoint`](crate::serve)), which costs so little that the client is what takes the time. So
//! the rates say what a client can do, and its CPU time what it costs. What they are asked to do stands in `clients/client.h`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::certificate::Certificate;
use crate::contender::{Process, Transport};
use crate::network;
use crate::report::{Report, Spread};

/// Where the clients in C are built.
const BUILT: &str = "target/bench/clients";

/// In how many pieces the work of a round is done.
const SLICES: u64 = 4;

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured: 6 times, 2 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Do a quarter of the work in each measurement, for a first impression
    #[arg(long)]
    quick: bool,
    /// Also put the report into this Markdown file, between its lines `<!-- bench bindings: begin -->` and `<!-- bench bindings: end -->`
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Measure only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Measure only over this transport
    #[arg(long, default_value = "tls")]
    transport: Transport,
}

/// What a client is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Send(u64),
    Receive(u64),
    Echo(u64),
    Connect,
    Request(u64),
}

const CASES: [Case; 7] = [
    Case::Send(64 * 1024),
    Case::Receive(64 * 1024),
    Case::Send(64),
    Case::Receive(64),
    Case::Echo(64),
    Case::Connect,
    Case::Request(crate::http::SMALL as u64),
];

impl Case {
    /// The name and the size that the client is started with.
    fn arguments(self) -> (&'static str, u64) {
        match self {
            Self::Send(size) => ("send", size),
            Self::Receive(size) => ("receive", size),
            Self::Echo(size) => ("echo", size),
            Self::Connect => ("connect", 0),
            Self::Request(size) => ("request", size),
        }
    }

    /// How many units are a round's work.
    fn count(self) -> u64 {
        match self {
            Self::Send(64) | Self::Receive(64) => 400_000,
            Self::Send(_) | Self::Receive(_) => 16_000,
            Self::Echo(_) | Self::Request(_) => 8_000,
            Self::Connect => 400,
        }
    }

    /// The rate of so many units in such a time.
    fn rate(self, units: u64, time: Duration) -> f64 {
        let rate = units as f64 / time.as_secs_f64();
        if self.is_bulk() { rate * self.arguments().1 as f64 / 1e6 } else { rate }
    }

    /// The CPU time of so many units.
    fn cost(self, units: u64, cpu: Duration) -> f64 {
        let micros = cpu.as_secs_f64() * 1e6 / units as f64;
        // Microseconds for a megabyte are milliseconds for a gigabyte.
        if self.is_bulk() { micros * 1e6 / self.arguments().1 as f64 } else { micros }
    }

    fn is_bulk(self) -> bool {
        matches!(self, Self::Send(size) | Self::Receive(size) if size > 64)
    }

    fn units(self) -> (&'static str, &'static str) {
        match self {
            _ if self.is_bulk() => ("MB/s", "ms/GB"),
            Self::Send(_) | Self::Receive(_) | Self::Echo(_) => ("messages/s", "µs/message"),
            Self::Connect => ("connections/s", "µs/connection"),
            Self::Request(_) => ("requests/s", "µs/request"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Send(64) => "send 64 B messages",
            Self::Receive(64) => "receive 64 B messages",
            Self::Send(_) => "send 64 KiB messages",
            Self::Receive(_) => "receive 64 KiB messages",
            Self::Echo(_) => "64 B messages, there and back",
            Self::Connect => "connect and close",
            Self::Request(_) => "GET of 1 KiB",
        })
    }
}

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    C,
    Libwebsockets,
    Libcurl,
}

/// Clients that are compared, ours first.
const GROUPS: &[(&str, &[Client])] = &[("C", &[Client::C, Client::Libwebsockets, Client::Libcurl])];

impl Client {
    fn takes_part(self, case: Case) -> bool {
        match self {
            Self::C => true,
            Self::Libwebsockets => !matches!(case, Case::Request(_)),
            Self::Libcurl => matches!(case, Case::Request(_)),
        }
    }

    /// The source of a client in C, and what it is linked to.
    fn build(self) -> Result<PathBuf> {
        let (name, flags): (_, &[_]) = match self {
            Self::C => ("hybridrelay", &["-Iffi-c/include", "-Ltarget/release", "-lhybridrelay_c"]),
            Self::Libwebsockets => ("libwebsockets", &["-lwebsockets"]),
            Self::Libcurl => ("libcurl", &["-lcurl"]),
        };
        std::fs::create_dir_all(BUILT)?;
        let program = Path::new(BUILT).join(name);
        let source = Path::new("bench/clients").join(name).with_extension("c");
        let status = Command::new("cc")
            .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L", "-o"])
            .arg(&program)
            .arg(source)
            .args(flags)
            .status()
            .context("cc does not run")?;
        ensure!(status.success(), "{self} cannot be built: {status}");
        if self == Self::C {
            // The library's soname is that of its release.
            let named = Path::new(BUILT).join("libhybridrelay.so.0");
            if named.symlink_metadata().is_err() {
                std::os::unix::fs::symlink("../../release/libhybridrelay_c.so", named)?;
            }
        }
        Ok(program)
    }

    fn command(self) -> Result<Command> {
        let mut command = Command::new(self.build()?);
        command.env("LD_LIBRARY_PATH", BUILT);
        Ok(command)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::C => "hybridrelay, C",
            Self::Libwebsockets => "libwebsockets",
            Self::Libcurl => "libcurl",
        })
    }
}

/// One number for each round.
#[derive(Default)]
struct Numbers {
    rate: Vec<f64>,
    cost: Vec<f64>,
}

type Results = BTreeMap<(Case, Client), Numbers>;

/// Measures and prints; `false` if a goal was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let network = network::enter()?;
    let certificate = (options.transport == Transport::Tls).then(Certificate::create).transpose()?;
    let file = certificate.as_ref().map(Certificate::path);
    let (_endpoint, announced) = Process::serve(&std::env::current_exe()?, "endpoint", file)?;
    let rounds = options.rounds.unwrap_or(if options.quick { 2 } else { 6 });
    let mut results = Results::new();
    for (_, clients) in GROUPS {
        for case in CASES {
            if options.case.as_ref().is_some_and(|text| !case.to_string().contains(text)) {
                continue;
            }
            let taking_part = clients.iter().filter(|client| client.takes_part(case));
            let mut running = taking_part
                .map(|&client| Running::start(client, case, announced.address, file))
                .collect::<Result<Vec<_>>>()?;
            let units = (case.count() / if options.quick { 4 } else { 1 }).div_ceil(SLICES);
            // What does not count: caches are filled, buffers grow.
            for running in &mut running {
                running.work(units.div_ceil(4))?;
            }
            for round in 1..=rounds {
                for (client, time, cpu) in one_round(&mut running, units)? {
                    let (rate, cost) = (case.rate(units * SLICES, time), case.cost(units * SLICES, cpu));
                    let (per_second, each) = case.units();
                    eprintln!(
                        "round {round:>2}  {case:<30} {client:<16} {rate:>11.0} {per_second:<13} {cost:>8.2} {each}"
                    );
                    let numbers = results.entry((case, client)).or_default();
                    numbers.rate.push(rate);
                    numbers.cost.push(cost);
                }
            }
        }
    }
    let (goals, met) = goals(&results);
    let tables =
        GROUPS.iter().map(|(language, clients)| table(&results, language, clients)).collect::<Vec<_>>().join("\n");
    let report = Report { network, rounds, took: began.elapsed(), tables, goals, met };
    report.publish("bench bindings", options.into.as_deref())?;
    Ok(met)
}

/// Lets every client do its work, slice by slice in turn, and tells how long each took and what CPU time.
fn one_round(running: &mut [Running], units: u64) -> Result<Vec<(Client, Duration, Duration)>> {
    let mut spent = vec![(Duration::ZERO, Duration::ZERO); running.len()];
    for slice in 0..SLICES as usize {
        // Who goes first changes from slice to slice.
        for turn in 0..running.len() {
            let at = (slice + turn) % running.len();
            let (time, cpu) = running[at].work(units)?;
            spent[at].0 += time;
            spent[at].1 += cpu;
        }
    }
    Ok(running.iter().zip(spent).map(|(running, (time, cpu))| (running.client, time, cpu)).collect())
}

/// A client that runs.
struct Running {
    client: Client,
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(client: Client, case: Case, address: SocketAddr, certificate: Option<&Path>) -> Result<Self> {
        let (name, size) = case.arguments();
        let mut command = client.command()?;
        let port = address.port().to_string();
        let emulator = if certificate.is_some() { "" } else { ";UseDevelopmentEmulator=true" };
        let connection_string = format!(
            "Endpoint=sb://localhost:{port}/;SharedAccessKeyName=bench;SharedAccessKey=a key that nobody checks;EntityPath=bench{emulator}"
        );
        command.arg(name).arg(size.to_string());
        command.env("BENCH_CONNECTION_STRING", connection_string).env("BENCH_PORT", port);
        if let Some(file) = certificate {
            command.env("BENCH_CA", file);
        }
        let (process, input, output) = Process::conversing(command)?;
        let mut running = Self { client, process, input, output };
        running.expect("ready").with_context(|| format!("{client}, {case}"))?;
        Ok(running)
    }

    /// Lets it do so much, and tells how long it took and what CPU time.
    fn work(&mut self, units: u64) -> Result<(Duration, Duration)> {
        let (began, before) = (Instant::now(), self.process.cpu()?);
        self.input.write_all(format!("{units}\n").as_bytes())?;
        self.expect("done").with_context(|| self.client.to_string())?;
        Ok((began.elapsed(), self.process.cpu()? - before))
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.trim_end() != word { bail!("it said {line:?} instead of {word}") } else { Ok(()) }
    }
}

/// Two rows for each case: the rate and the CPU time. Behind a slash stands what ours has of it.
fn table(results: &Results, language: &str, clients: &[Client]) -> String {
    let mut table = format!("| {language} | unit |");
    for client in clients {
        table += &format!(" {client} |");
    }
    table += &format!("\n|---|---|{}\n", "---:|".repeat(clients.len()));
    for case in CASES {
        if !results.contains_key(&(case, clients[0])) {
            continue;
        }
        let (rate, cost) = case.units();
        for (unit, of) in [(rate, (|numbers| &numbers.rate) as Of), (cost, |numbers| &numbers.cost)] {
            table += &format!("| {case} | {unit} |");
            for &client in clients {
                table += &match Spread::of(results.get(&(case, client)).into_iter().flat_map(of).copied()) {
                    None => " |".to_owned(),
                    Some(spread) => {
                        let precision = if spread.median < 100.0 { 1 } else { 0 };
                        match ratio(results, case, clients[0], client, of) {
                            Some(ratio) if client != clients[0] => {
                                format!(" {:.precision$} / {:.2} |", spread.median, ratio.median)
                            }
                            _ => format!(" {spread:.precision$} |"),
                        }
                    }
                };
            }
            table += "\n";
        }
    }
    table
}

type Of = fn(&Numbers) -> &Vec<f64>;

/// Ours divided by the other's, formed inside each round.
fn ratio(results: &Results, case: Case, ours: Client, other: Client, of: Of) -> Option<Spread> {
    let (ours, other) = (results.get(&(case, ours))?, results.get(&(case, other))?);
    Spread::of(of(ours).iter().zip(of(other)).map(|(ours, other)| ours / other))
}

/// A row for each goal, and whether all are met: a higher rate than the others, and less CPU time.
fn goals(results: &Results) -> (String, bool) {
    let mut table = String::from("| case | goal | measured | verdict |\n|---|---|---|---|\n");
    let mut met = true;
    for (_, clients) in GROUPS {
        for case in CASES {
            for &other in &clients[1..] {
                let rate = ratio(results, case, clients[0], other, |numbers| &numbers.rate);
                let cost = ratio(results, case, clients[0], other, |numbers| &numbers.cost);
                let (Some(rate), Some(cost)) = (rate, cost) else { continue };
                let (per_second, each) = case.units();
                for (unit, sign, ratio, is_met) in
                    [(per_second, '>', rate, rate.median > 1.0), (each, '<', cost, cost.median < 1.0)]
                {
                    met &= is_met;
                    let verdict = if is_met { "pass" } else { "FAIL" };
                    table += &format!("| {case}, {unit} | {sign} 1.00 × {other} | {ratio} | {verdict} |\n");
                }
            }
        }
    }
    (table, met)
}
