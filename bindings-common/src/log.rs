//! What the library logs, on its way into the host's own logging.
//!
//! Records lie in a bounded queue that one thread of the host drains: the library never calls into the host to log, never waits for
//! it, and counts what it had to drop.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hybridrelay::ErrorKind;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::errors::{Code, Failure, Result};
use crate::lock;
use crate::process::PerProcess;
use crate::signal::Signal;

/// How many records wait at most.
const CAPACITY: usize = 4096;

/// The longest text of a record in bytes.
const LONGEST: usize = 4096;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How important it is.
    pub level: LogLevel,
    /// The part of the library, such as `hybridrelay::listener`.
    pub target: &'static str,
    /// The message and its fields, `message key=value …`.
    pub text: String,
    /// When.
    pub at: SystemTime,
}

/// How important a record is. The numbers are those of every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// Nothing at all.
    Off = 0,
    /// Faults of the library.
    Error = 1,
    /// What somebody should look at.
    Warn = 2,
    /// What happens.
    Info = 3,
    /// Every step.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

impl LogLevel {
    /// The level with this number.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is none.
    pub fn numbered(number: u32) -> Result<Self> {
        let levels = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let level = levels.into_iter().find(|level| *level as u32 == number);
        level.ok_or_else(|| Failure::invalid(format!("{number} is no level")))
    }
}

impl From<&Level> for LogLevel {
    fn from(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

static SINK: OnceLock<Sink> = OnceLock::new();

struct Sink {
    most: AtomicU8,
    dropped: AtomicU64,
    /// A child's own: the lock of the parent's may be held by a thread that the child does not have.
    records: PerProcess<Records>,
}

struct Records {
    waiting: Mutex<VecDeque<Record>>,
    arrived: Condvar,
    /// `None` if the system gives no descriptors.
    signal: Option<Signal>,
}

impl Default for Records {
    fn default() -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), signal: Signal::new().ok() }
    }
}

impl Records {
    fn push(&self, record: Record) -> bool {
        let mut waiting = lock(&self.waiting);
        let full = waiting.len() == CAPACITY;
        if full {
            waiting.pop_front();
        }
        waiting.push_back(record);
        if let Some(signal) = self.signal.as_ref().filter(|_| waiting.len() == 1) {
            signal.raise();
        }
        self.arrived.notify_one();
        !full
    }

    fn pop(&self, waiting: &mut VecDeque<Record>) -> Option<Record> {
        let record = waiting.pop_front()?;
        if let Some(signal) = self.signal.as_ref().filter(|_| waiting.is_empty()) {
            signal.lower();
        }
        Some(record)
    }
}

/// Begins to collect records up to `level`, or changes the level. Only the first call of a process installs the collector, and only if
/// nothing else collects what this copy of the library logs.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if a Rust program has installed a collector of its own.
pub fn collect(level: LogLevel) -> Result<()> {
    let mut installed = Ok(());
    let sink = SINK.get_or_init(|| {
        installed = tracing::subscriber::set_global_default(Collector);
        Sink { most: AtomicU8::new(LogLevel::Off as u8), dropped: AtomicU64::new(0), records: PerProcess::new() }
    });
    installed.map_err(|_| Failure::invalid("another collector of log records is installed already"))?;
    sink.most.store(level as u8, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// Takes the next record, waiting `limit` at most, for ever without one.
///
/// # Errors
///
/// `WOULD_BLOCK` if there is none in that time.
pub fn next(limit: Option<Duration>) -> Result<Record> {
    let nothing = || Failure::new(Code::WOULD_BLOCK, "nothing was logged");
    let (records, _) = SINK.get().ok_or_else(nothing)?.records.get();
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut waiting = lock(&records.waiting);
    loop {
        if let Some(record) = records.pop(&mut waiting) {
            return Ok(record);
        }
        waiting = match deadline {
            None => records.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
                let waited = records.arrived.wait_timeout(waiting, left.ok_or_else(nothing)?);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// A descriptor that is readable while a record waits, for a host whose threads wait for descriptors. It belongs to the library: only look
/// at it. A forked child has another one.
///
/// # Errors
///
/// `INTERNAL` before [`collect`], or if the system gives no descriptors.
#[cfg(unix)]
pub fn descriptor() -> Result<std::os::fd::BorrowedFd<'static>> {
    let signal = SINK.get().and_then(|sink| sink.records.get().0.signal.as_ref());
    let missing = || Failure::new(Code::of(ErrorKind::Internal), "there is no descriptor for records of the log");
    signal.map(Signal::descriptor).ok_or_else(missing)
}

/// How many records were dropped because nobody took them.
pub fn dropped() -> u64 {
    SINK.get().map_or(0, |sink| sink.dropped.load(Ordering::Relaxed))
}

/// Takes what the library logs; spans have no meaning here.
struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = SINK.get().map_or(0, |sink| sink.most.load(Ordering::Relaxed));
        metadata.is_event()
            && LogLevel::from(metadata.level()) as u8 <= most
            && metadata.target().starts_with("hybridrelay")
    }

    fn event(&self, event: &Event<'_>) {
        let Some(sink) = SINK.get() else { return };
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        let (level, target) = (metadata.level().into(), metadata.target());
        let record = Record { level, target, text: text.0, at: now() };
        if !sink.records.get().0.push(record) {
            sink.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn now() -> SystemTime {
    hybridrelay::env::Env::system().wall_clock()
}

/// A record's text as far as it is kept.
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

impl Text {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.0.len() >= LONGEST {
            return;
        }
        let separator = if self.0.is_empty() { "" } else { " " };
        // A string takes everything.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value}"),
            name => write!(self.0, "{separator}{name}={value}"),
        };
        let mut end = self.0.len().min(LONGEST);
        while !self.0.is_char_boundary(end) {
            end -= 1;
        }
        self.0.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_up_to_the_level_are_handed_out_and_the_oldest_are_dropped() {
        assert_eq!(next(Some(Duration::ZERO)).expect_err("nothing").code(), Code::WOULD_BLOCK);
        let none = LogLevel::numbered(6).expect_err("no level");
        assert_eq!(none.code(), Code::of(ErrorKind::InvalidArgument));
        collect(LogLevel::numbered(3).expect("a level")).expect("nobody else collects");
        tracing::info!(target: "hybridrelay::probe", relay = "there", "online");
        tracing::debug!(target: "hybridrelay::probe", "a step");
        tracing::info!(target: "tokio::probe", "of another library");
        tracing::warn!(target: "hybridrelay::probe", number = 7);
        #[cfg(unix)]
        assert!(is_readable(), "a record waits");
        let mut ours = Vec::new();
        while let Ok(record) = next(Some(Duration::ZERO)) {
            if record.target == "hybridrelay::probe" {
                ours.push((record.level, record.text));
            }
        }
        #[cfg(unix)]
        assert!(!is_readable(), "all were taken");
        let expected = [(LogLevel::Info, "online relay=there".to_owned()), (LogLevel::Warn, "number=7".to_owned())];
        assert_eq!(ours, expected);
        for number in 0..=CAPACITY {
            tracing::warn!(target: "hybridrelay::probe", number);
        }
        assert!(dropped() >= 1);
        assert_eq!(lock(&SINK.get().expect("collecting").records.get().0.waiting).len(), CAPACITY);
        collect(LogLevel::Off).expect("ours");
    }

    #[cfg(unix)]
    fn is_readable() -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut descriptors = [PollFd::new(descriptor().expect("collecting"), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).expect("a poll") > 0
    }
}
