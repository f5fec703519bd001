//! The demonstration's transfer: random bytes there, their digest back.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::{Connection, Error, ErrorKind, Result, Sender};
use hybridrelay_relay::LocalRelay;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

use super::{ENTITY, tell};

/// The size of a message.
pub(super) const CHUNK: usize = 64 * 1024;

/// A stream's length and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Received {
    /// Reads a connection to its end.
    pub(super) async fn all_of(connection: &Connection) -> Result<Self> {
        let mut digest = Sha256::new();
        let mut bytes = 0;
        while let Some(message) = connection.receive().await? {
            digest.update(message.as_bytes());
            bytes += message.len() as u64;
        }
        Ok(Self::new(bytes, digest))
    }

    pub(super) fn new(bytes: u64, digest: Sha256) -> Self {
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, sha256 }
    }

    pub(super) fn to_text(&self) -> String {
        format!("{} {}", self.bytes, self.sha256)
    }

    fn parse(text: &str) -> Option<Self> {
        let (bytes, sha256) = text.split_once(' ')?;
        Some(Self { bytes: bytes.parse().ok()?, sha256: sha256.to_owned() })
    }
}

/// What both sides saw.
pub(super) struct Report {
    pub(super) sent: Received,
    pub(super) received: Received,
    took: Duration,
}

impl Report {
    pub(super) fn mebibytes_per_second(&self) -> f64 {
        self.sent.bytes as f64 / f64::from(1 << 20) / self.took.as_secs_f64().max(1e-9)
    }
}

/// Sends `size` random bytes and asks what came.
pub(super) async fn send(env: &Env, relay: &LocalRelay, ca: &str, size: u64) -> Result<Report> {
    let sender = Sender::builder(relay.connection_string(ENTITY)).extra_ca_pem(ca).build()?;
    let connection = sender.connect().path("/transfer").await?;
    let progress = Progress::start(size);
    let begun = env.now();
    let mut noise = Noise::new(env);
    let mut digest = Sha256::new();
    let mut left = size;
    while left > 0 {
        // Never more than a chunk, so the conversion holds.
        let mut chunk = vec![0; left.min(CHUNK as u64) as usize];
        noise.fill(&mut chunk);
        digest.update(&chunk);
        left -= chunk.len() as u64;
        connection.send(chunk).await?;
        progress.at(size - left);
    }
    connection.shutdown().await?;
    let answer = connection.receive().await?;
    let took = env.now().saturating_duration_since(begun);
    connection.close().await?;
    progress.finish();
    let received = answer.as_ref().and_then(|message| message.as_text()).and_then(Received::parse);
    let received = received.ok_or_else(|| Error::new(ErrorKind::Internal, "the listener did not tell what came"))?;
    Ok(Report { sent: Received::new(size, digest), received, took })
}

/// A bar at a terminal, a line at each quarter elsewhere.
struct Progress {
    size: u64,
    bar: Option<ProgressBar>,
    quarters: Cell<u64>,
}

impl Progress {
    fn start(size: u64) -> Self {
        tell(format_args!(
            "\n  The sender sends {} of random bytes; the listener answers with what it got.",
            HumanBytes(size)
        ));
        let bar = io::stdout().is_terminal().then(|| {
            let style = ProgressStyle::with_template("  {bar:50} {bytes} of {total_bytes}, {binary_bytes_per_sec}");
            let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stdout());
            // The template is a constant that parses.
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { size, bar, quarters: Cell::new(0) }
    }

    fn at(&self, sent: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(sent),
            None => {
                let quarters = sent * 4 / self.size;
                if quarters > self.quarters.replace(quarters) {
                    tell(format_args!("  {:>3} %", quarters * 25));
                }
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

/// Bytes without a pattern (xorshift64*), faster than the network and not for secrets.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(env: &Env) -> Self {
        // Zero is the one state that stays.
        Self(u64::from_le_bytes(env.random()) | 1)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }
}
