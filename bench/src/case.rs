//! What is measured: kinds of work, their units, and how much of each.

use std::fmt;
use std::time::Duration;

use crate::contender::Contender;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// So many streams at once, one direction, frames of so many bytes: CPU per 10^9 payload bytes.
    Bulk { streams: usize, frame: usize },
    /// One stream of messages of so many bytes, sent without waiting: CPU per message.
    Pipelined { message: usize },
    /// A message there, a message back, and so on: CPU per message.
    PingPong { message: usize },
    /// Opening a pair and closing it in good order: CPU per pair.
    Connection,
    /// Memory that a pair holds which says nothing.
    Idle,
}

/// Every case, in the order of the report.
pub(crate) const CASES: [Case; 8] = [
    Case::Bulk { streams: 1, frame: 64 << 10 },
    Case::Bulk { streams: 1, frame: 16 << 10 },
    Case::Bulk { streams: 8, frame: 64 << 10 },
    Case::Pipelined { message: 64 },
    Case::Pipelined { message: 4 << 10 },
    Case::PingPong { message: 64 },
    Case::Connection,
    Case::Idle,
];

/// How much work one measurement is, all slices together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    pub(crate) bulk_bytes: usize,
    pub(crate) small_bytes: usize,
    pub(crate) round_trips: usize,
    pub(crate) connections: usize,
    pub(crate) idle_pairs: usize,
}

impl Volume {
    pub(crate) const FULL: Self =
        Self { bulk_bytes: 1 << 30, small_bytes: 256 << 20, round_trips: 20_000, connections: 400, idle_pairs: 4_000 };
    pub(crate) const QUICK: Self =
        Self { bulk_bytes: 256 << 20, small_bytes: 64 << 20, round_trips: 4_000, connections: 100, idle_pairs: 1_000 };
}

/// The unit of a case's numbers; all are better when smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    MillisecondsPerGigabyte,
    NanosecondsPerMessage,
    MicrosecondsPerConnection,
    KibibytesPerPair,
}

impl Unit {
    /// What so much CPU time for so many bytes, messages or connections comes to.
    pub(crate) fn of(self, cpu: Duration, amount: usize) -> f64 {
        let nanoseconds = cpu.as_nanos() as f64 / amount as f64;
        match self {
            Self::MillisecondsPerGigabyte => nanoseconds * 1e9 / 1e6,
            Self::MicrosecondsPerConnection => nanoseconds / 1e3,
            Self::NanosecondsPerMessage | Self::KibibytesPerPair => nanoseconds,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MillisecondsPerGigabyte => "ms/GB",
            Self::NanosecondsPerMessage => "ns/message",
            Self::MicrosecondsPerConnection => "µs/connection",
            Self::KibibytesPerPair => "KiB/pair",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bulk { streams: 1, frame } => write!(f, "bulk, 1 stream, {} KiB frames", frame >> 10),
            Self::Bulk { streams, frame } => write!(f, "bulk, {streams} streams, {} KiB frames", frame >> 10),
            Self::Pipelined { message: message @ 0..1024 } => write!(f, "pipelined {message} B messages"),
            Self::Pipelined { message } => write!(f, "pipelined {} KiB messages", message >> 10),
            Self::PingPong { message } => write!(f, "ping-pong of {message} B messages"),
            Self::Connection => f.write_str("open and close"),
            Self::Idle => f.write_str("idle pair"),
        }
    }
}

impl Case {
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Bulk { .. } => Unit::MillisecondsPerGigabyte,
            Self::Pipelined { .. } | Self::PingPong { .. } => Unit::NanosecondsPerMessage,
            Self::Connection => Unit::MicrosecondsPerConnection,
            Self::Idle => Unit::KibibytesPerPair,
        }
    }

    /// Whether the numbers of one run say it all, and a fresh process is needed for them.
    pub(crate) fn is_measured_once(self) -> bool {
        self == Self::Idle
    }

    /// Whether a contender can do this work at all.
    pub(crate) fn suits(self, contender: Contender) -> bool {
        contender != Contender::Bare || matches!(self, Self::Bulk { .. } | Self::Pipelined { .. })
    }
}
