//! `config`: a relay's configuration file, checked, shown, begun.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hybridrelay::env::Env;
use hybridrelay_relay::config_file::{ConfigFile, EXAMPLE, Problem, Problems, Settings, Severity};
use serde_json::json;

use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::logging;

const EXAMPLES: &str = "\
Examples:
  hybridrelay config example > relay.toml     a file to begin with, every section explained
  hybridrelay config check relay.toml         what is wrong, with line, column and what to do
  hybridrelay config show --redacted relay.toml";

/// Check, show or begin a relay's configuration file
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Tell what is wrong with a file
    ///
    /// Everything in one go, each problem with line, column and what to do. Keys and certificates are loaded as 'serve' would.
    /// Exits with 1 if 'serve' would not take the file; warnings alone do not count.
    Check {
        /// The configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write a file with every default
    ///
    /// Keys are never shown, with or without --redacted: those that stand in the file are "[redacted]", of others it is told where they
    /// come from. Keys and certificates need not be there.
    Show {
        /// Say that keys are to be left out, as they always are
        #[arg(long)]
        redacted: bool,
        /// The configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write a file to begin with, every section explained
    Example,
}

pub(crate) fn run(arguments: ConfigArguments, console: Console) -> Result<(), Failure> {
    match arguments.command {
        ConfigCommand::Check { file } => check(&file, console),
        ConfigCommand::Show { redacted: _, file } => {
            let settings = Settings::read(&file).map_err(|problems| unusable(&file, &problems, console))?;
            print(&settings.to_toml())
        }
        ConfigCommand::Example => print(EXAMPLE),
    }
}

fn check(path: &Path, console: Console) -> Result<(), Failure> {
    let file = load(path, console)?;
    logging::read(&file.log().filter)?;
    let (addresses, namespaces) = file.counts();
    let plural = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    print(&format!(
        "{} can be used: {}, {}\n",
        path.display(),
        plural(addresses, "address", "addresses"),
        plural(namespaces, "namespace", "namespaces"),
    ))
}

/// Loads a file and tells what is to be said about it.
pub(crate) fn load(path: &Path, console: Console) -> Result<ConfigFile, Failure> {
    let file = ConfigFile::load(&Env::system(), path).map_err(|problems| unusable(path, &problems, console))?;
    file.warnings().iter().for_each(|warning| tell(console, warning));
    Ok(file)
}

fn unusable(path: &Path, problems: &Problems, console: Console) -> Failure {
    problems.iter().for_each(|problem| tell(console, problem));
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let message = format!("{} cannot be used: {errors} error{}", path.display(), if errors == 1 { "" } else { "s" });
    Failure::new(Exit::Failed, "InvalidConfiguration", message)
}

/// Tells of one problem.
pub(crate) fn tell(console: Console, problem: &Problem) {
    let fields = json!({
        "severity": problem.severity.to_string(),
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "advice": problem.advice,
    });
    console.event("problem", fields, &problem.to_string());
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("standard output cannot be written", &error))
}
