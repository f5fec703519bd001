//! Masking keys of what we send.

use crate::env::Env;

/// Unpredictable masking keys (RFC 6455 5.3), drawn from the environment by the batch.
pub(crate) struct MaskKeys {
    env: Env,
    batch: [u8; Self::BATCH],
    used: usize,
}

impl MaskKeys {
    const BATCH: usize = 128;

    pub(crate) fn new(env: Env) -> Self {
        Self { env, batch: [0; Self::BATCH], used: Self::BATCH }
    }

    pub(crate) fn next(&mut self) -> [u8; 4] {
        if self.used == Self::BATCH {
            self.batch = self.env.random();
            self.used = 0;
        }
        let key = &self.batch[self.used..self.used + 4];
        self.used += 4;
        [key[0], key[1], key[2], key[3]]
    }
}
