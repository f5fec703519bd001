//! Work that has begun at one contender and goes on in slices.
//!
//! The contenders of a round take turns, slice by slice: what disturbs the machine for a while disturbs all of them.

use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::case::{Case, Volume};
use crate::contender::Running;
use crate::load::{Block, Pair};

/// In how many pieces the work of a round is done.
pub(crate) const SLICES: usize = 16;

/// Work at one contender, and what it has cost so far.
pub(crate) struct Session {
    case: Case,
    work: Work,
    cpu: Duration,
    /// Payload bytes, messages or connections, as the case's unit counts.
    amount: usize,
}

enum Work {
    Stream { pairs: Vec<Pair>, block: Block, times: usize },
    PingPong { pair: Pair, message: Block, round_trips: usize },
    Connections { count: usize },
}

impl Session {
    /// Opens what is needed and does a slice that does not count: buffers grow, windows open.
    pub(crate) fn begin(case: Case, running: &mut Running, volume: &Volume) -> Result<Self> {
        let work = match case {
            Case::Bulk { streams, frame } => Work::stream(running, streams, frame, volume.bulk_bytes)?,
            Case::Pipelined { message } => Work::stream(running, 1, message, volume.small_bytes)?,
            Case::PingPong { message } => Work::PingPong {
                pair: running.entrance.open()?,
                message: Block::single(message),
                round_trips: volume.round_trips.div_ceil(SLICES),
            },
            Case::Connection | Case::Idle => Work::Connections { count: volume.connections.div_ceil(SLICES) },
        };
        let mut session = Self { case, work, cpu: Duration::ZERO, amount: 0 };
        session.work.proceed(running)?;
        Ok(session)
    }

    /// Does one slice.
    pub(crate) fn slice(&mut self, running: &mut Running) -> Result<()> {
        let before = running.process.cpu()?;
        self.work.proceed(running)?;
        self.cpu += running.process.cpu()? - before;
        self.amount += self.work.amount_of_slice(self.case);
        Ok(())
    }

    /// What it has cost, in the case's unit.
    pub(crate) fn cost(&self) -> f64 {
        self.case.unit().of(self.cpu, self.amount)
    }
}

impl Work {
    fn stream(running: &mut Running, streams: usize, size: usize, bytes: usize) -> Result<Self> {
        let block = Block::new(size);
        let pairs = (0..streams).map(|_| running.entrance.open()).collect::<Result<_>>()?;
        let times = bytes.div_ceil(streams * block.payload_len() * SLICES);
        Ok(Self::Stream { pairs, block, times })
    }

    fn proceed(&mut self, running: &mut Running) -> Result<()> {
        let unmasks = running.entrance.unmasks();
        match self {
            Self::Stream { pairs, block, times } => transfer(pairs, block, *times, unmasks),
            Self::PingPong { pair, message, round_trips } => ping_pong(pair, message, *round_trips, unmasks),
            Self::Connections { count } => {
                for _ in 0..*count {
                    let pair = running.entrance.open()?;
                    running.entrance.close(pair)?;
                }
                Ok(())
            }
        }
    }

    fn amount_of_slice(&self, case: Case) -> usize {
        match self {
            Self::Stream { pairs, block, times } => {
                let of_block = if let Case::Bulk { .. } = case { block.payload_len() } else { block.frames() };
                pairs.len() * times * of_block
            }
            Self::PingPong { round_trips, .. } => 2 * round_trips,
            Self::Connections { count } => *count,
        }
    }
}

/// Checks that bytes of this case pass a contender as they should, without a clock.
pub(crate) fn check(case: Case, running: &mut Running) -> Result<()> {
    let (Case::Bulk { frame: size, .. } | Case::Pipelined { message: size }) = case else { return Ok(()) };
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

fn ping_pong(pair: &mut Pair, message: &Block, round_trips: usize, unmasked: bool) -> Result<()> {
    let Pair { sender, listener } = pair;
    thread::scope(|scope| {
        let echoing = scope.spawn(move || {
            let mut arrived = vec![0; message.arriving_len(unmasked)];
            for _ in 0..round_trips {
                listener.read_exact(&mut arrived)?;
                message.send(listener, 1)?;
            }
            Ok(())
        });
        let mut arrived = vec![0; message.arriving_len(unmasked)];
        for _ in 0..round_trips {
            message.send(sender, 1)?;
            sender.read_exact(&mut arrived)?;
        }
        joined(echoing)
    })
}

fn joined(thread: thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
