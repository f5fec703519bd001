//! The `hybridrelay` command: a relay, a listener, a sender, tokens, and a demonstration of all of them.

use std::process::ExitCode;

use clap::Parser;
use hybridrelay_relay::config_file::{ConfigFile, LogFormat};

mod arguments;
mod config;
mod connect;
mod console;
mod demo;
mod destination;
mod endpoints;
mod expose;
mod failure;
mod listen;
mod logging;
mod manual;
mod online;
mod publish;
mod relay;
mod request;
mod send;
mod serve;
mod signals;
mod state;
mod status;
mod stdio;
mod subscribe;
mod supervisor;
mod table;
mod token;
mod units;

use arguments::{Arguments, Command};
use console::Console;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let mut console = Console::new(arguments.output.json);
    match run(arguments, &mut console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failure(&failure);
            failure.exit().into()
        }
    }
}

fn run(arguments: Arguments, console: &mut Console) -> Result<(), Failure> {
    // It says how to log.
    let file = match &arguments.command {
        Command::Serve(arguments) => arguments.load(*console)?,
        _ => None,
    };
    let log = file.as_ref().map(ConfigFile::log);
    if log.is_some_and(|log| log.format == LogFormat::Json) {
        *console = Console::new(true);
    }
    let console = *console;
    logging::start(arguments.output.verbose, console.is_json(), log.map(|log| log.filter.as_str()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("the runtime cannot be started", &error))?;
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Serve(arguments) => serve::run(arguments, file, console).await,
            Command::Config(arguments) => config::run(arguments, console),
            Command::Listen(arguments) => listen::run(arguments, console).await,
            Command::Connect(arguments) => connect::run(arguments, console).await,
            Command::Expose(arguments) => expose::run(arguments, console).await,
            Command::Request(arguments) => request::run(arguments, console).await,
            Command::Send(arguments) => send::run(arguments, console).await,
            Command::Status(arguments) => status::run(arguments, console).await,
            Command::Endpoints(arguments) => endpoints::run(arguments, console).await,
            Command::Publish(arguments) => publish::run(arguments, console).await,
            Command::Subscribe(arguments) => subscribe::run(arguments, console).await,
            Command::Token(arguments) => token::run(arguments),
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Completions(arguments) => manual::completions(&arguments),
            Command::Man(arguments) => manual::man(arguments),
        }
    });
    // A thread that waits for standard input cannot be stopped and must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Answers a command line that asks for help or is not usable.
fn refuse(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let failure = Failure::usage(first.strip_prefix("error: ").unwrap_or(first));
        Console::new(true).failure(&failure);
    } else {
        // Nobody is left to tell if the terminal has gone.
        let _ = error.print();
    }
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}
