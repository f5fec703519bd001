//! `cargo xtask soak`: faults for as long as one likes, and how they were mended.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use anyhow::{Context, Result};
use hybridrelay_tests::faults::report::Report;
use hybridrelay_tests::faults::site::Programs;
use hybridrelay_tests::faults::{holes, random, simulated, stalled, stopped};

/// Of so many faults one is real.
const REAL: usize = 5;

/// So many scenes are played at once.
const SCENES: usize = 4;

/// So many faults are played in one simulation.
const SIMULATED_AT_ONCE: usize = 50;

/// Seconds for which real holes swallow everything.
const HOLES: [u64; 9] = [1, 5, 15, 31, 36, 45, 60, 90, 120];

/// Pairs of each of two kinds that stall, and what each is sent.
const PAIRS: usize = 10;
const SIZE: usize = 1 << 30;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &'static str| -> Result<u64> {
        arguments.next().with_context(|| format!("{what}?"))?.parse().with_context(|| format!("{what} is a number"))
    };
    let (seed, faults) = (number("the seed")?, number("how many faults")?);
    let faults = usize::try_from(faults)?;
    let folder = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    let programs = Programs { relay: folder.join("fault-relay"), peer: folder.join("fault-peer") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let mut report = Report::default();
    let real = faults.div_ceil(REAL);
    let mut simulated = faults - real;
    let mut simulations = seed..;
    while simulated > 0 {
        let count = simulated.min(SIMULATED_AT_ONCE);
        report.add(simulated::play(simulations.next().context("seeds have no end")?, count));
        simulated -= count;
    }
    runtime.block_on(async {
        report.add(random::play_at_once(&programs, seed, real, SCENES).await);
        println!("black holes of {HOLES:?} s, a relay and a listener that are stopped");
        let (holes, relay, listener) =
            tokio::join!(holes::play(&programs, &HOLES), stopped::relay(&programs), stopped::listener(&programs, None));
        [holes, relay, listener].into_iter().for_each(|part| report.add(part));
        println!("{PAIRS} pairs without TLS and {PAIRS} with it, each with {SIZE} bytes for a reader that stalls");
        report.add(stalled::play(&programs, PAIRS, SIZE).await);
    });
    println!("\n{report}");
    Ok(())
}
