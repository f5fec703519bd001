//! `streams`: all cases at all contenders, in interleaved rounds.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::case::{CASES, Case, Volume};
use crate::certificate::Certificate;
use crate::contender::{Contender, Running, Transport};
use crate::report::{Results, goals_table};
use crate::{goals, machine};

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Do a quarter of the work in each measurement, for a first impression
    #[arg(long)]
    quick: bool,
    /// Measure only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Measure only over this transport
    #[arg(long)]
    transport: Option<Transport>,
    /// Measure only these contenders
    #[arg(long, value_delimiter = ',', default_value = "ours,tungstenite,haproxy,haproxy-tuned,bare")]
    contenders: Vec<Contender>,
}

/// Measures and prints; `false` if a goal was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    raise_descriptor_limit()?;
    let certificate = Certificate::create()?;
    let mut results = Results::default();
    let transports = [Transport::Plain, Transport::Tls];
    for transport in transports.into_iter().filter(|it| options.transport.is_none_or(|only| only == *it)) {
        measure(options, transport, &certificate, &mut results)?;
    }
    let verdicts = goals::judge(&results);
    let met = verdicts.iter().all(|verdict| verdict.is_met());
    println!("Machine: {}", machine::machine());
    println!("Commit: {}", machine::commit());
    println!("Rounds: {}, in {} s\n", options.rounds, began.elapsed().as_secs());
    println!("{}\n{}", results.table(), goals_table(&verdicts));
    println!("{}", if met { "Every goal that was measured is met." } else { "A goal was MISSED." });
    Ok(met)
}

fn measure(options: &Options, transport: Transport, certificate: &Certificate, results: &mut Results) -> Result<()> {
    let volume = if options.quick { Volume::QUICK } else { Volume::FULL };
    let wanted = |case: &Case| options.case.as_ref().is_none_or(|text| case.to_string().contains(text.as_str()));
    let (once, repeated): (Vec<_>, Vec<_>) = CASES.into_iter().filter(wanted).partition(|case| case.is_measured_once());

    let mut running = BTreeMap::new();
    for &contender in &options.contenders {
        running.insert(contender, contender.start(transport, certificate)?);
    }
    for &case in &repeated {
        for (&contender, running) in running.iter_mut().filter(|(contender, _)| case.suits(**contender)) {
            case.check(running).with_context(|| failed(case, transport, contender))?;
        }
    }
    for round in 0..options.rounds {
        for &case in &repeated {
            // Who goes first changes from round to round.
            let mut order: Vec<_> = running.keys().copied().filter(|contender| case.suits(*contender)).collect();
            let turned = round as usize % order.len().max(1);
            order.rotate_left(turned);
            for contender in order {
                let Some(running) = running.get_mut(&contender) else { continue };
                let value = case.measure(running, &volume).with_context(|| failed(case, transport, contender))?;
                progress(&format!("round {:>2}", round + 1), case, transport, contender, value);
                results.add(transport, case, contender, value);
            }
        }
    }
    drop(running);
    for case in once {
        for &contender in options.contenders.iter().filter(|contender| case.suits(**contender)) {
            let mut running: Running = contender.start(transport, certificate)?;
            let value = case.measure(&mut running, &volume).with_context(|| failed(case, transport, contender))?;
            progress("once", case, transport, contender, value);
            results.add(transport, case, contender, value);
        }
    }
    Ok(())
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
