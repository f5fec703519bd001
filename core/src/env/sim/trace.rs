//! What happened at the network, in order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened at the network.
///
/// Hosts are known by their names, connections by numbers in the order in which they came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A host dials another.
    Dialled {
        /// Who dials.
        from: Arc<str>,
        /// Who is dialled.
        to: Arc<str>,
        /// At which port.
        port: u16,
    },
    /// The connection is there, accepted or not.
    Connected {
        /// Its number.
        connection: u64,
        /// Who dialled.
        from: Arc<str>,
        /// Who was dialled.
        to: Arc<str>,
        /// At which port.
        port: u16,
    },
    /// Nobody was there for a dial.
    Refused {
        /// Who dialled.
        from: Arc<str>,
        /// Who was dialled.
        to: Arc<str>,
        /// At which port.
        port: u16,
    },
    /// The program took the connection.
    Accepted {
        /// Its number.
        connection: u64,
    },
    /// Bytes were written in one go.
    Sent {
        /// The connection's number.
        connection: u64,
        /// Who wrote.
        by: Arc<str>,
        /// How many.
        bytes: usize,
        /// A hash of them.
        hash: u64,
    },
    /// An end sends nothing any more.
    Ended {
        /// The connection's number.
        connection: u64,
        /// Who ended.
        by: Arc<str>,
    },
    /// An end reset the connection, by its program's wish or because it got bytes that nobody was there to read.
    Reset {
        /// The connection's number.
        connection: u64,
        /// Who reset.
        by: Arc<str>,
    },
    /// The network cut the connection.
    Cut {
        /// Its number.
        connection: u64,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled { from, to, port } => write!(f, "{from} dials {to}:{port}"),
            Self::Connected { connection, from, to, port } => {
                write!(f, "#{connection} {from} to {to}:{port} connected")
            }
            Self::Refused { from, to, port } => write!(f, "{from} is refused by {to}:{port}"),
            Self::Accepted { connection } => write!(f, "#{connection} accepted"),
            Self::Sent { connection, by, bytes, hash } => {
                write!(f, "#{connection} {by} sends {bytes} bytes ({hash:016x})")
            }
            Self::Ended { connection, by } => write!(f, "#{connection} {by} ends"),
            Self::Reset { connection, by } => write!(f, "#{connection} {by} resets"),
            Self::Cut { connection } => write!(f, "#{connection} is cut"),
        }
    }
}

/// An [`Event`] and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counted from the beginning of the simulation.
    pub at: Duration,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6} s  {}", self.at.as_secs_f64(), self.event)
    }
}

/// Everything that happened at the network up to some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace(pub(super) Vec<Record>);

impl Trace {
    /// What happened, in order.
    pub fn records(&self) -> &[Record] {
        &self.0
    }

    /// Where two traces part, with the common records right before, for a person to read; `None` if they are equal.
    pub fn difference(&self, other: &Self) -> Option<String> {
        const BEFORE: usize = 5;
        let (ours, theirs) = (&self.0, &other.0);
        let at = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at))?;
        let line = |record: Option<&Record>| record.map_or("nothing any more".to_owned(), Record::to_string);
        let mut text: String =
            ours[at.saturating_sub(BEFORE)..at].iter().map(|record| format!("  {record}\n")).collect();
        text.push_str(&format!("- {}\n+ {}\n", line(ours.get(at)), line(theirs.get(at))));
        Some(text)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

/// FNV-1a: the same on every machine and in every version.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
