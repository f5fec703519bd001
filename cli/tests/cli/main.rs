//! The command as its users run it: real processes, a real relay, real signals.
#![allow(clippy::disallowed_methods)]

mod config;
mod connect;
mod demo;
mod endpoints;
mod events;
mod exec;
mod expose;
mod failures;
mod harness;
mod listen;
mod manual;
mod reload;
mod request;
mod secrets;
mod send;
mod serve;
mod serve_file;
mod signals;
mod status;
mod supervisor;
mod token;
