//! What is asked of each contender, and what is measured while it answers.

use std::fmt;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// GETs that are answered with 1 KiB, one after the other on each of so many connections that are kept.
    Small { connections: usize },
    /// A GET that is answered with 64 MiB.
    Download,
    /// A POST of 64 MiB.
    Upload,
}

/// Every case, in the order of the report.
pub(crate) const CASES: [Case; 4] =
    [Case::Small { connections: 1 }, Case::Small { connections: 32 }, Case::Download, Case::Upload];

/// How much work one measurement is, all slices together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    /// Requests on one connection, and on all of many connections.
    pub(crate) one_by_one: usize,
    pub(crate) together: usize,
    /// Long bodies.
    pub(crate) transfers: usize,
}

impl Volume {
    pub(crate) const FULL: Self = Self { one_by_one: 4_000, together: 16_000, transfers: 4 };
    pub(crate) const QUICK: Self = Self { one_by_one: 1_000, together: 4_000, transfers: 1 };

    /// Requests, or long bodies, in this case.
    pub(crate) fn of(&self, case: Case) -> usize {
        match case {
            Case::Small { connections: 1 } => self.one_by_one,
            Case::Small { .. } => self.together,
            Case::Download | Case::Upload => self.transfers,
        }
    }
}

/// What is measured in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quantity {
    /// Requests in a second.
    Rate,
    /// Half of all requests took at most so long.
    Median,
    /// All but one in a hundred.
    Tail,
    /// Bytes in a second.
    Throughput,
    /// CPU time of the relay's or the proxy's process.
    Cpu,
    /// CPU time of the processes behind it: the server, the listener.
    CpuBehind,
}

impl Case {
    /// What is measured, in the order of the report.
    pub(crate) fn quantities(self) -> &'static [Quantity] {
        use Quantity::{Cpu, CpuBehind, Median, Rate, Tail, Throughput};
        match self {
            Self::Small { .. } => &[Rate, Median, Tail, Cpu, CpuBehind],
            Self::Download | Self::Upload => &[Throughput, Cpu, CpuBehind],
        }
    }

    /// The unit of a quantity here.
    pub(crate) fn unit(self, quantity: Quantity) -> &'static str {
        match (quantity, self) {
            (Quantity::Rate, _) => "requests/s",
            (Quantity::Median | Quantity::Tail, _) => "µs",
            (Quantity::Throughput, _) => "MB/s",
            (Quantity::Cpu | Quantity::CpuBehind, Self::Small { .. }) => "µs/request",
            (Quantity::Cpu | Quantity::CpuBehind, _) => "ms/GB",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small { connections: 1 } => f.write_str("GET of 1 KiB, 1 connection"),
            Self::Small { connections } => write!(f, "GET of 1 KiB, {connections} connections"),
            Self::Download => f.write_str("GET of 64 MiB"),
            Self::Upload => f.write_str("POST of 64 MiB"),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate | Self::Throughput => "rate",
            Self::Median => "latency, p50",
            Self::Tail => "latency, p99",
            Self::Cpu => "CPU of the relay or proxy",
            Self::CpuBehind => "CPU behind it",
        })
    }
}
