//! Memory that pairs hold while they say nothing.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contender::Running;
use crate::load::{Block, Pair};

/// The KiB that each of many pairs holds after a message in both directions.
pub(crate) fn measure(running: &mut Running, pairs: usize) -> Result<f64> {
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
    Ok((after - before) as f64 / 1024.0 / pairs as f64)
}

fn idle_pair(running: &mut Running) -> Result<Pair> {
    let message = Block::single(64);
    let mut arrived = vec![0; message.arriving_len(running.entrance.unmasks())];
    let mut pair = running.entrance.open()?;
    message.send(&mut pair.sender, 1)?;
    pair.listener.read_exact(&mut arrived)?;
    message.send(&mut pair.listener, 1)?;
    pair.sender.read_exact(&mut arrived)?;
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
