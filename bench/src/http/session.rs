//! Work that has begun at one contender and goes on in slices, in turns with the others.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::LARGE;
use super::case::{Case, Quantity};
use super::contender::Running;
use super::load::Load;

/// Work at one contender, and what it has cost so far.
pub(crate) struct Session {
    case: Case,
    load: Load,
    /// Requests in a slice.
    amount: usize,
    done: usize,
    latencies: Vec<Duration>,
    elapsed: Duration,
    cpu: Option<Duration>,
    cpu_behind: Duration,
}

impl Session {
    /// Opens what is needed and does a slice that does not count: buffers grow, windows open. `amount` is that of a slice.
    pub(crate) async fn begin(case: Case, running: &Running, amount: usize) -> Result<Self> {
        let connections = if let Case::Small { connections } = case { connections } else { 1 };
        let load = Load::connect(&running.entrance, connections).await?;
        let mut session = Self {
            case,
            load,
            amount,
            done: 0,
            latencies: Vec::new(),
            elapsed: Duration::ZERO,
            cpu: None,
            cpu_behind: Duration::ZERO,
        };
        session.proceed().await?;
        session.latencies.clear();
        Ok(session)
    }

    /// Does one slice.
    pub(crate) async fn slice(&mut self, running: &Running) -> Result<()> {
        let (before, began) = (running.used()?, Instant::now());
        self.proceed().await?;
        self.elapsed += began.elapsed();
        let after = running.used()?;
        if let (Some(after), Some(before)) = (after.front, before.front) {
            *self.cpu.get_or_insert_default() += after - before;
        }
        self.cpu_behind += after.behind - before.behind;
        self.done += self.amount;
        Ok(())
    }

    async fn proceed(&mut self) -> Result<()> {
        match self.case {
            Case::Small { .. } => self.latencies.extend(self.load.small(self.amount).await?),
            Case::Download => {
                for _ in 0..self.amount {
                    self.load.download().await?;
                }
            }
            Case::Upload => {
                for _ in 0..self.amount {
                    self.load.upload().await?;
                }
            }
        }
        Ok(())
    }

    /// What was measured; `None` for the CPU time of nobody.
    pub(crate) fn measured(&mut self, quantity: Quantity) -> Option<f64> {
        self.latencies.sort_unstable();
        let is_small = matches!(self.case, Case::Small { .. });
        // Requests and microseconds, or bytes and what makes gigabytes and milliseconds of bytes and nanoseconds.
        let amount = if is_small { self.done as f64 } else { (self.done as u64 * LARGE) as f64 };
        let cost = |cpu: Duration| cpu.as_nanos() as f64 / amount * if is_small { 1e-3 } else { 1e3 };
        match quantity {
            Quantity::Rate => Some(amount / self.elapsed.as_secs_f64()),
            Quantity::Throughput => Some(amount / self.elapsed.as_secs_f64() / 1e6),
            Quantity::Median => percentile(&self.latencies, 50),
            Quantity::Tail => percentile(&self.latencies, 99),
            Quantity::Cpu => self.cpu.map(cost),
            Quantity::CpuBehind => Some(cost(self.cpu_behind)),
        }
    }
}

/// Of sorted times, in microseconds.
fn percentile(times: &[Duration], percent: usize) -> Option<f64> {
    let last = times.len().checked_sub(1)?;
    Some(times[last * percent / 100].as_nanos() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=101).map(Duration::from_micros).collect();
        assert_eq!(percentile(&times, 50), Some(51.0));
        assert_eq!(percentile(&times, 99), Some(100.0));
        assert_eq!(percentile(&times[..1], 99), Some(1.0));
        assert_eq!(percentile(&[], 99), None);
    }
}
