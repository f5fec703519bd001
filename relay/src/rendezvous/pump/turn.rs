//! How long a pair goes on before other tasks have their turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

/// How many buffers of each direction a turn moves while somebody else waits for one.
const SHORT: usize = 4;

/// How many while nobody is known to wait. To give way costs more than a buffer: the runtime calls another of its threads, which
/// takes the pair over without anything that the caches of this one hold.
const LONG: usize = 32;

/// How many have given way and wait, in the whole process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The turns of one pair.
#[derive(Default)]
pub(super) struct Turn {
    waits: bool,
}

impl Turn {
    /// It has its turn: how many buffers it may move.
    pub(super) fn begin(&mut self) -> usize {
        self.end_waiting();
        if WAITING.load(Ordering::Relaxed) == 0 { LONG } else { SHORT }
    }

    /// It had its turn, and wants another one.
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>) {
        debug_assert!(!self.waits, "a turn begins before it ends");
        self.waits = true;
        WAITING.fetch_add(1, Ordering::Relaxed);
        cx.waker().wake_by_ref();
    }

    fn end_waiting(&mut self) {
        if std::mem::take(&mut self.waits) {
            WAITING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end_waiting();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Real threads wait in real time.
    fn turns_are_short_while_others_wait() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut one, mut other) = (Turn::default(), Turn::default());
        one.begin();
        one.give_way(&mut cx);
        assert_eq!(other.begin(), SHORT);
        other.give_way(&mut cx);
        assert_eq!(one.begin(), SHORT);
        drop((one, other));
        // Whoever is gone waits no more; other tests do, but never for long.
        let began = Instant::now();
        while Turn::default().begin() == SHORT {
            assert!(began.elapsed() < Duration::from_secs(60), "somebody waits for ever");
            std::thread::yield_now();
        }
    }
}
