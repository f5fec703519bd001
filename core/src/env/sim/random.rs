//! Randomness that a seed decides.

use std::sync::atomic::{AtomicU64, Ordering};

use super::trace::hash;

/// SplitMix64: small, quick, and good enough where nobody attacks. Every host draws from a stream of its own, so that one more
/// draw on one host changes nothing on another.
pub(super) struct Random(AtomicU64);

impl Random {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    pub(super) fn new(seed: u64, host: &str) -> Self {
        Self(AtomicU64::new(mix(seed) ^ hash(host.as_bytes())))
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.fetch_add(Self::STEP, Ordering::Relaxed).wrapping_add(Self::STEP);
            chunk.copy_from_slice(&mix(state).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
