//! One waker for a socket that several tasks wait on.

use std::sync::Arc;
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// Who waits on a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    Reader,
    Writer,
    Keeper,
}

/// A socket remembers one waker for each direction, and TLS mixes the directions up. So the socket is always polled with the
/// fan, which wakes everybody who registered: nobody's wake-up can be displaced by another's poll.
#[derive(Debug, Default)]
pub(super) struct Fan([AtomicWaker; 3]);

impl Fan {
    pub(super) fn register(&self, waiter: Waiter, waker: &Waker) {
        self.0[waiter as usize].register(waker);
    }

    pub(super) fn wake(&self, waiter: Waiter) {
        self.0[waiter as usize].wake();
    }

    pub(super) fn wake_all(&self) {
        for slot in &self.0 {
            slot.wake();
        }
    }
}

impl Wake for Fan {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
