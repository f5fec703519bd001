//! Measures the relay's data path beside other relays: `cargo xtask bench streams`.
//!
//! Every contender runs in a process of its own, whose CPU clock and memory are read from outside. The load comes from
//! this process, which is not measured: blocking threads that send prepared frames through raw sockets and count what
//! arrives. So every contender gets identical bytes, and nothing of the client's cost is in the numbers.
#![allow(clippy::disallowed_methods)]

mod case;
mod certificate;
mod contender;
mod goals;
mod idle;
mod load;
mod machine;
mod network;
mod report;
mod serve;
mod session;
mod streams;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures the relay's data path beside other relays")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures relayed streams: CPU per byte, message and connection, memory per idle pair
    Streams(streams::Options),
    /// Runs one contender until its standard input ends; `streams` starts these by itself
    Serve(serve::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Streams(options) => streams::run(&options),
        Command::Serve(options) => serve::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
