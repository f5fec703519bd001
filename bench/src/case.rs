//! What is measured: amounts of work, and how one of them is done at one contender.

use std::fmt;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contender::{Contender, Running};
use crate::load::{Block, Pair};

/// A kind of work and its name.
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

/// How much work one measurement is, so that its CPU time stands out from everything else.
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

    /// Checks that bytes pass this contender as they should, without a clock.
    pub(crate) fn check(self, running: &mut Running) -> Result<()> {
        let (Self::Bulk { frame: size, .. } | Self::Pipelined { message: size }) = self else { return Ok(()) };
        let block = Block::new(size);
        let unmasks = running.entrance.unmasks();
        let Pair { mut sender, mut listener } = running.entrance.open()?;
        thread::scope(|scope| {
            let sending = scope.spawn(|| block.send(&mut sender, 2));
            block.receive_and_check(&mut listener, unmasks)?;
            block.receive_and_check(&mut listener, unmasks)?;
            joined(sending)
        })
    }

    /// Does the work once and returns what it took, in the case's unit.
    pub(crate) fn measure(self, running: &mut Running, volume: &Volume) -> Result<f64> {
        match self {
            Self::Bulk { streams, frame } => {
                let (cpu, bytes, _) = stream(running, streams, frame, volume.bulk_bytes)?;
                Ok(cpu.as_secs_f64() * 1e3 / (bytes as f64 / 1e9))
            }
            Self::Pipelined { message } => {
                let (cpu, _, messages) = stream(running, 1, message, volume.small_bytes)?;
                Ok(cpu.as_nanos() as f64 / messages as f64)
            }
            Self::PingPong { message } => {
                let cpu = ping_pong(running, message, volume.round_trips)?;
                Ok(cpu.as_nanos() as f64 / (2 * volume.round_trips) as f64)
            }
            Self::Connection => {
                let cpu = open_and_close(running, volume.connections)?;
                Ok(cpu.as_nanos() as f64 / 1e3 / volume.connections as f64)
            }
            Self::Idle => Ok(idle(running, volume.idle_pairs)? / 1024.0),
        }
    }
}

/// The CPU time, payload bytes and messages of a transfer over several streams at once.
fn stream(running: &mut Running, streams: usize, size: usize, bytes: usize) -> Result<(Duration, usize, usize)> {
    let block = Block::new(size);
    let mut pairs = (0..streams).map(|_| running.entrance.open()).collect::<Result<Vec<_>>>()?;
    let unmasks = running.entrance.unmasks();
    let times = bytes.div_ceil(streams * block.payload_len());
    // Buffers have grown and windows have opened before the clock starts.
    transfer(&mut pairs, &block, 1 + times / 16, unmasks)?;
    let before = running.process.cpu()?;
    transfer(&mut pairs, &block, times, unmasks)?;
    let cpu = running.process.cpu()? - before;
    Ok((cpu, streams * times * block.payload_len(), streams * times * block.frames()))
}

fn transfer(pairs: &mut [Pair], block: &Block, times: usize, unmasked: bool) -> Result<()> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for Pair { sender, listener } in pairs {
            threads.push(scope.spawn(move || block.send(sender, times)));
            threads.push(scope.spawn(move || block.receive(listener, times, unmasked)));
        }
        threads.into_iter().try_for_each(joined)
    })
}

fn ping_pong(running: &mut Running, size: usize, round_trips: usize) -> Result<Duration> {
    let message = Block::single(size);
    let arriving = message.arriving_len(running.entrance.unmasks());
    let Pair { mut sender, mut listener } = running.entrance.open()?;
    let mut before = Duration::ZERO;
    thread::scope(|scope| {
        let warm_up = round_trips / 16;
        let echoing = scope.spawn({
            // Both legs stay open to the end: a relay may drop what comes together with the end of a stream.
            let (message, listener) = (&message, &mut listener);
            move || -> Result<()> {
                let mut arrived = vec![0; arriving];
                for _ in 0..warm_up + round_trips {
                    listener.read_exact(&mut arrived)?;
                    message.send(listener, 1)?;
                }
                Ok(())
            }
        });
        let mut arrived = vec![0; arriving];
        for round_trip in 0..warm_up + round_trips {
            if round_trip == warm_up {
                before = running.process.cpu()?;
            }
            message.send(&mut sender, 1)?;
            sender.read_exact(&mut arrived)?;
        }
        joined(echoing)
    })?;
    Ok(running.process.cpu()? - before)
}

fn open_and_close(running: &mut Running, count: usize) -> Result<Duration> {
    let mut before = Duration::ZERO;
    let warm_up = count / 16;
    for nth in 0..warm_up + count {
        if nth == warm_up {
            before = running.process.cpu()?;
        }
        let pair = running.entrance.open()?;
        running.entrance.close(pair)?;
    }
    Ok(running.process.cpu()? - before)
}

/// The bytes that each of many pairs holds after a message in both directions.
fn idle(running: &mut Running, pairs: usize) -> Result<f64> {
    // What the first pairs leave behind is not the others'.
    let first = (0..pairs / 40).map(|_| idle_pair(running)).collect::<Result<Vec<_>>>()?;
    for pair in first {
        running.entrance.close(pair)?;
    }
    let before = memory_at_rest(running)?;
    let held = (0..pairs).map(|_| idle_pair(running)).collect::<Result<Vec<_>>>()?;
    let after = memory_at_rest(running)?;
    drop(held);
    ensure!(after > before, "the contender's memory did not grow with {pairs} pairs");
    Ok((after - before) as f64 / pairs as f64)
}

fn idle_pair(running: &mut Running) -> Result<Pair> {
    let message = Block::single(64);
    let mut arrived = vec![0; message.arriving_len(running.entrance.unmasks())];
    let mut pair = running.entrance.open()?;
    message.send(&mut pair.sender, 1)?;
    pair.listener.read_exact(&mut arrived)?;
    message.send(&mut pair.listener, 1)?;
    pair.sender.read_exact(&mut arrived)?;
    pair.sender.flush()?;
    Ok(pair)
}

/// The contender's memory once it has nothing to do any more.
fn memory_at_rest(running: &Running) -> Result<u64> {
    let patience = Instant::now() + Duration::from_secs(10);
    let mut cpu = running.process.cpu()?;
    loop {
        thread::sleep(Duration::from_millis(250));
        let now = running.process.cpu()?;
        if now - cpu < Duration::from_millis(5) || Instant::now() > patience {
            return running.process.memory();
        }
        cpu = now;
    }
}

fn joined(thread: thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
