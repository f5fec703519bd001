//! What a program is asked to do.

use std::fmt;
use std::time::Duration;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Case {
    Send(u64),
    Receive(u64),
    Echo(u64),
    Connect,
    Request(u64),
    /// It serves, and so many connections ask it, each for one thing after the other.
    Serve(usize),
}

pub(super) const CASES: [Case; 9] = [
    Case::Send(64 * 1024),
    Case::Receive(64 * 1024),
    Case::Send(64),
    Case::Receive(64),
    Case::Echo(64),
    Case::Connect,
    Case::Request(crate::http::SMALL as u64),
    Case::Serve(1),
    Case::Serve(32),
];

impl Case {
    /// The name and the size that a client is started with.
    pub(super) fn arguments(self) -> (&'static str, u64) {
        match self {
            Self::Send(size) => ("send", size),
            Self::Receive(size) => ("receive", size),
            Self::Echo(size) => ("echo", size),
            Self::Connect => ("connect", 0),
            Self::Request(size) => ("request", size),
            Self::Serve(_) => ("serve", 0),
        }
    }

    /// How many units are a round's work.
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Send(64) | Self::Receive(64) => 400_000,
            Self::Send(_) | Self::Receive(_) | Self::Serve(32) => 16_000,
            Self::Echo(_) | Self::Request(_) => 8_000,
            Self::Serve(_) => 4_000,
            Self::Connect => 400,
        }
    }

    /// The rate of so many units in such a time.
    pub(super) fn rate(self, units: u64, time: Duration) -> f64 {
        let rate = units as f64 / time.as_secs_f64();
        if self.is_bulk() { rate * self.arguments().1 as f64 / 1e6 } else { rate }
    }

    /// The CPU time of so many units.
    pub(super) fn cost(self, units: u64, cpu: Duration) -> f64 {
        let micros = cpu.as_secs_f64() * 1e6 / units as f64;
        // Microseconds for a megabyte are milliseconds for a gigabyte.
        if self.is_bulk() { micros * 1e6 / self.arguments().1 as f64 } else { micros }
    }

    /// Whether it is messages one way, of any size.
    pub(super) fn is_one_way(self) -> bool {
        matches!(self, Self::Send(_) | Self::Receive(_))
    }

    fn is_bulk(self) -> bool {
        matches!(self, Self::Send(size) | Self::Receive(size) if size > 64)
    }

    pub(super) fn units(self) -> (&'static str, &'static str) {
        match self {
            _ if self.is_bulk() => ("MB/s", "ms/GB"),
            Self::Send(_) | Self::Receive(_) | Self::Echo(_) => ("messages/s", "µs/message"),
            Self::Connect => ("connections/s", "µs/connection"),
            Self::Request(_) | Self::Serve(_) => ("requests/s", "µs/request"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Send(64) => "send 64 B messages",
            Self::Receive(64) => "receive 64 B messages",
            Self::Send(_) => "send 64 KiB messages",
            Self::Receive(_) => "receive 64 KiB messages",
            Self::Echo(_) => "64 B messages, there and back",
            Self::Connect => "connect and close",
            Self::Request(_) => "GET of 1 KiB",
            Self::Serve(1) => "serve 1 KiB to 1 connection",
            Self::Serve(_) => "serve 1 KiB to 32 connections",
        })
    }
}
