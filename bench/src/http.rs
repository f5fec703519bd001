//! `http`: relayed requests beside the same requests through a reverse proxy, in interleaved rounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::certificate::Certificate;
use crate::contender::Transport;
use crate::network;
use crate::report::Report;

mod case;
mod contender;
mod goals;
mod load;
mod report;
mod session;

use case::{CASES, Case, Quantity, Volume};
use contender::{Contender, Running};
pub(crate) use contender::{Entrance, token};
pub(crate) use load::Load;
use report::Results;
use session::Session;

/// The bytes of a short answer, and of a long body.
pub(crate) const SMALL: usize = 1024;
pub(crate) const LARGE: u64 = 64 << 20;

/// In how many pieces the work of a round is done, if there is as much of it.
const SLICES: usize = 8;

#[derive(Args)]
pub(crate) struct Options {
    /// How often everything is measured: 6 times, 2 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Do a quarter of the work in each measurement, for a first impression in half a minute
    #[arg(long)]
    quick: bool,
    /// Also put the report into this Markdown file, between its lines `<!-- bench http: begin -->` and `<!-- bench http: end -->`
    #[arg(long, visible_alias = "markdown", value_name = "FILE")]
    into: Option<PathBuf>,
    /// Measure only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Measure only over this transport
    #[arg(long)]
    transport: Option<Transport>,
    /// Measure only these contenders
    #[arg(long, value_delimiter = ',', default_value = "listener,forward,haproxy,server")]
    contenders: Vec<Contender>,
}

impl Options {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 6 })
    }
}

/// Measures and prints; `false` if a goal was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let network = network::enter()?;
    let certificate = Certificate::create()?;
    // One thread: what is measured has the rest of the machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut results = Results::default();
    let transports = [Transport::Plain, Transport::Tls];
    for transport in transports.into_iter().filter(|it| options.transport.is_none_or(|only| only == *it)) {
        let mut running = BTreeMap::new();
        for &contender in &options.contenders {
            running.insert(contender, contender.start(transport, &certificate)?);
        }
        runtime.block_on(measure(options, transport, &running, &mut results))?;
    }
    let verdicts = goals::judge(&results);
    let met = verdicts.iter().all(|verdict| verdict.is_met());
    let report = Report {
        network,
        rounds: options.rounds(),
        took: began.elapsed(),
        tables: results.tables(),
        goals: goals::table(&verdicts),
        met,
    };
    report.publish("bench http", options.into.as_deref())?;
    Ok(met)
}

async fn measure(
    options: &Options,
    transport: Transport,
    running: &BTreeMap<Contender, Running>,
    results: &mut Results,
) -> Result<()> {
    let volume = if options.quick { Volume::QUICK } else { Volume::FULL };
    let wanted = |case: &Case| options.case.as_ref().is_none_or(|text| case.to_string().contains(text.as_str()));
    let cases: Vec<_> = CASES.into_iter().filter(wanted).collect();
    for round in 1..=options.rounds() {
        for &case in &cases {
            let measured = one_round(case, running, &volume).await.with_context(|| format!("{case}, {transport}"))?;
            for (contender, quantity, value) in measured {
                if let Quantity::Rate | Quantity::Throughput | Quantity::Cpu = quantity {
                    let (case, unit) = (case.to_string(), case.unit(quantity));
                    eprintln!("round {round:>2}  {transport:<5}  {case:<28}  {contender:<28}  {value:>9.1} {unit}");
                }
                results.add(transport, case, quantity, contender, value);
            }
        }
    }
    Ok(())
}

/// Does a case's work once at every contender, slice by slice in turn.
async fn one_round(
    case: Case,
    running: &BTreeMap<Contender, Running>,
    volume: &Volume,
) -> Result<Vec<(Contender, Quantity, f64)>> {
    let amount = volume.of(case);
    let slices = SLICES.min(amount);
    let mut sessions = Vec::new();
    for (&contender, running) in running {
        let session = Session::begin(case, running, amount.div_ceil(slices)).await;
        sessions.push((contender, running, session.with_context(|| contender.to_string())?));
    }
    for _ in 0..slices {
        for (contender, running, session) in &mut sessions {
            session.slice(running).await.with_context(|| contender.to_string())?;
        }
        // Who goes first changes from slice to slice.
        sessions.rotate_left(1);
    }
    sessions.sort_by_key(|(contender, ..)| *contender);
    let mut measured = Vec::new();
    for (contender, _, mut session) in sessions {
        for &quantity in case.quantities() {
            measured.extend(session.measured(quantity).map(|value| (contender, quantity, value)));
        }
    }
    Ok(measured)
}
