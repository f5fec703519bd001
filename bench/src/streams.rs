//! `streams`: all cases at all contenders, in interleaved rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::case::{CASES, Case, Volume};
use crate::certificate::Certificate;
use crate::contender::{Contender, Running, Stage, Transport};
use crate::report::{Report, Results, goals_table};
use crate::session::{self, SLICES, Session};
use crate::{goals, idle, network};

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured: 8 times, 2 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Do a quarter of the work in each measurement, for a first impression in a minute or two
    #[arg(long)]
    quick: bool,
    /// Also put the report into this Markdown file, between its lines `<!-- bench: begin -->` and `<!-- bench: end -->`
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Measure only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Measure only over this transport
    #[arg(long)]
    transport: Option<Transport>,
    /// Measure only these contenders
    #[arg(long, value_delimiter = ',', default_value = "ours,tungstenite,haproxy,haproxy-tuned,bare")]
    contenders: Vec<Contender>,
    /// Measure the relay in another build of this program as well, to see what a change brings
    #[arg(long, value_name = "PROGRAM")]
    baseline: Option<PathBuf>,
}

impl Options {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 8 })
    }
}

/// Measures and prints; `false` if a goal was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let network = network::enter()?;
    raise_descriptor_limit()?;
    let certificate = Certificate::create()?;
    let mut results = Results::default();
    let transports = [Transport::Plain, Transport::Tls];
    for transport in transports.into_iter().filter(|it| options.transport.is_none_or(|only| only == *it)) {
        let stage = Stage { transport, certificate: &certificate, baseline: options.baseline.as_deref() };
        measure(options, &stage, &mut results)?;
    }
    let verdicts = goals::judge(&results);
    let met = verdicts.iter().all(|verdict| verdict.is_met());
    let report = Report {
        network,
        rounds: options.rounds(),
        took: began.elapsed(),
        tables: results.tables(),
        goals: goals_table(&verdicts),
        met,
    };
    report.publish("bench", options.into.as_deref())?;
    Ok(met)
}

fn measure(options: &Options, stage: &Stage<'_>, results: &mut Results) -> Result<()> {
    let transport = stage.transport;
    let volume = if options.quick { Volume::QUICK } else { Volume::FULL };
    let wanted = |case: &Case| options.case.as_ref().is_none_or(|text| case.to_string().contains(text.as_str()));
    let (once, repeated): (Vec<_>, Vec<_>) = CASES.into_iter().filter(wanted).partition(|case| case.is_measured_once());

    let contenders = options.contenders.iter().copied();
    let contenders: Vec<_> = contenders.chain(options.baseline.is_some().then_some(Contender::Baseline)).collect();
    let mut running = BTreeMap::new();
    for &contender in contenders.iter().filter(|_| !repeated.is_empty()) {
        running.insert(contender, contender.start(stage)?);
    }
    for &case in &repeated {
        for (&contender, running) in running.iter_mut().filter(|(contender, _)| case.suits(**contender)) {
            session::check(case, running).with_context(|| failed(case, transport, contender))?;
        }
    }
    for round in 1..=options.rounds() {
        for &case in &repeated {
            for (contender, cost) in
                one_round(case, &mut running, &volume).with_context(|| format!("{case}, {transport}"))?
            {
                progress(&format!("round {round:>2}"), case, transport, contender, cost);
                results.add(transport, case, contender, cost);
            }
        }
    }
    drop(running);
    for case in once {
        for &contender in contenders.iter().filter(|contender| case.suits(**contender)) {
            let mut running = contender.start(stage)?;
            let cost =
                idle::measure(&mut running, volume.idle_pairs).with_context(|| failed(case, transport, contender))?;
            progress("once", case, transport, contender, cost);
            results.add(transport, case, contender, cost);
        }
    }
    Ok(())
}

/// Does a case's work once at every contender, slice by slice in turn, and returns what it cost each.
fn one_round(case: Case, running: &mut BTreeMap<Contender, Running>, volume: &Volume) -> Result<Vec<(Contender, f64)>> {
    let mut sessions = Vec::new();
    for (&contender, running) in running.iter_mut().filter(|(contender, _)| case.suits(**contender)) {
        let session = Session::begin(case, running, volume).with_context(|| contender.to_string())?;
        sessions.push((contender, running, session));
    }
    for _ in 0..SLICES {
        for (contender, running, session) in &mut sessions {
            session.slice(running).with_context(|| contender.to_string())?;
        }
        // Who goes first changes from slice to slice.
        sessions.rotate_left(1);
    }
    sessions.sort_by_key(|(contender, ..)| *contender);
    Ok(sessions.into_iter().map(|(contender, _, session)| (contender, session.cost())).collect())
}

fn progress(when: &str, case: Case, transport: Transport, contender: Contender, value: f64) {
    let (name, unit) = (case.to_string(), case.unit());
    eprintln!("{when:<8}  {transport:<5}  {name:<30}  {contender:<22}  {value:>9.1} {unit}");
}

fn failed(case: Case, transport: Transport, contender: Contender) -> String {
    format!("{case}, {transport}, at {contender}")
}

/// Thousands of pairs need more descriptors than a login allows. Children inherit the limit.
fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
