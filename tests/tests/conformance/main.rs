//! All languages against each other: `cargo test -p hybridrelay-tests --test conformance -- --scenario echo --language c`. See
//! `tests/conformance/README.md`.

// Real processes, sockets and time are the point here.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use hybridrelay_tests::conformance::{Builds, Launch, MEMBERS, Member, Outcome, Role, Scenario, Selection, Suite};

/// What is asked of this program.
enum Wish {
    Run(Selection),
    List,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn run() -> Result<bool> {
    let selection = match wish(std::env::args().skip(1))? {
        Wish::Run(selection) => selection,
        Wish::List => {
            Scenario::all()?.iter().for_each(|scenario| println!("{}: test", scenario.name));
            return Ok(true);
        }
    };
    let mut report = Suite::new(builds()?).await?.run(&selection).await?;
    if selection.scenarios.is_empty() && selection.languages.is_empty() {
        for (broken, scenario) in BROKEN {
            let outcome = match notices(broken, scenario).await? {
                true => Outcome::Passed,
                false => Outcome::Failed(format!("{} in {scenario} was not noticed", broken.name)),
            };
            report.add("(mistakes are noticed)", BTreeMap::from([(Role::Sender, broken.name)]), outcome);
        }
    }
    for failure in report.failures() {
        println!("---- {failure}");
    }
    println!("{report}");
    Ok(report.counts().1 == 0)
}

/// Programs that do something wrong, each with a scenario that must notice it.
const BROKEN: [(Member, &str); 2] = [
    (broken("a wrong byte", &[("HYBRIDRELAY_TESTEE_BREAKS", "byte")]), "echo-1mib"),
    (broken("a wrong code", &[("HYBRIDRELAY_TESTEE_BREAKS", "code")]), "wrong-path"),
];

const fn broken(name: &'static str, variables: &'static [(&'static str, &'static str)]) -> Member {
    Member { name, launch: Launch::Rust, variables, quirks: &[] }
}

/// Whether a scenario fails that is carried out by a program which does something wrong.
async fn notices(broken: Member, scenario: &str) -> Result<bool> {
    let suite = Suite::with_members(builds()?, vec![MEMBERS[0], broken]).await?;
    let selection = Selection { scenarios: vec![scenario.to_owned()], languages: vec![broken.name.to_owned()] };
    let report = suite.run(&selection).await?;
    let failures: Vec<_> = report.failures().collect();
    // Whoever looks for the mistake sees what was said.
    Ok(!failures.is_empty() && failures.iter().all(|failure| failure.contains("sender > {")))
}

fn builds() -> Result<Builds> {
    Builds::new(env!("CARGO_BIN_EXE_testee"))
}

/// Reads `--scenario` and `--language`, the same as variables of the environment, and what every test program is given: parts of names,
/// and options that mean nothing here.
fn wish(mut arguments: impl Iterator<Item = String>) -> Result<Wish> {
    let listed = |name| std::env::var(name).ok().map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
    let mut selection = Selection {
        scenarios: listed("CONFORMANCE_SCENARIO").unwrap_or_default(),
        languages: listed("CONFORMANCE_LANGUAGE").unwrap_or_default(),
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--scenario" => selection.scenarios.push(arguments.next().context("which scenario?")?),
            "--language" => selection.languages.push(arguments.next().context("which language?")?),
            "--list" => return Ok(Wish::List),
            // Their values are no names.
            "--test-threads" | "--skip" | "--format" | "--color" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            part => selection.scenarios.push(part.to_owned()),
        }
    }
    Ok(Wish::Run(selection))
}
