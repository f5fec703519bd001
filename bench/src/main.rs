//! Measures the relay beside others: `cargo xtask bench streams`, `cargo xtask bench http` and `cargo xtask bench events`; and the
//! libraries of other languages beside others: `cargo xtask bench bindings`.
//!
//! Every contender runs in a process of its own, whose CPU clock and memory are read from outside. The load comes from
//! this process, which is not measured: for streams blocking threads that send prepared frames through raw sockets and
//! count what arrives, for requests a hyper client. So every contender gets the same bytes, and nothing of the client's
//! cost is in the numbers.
#![allow(clippy::disallowed_methods)]

mod bindings;
mod case;
mod certificate;
mod contender;
mod events;
mod goals;
mod http;
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
#[command(about = "Measures the relay beside others")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures relayed streams: CPU per byte, message and connection, memory per idle pair
    Streams(streams::Options),
    /// Measures relayed HTTP: requests per second, latency, and the CPU time of requests and of long bodies
    Http(http::Options),
    /// Measures events: CPU per delivered event, from one publisher to many subscribers
    Events(events::Options),
    /// Measures the libraries of other languages: throughput, messages, connections and requests of a client, and its CPU time
    Bindings(bindings::Options),
    /// Runs one contender until its standard input ends; the others start these by themselves
    Serve(serve::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Streams(options) => streams::run(&options),
        Command::Http(options) => http::run(&options),
        Command::Events(options) => events::run(&options),
        Command::Bindings(options) => bindings::run(&options),
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
