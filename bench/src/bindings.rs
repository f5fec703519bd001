//! `bindings`: clients and servers in other languages, ours and others, each in a process of its own, in interleaved rounds.
//!
//! All clients talk to the same server ([`endpoint`](crate::serve)), which costs so little that the client is what takes the time. So
//! the rates say what a client can do, and its CPU time what it costs. What they are asked to do stands in `clients/client.h`. Servers
//! are asked by this process, ours through a relay of its own, whose CPU time is not counted and whose way is part of the rate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::certificate::Certificate;
use crate::contender::{Process, Transport};
use crate::network;
use crate::report::{Report, Spread};

mod case;
mod client;
mod running;

use case::{CASES, Case};
use client::{Client, Language};
use running::Running;

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
    /// Measure only the libraries of this language
    #[arg(long)]
    language: Option<Language>,
    /// Measure only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Measure only over this transport
    #[arg(long, default_value = "tls")]
    transport: Transport,
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
    let languages = Language::value_variants().iter().filter(|&&it| options.language.is_none_or(|only| only == it));
    for language in languages.clone() {
        for case in CASES {
            if options.case.as_ref().is_some_and(|text| !case.to_string().contains(text)) {
                continue;
            }
            let taking_part = language.clients().iter().filter(|client| client.takes_part(case));
            let mut running = taking_part
                .map(|&client| Running::start(client, case, announced.address, certificate.as_ref()))
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
                        "round {round:>2}  {case:<30} {client:<19} {rate:>11.0} {per_second:<13} {cost:>8.2} {each}"
                    );
                    let numbers = results.entry((case, client)).or_default();
                    numbers.rate.push(rate);
                    numbers.cost.push(cost);
                }
            }
        }
    }
    let (goals, met) = goals(&results);
    let tables = languages.map(|&language| table(&results, language)).collect::<Vec<_>>().join("\n");
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

/// Two rows for each case: the rate and the CPU time. Behind a slash stands what ours has of it.
fn table(results: &Results, language: Language) -> String {
    let clients = language.clients();
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

/// A row for each goal, and whether all are met: a higher rate than the others, and less CPU time, by the factor that is wanted.
fn goals(results: &Results) -> (String, bool) {
    let mut table = String::from("| case | goal | measured | verdict |\n|---|---|---|---|\n");
    let mut met = true;
    for language in Language::value_variants() {
        let clients = language.clients();
        for case in CASES {
            for &other in &clients[1..] {
                let Some(wanted) = language.wanted(case, other) else { continue };
                let rate = ratio(results, case, clients[0], other, |numbers| &numbers.rate);
                let cost = ratio(results, case, clients[0], other, |numbers| &numbers.cost);
                let (Some(rate), Some(cost)) = (rate, cost) else { continue };
                let (per_second, each) = case.units();
                for (unit, sign, limit, ratio, is_met) in [
                    (per_second, '>', wanted, rate, rate.median > wanted),
                    (each, '<', 1.0 / wanted, cost, cost.median < 1.0 / wanted),
                ] {
                    met &= is_met;
                    let verdict = if is_met { "pass" } else { "FAIL" };
                    table += &format!("| {case}, {unit} | {sign} {limit:.2} × {other} | {ratio} | {verdict} |\n");
                }
            }
        }
    }
    (table, met)
}
