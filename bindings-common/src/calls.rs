//! The runtime that blocking calls drive themselves.
//!
//! If a thread of ours looked after the sockets, it would be woken for each message only to wake the thread that waits: two switches
//! instead of one. So what blocking calls begin lives on a runtime of one thread, and that thread is whoever waits: it runs the tasks of
//! all until its own call has ended. Of several that wait one drives, and wakes the others. While nobody waits a thread of ours
//! stands in: a listener answers pings and comes back while the host is busy elsewhere.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};
use futures_util::future::lazy;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::call::late;
use crate::errors::Result;
use crate::lock;
use crate::process::PerProcess;
use crate::runtime::{self, no_threads, shut_down};

/// How long the stand-in waits for another call before it takes over, at first. Calls mostly follow each other at once, and each handing
/// over costs two switches.
const TICK: Duration = Duration::from_millis(1);

/// And how long at most, after calls that have followed each other for a while: to look for the next one costs as well.
const LONGEST_TICK: Duration = Duration::from_millis(8);

static CALLS: PerProcess<Current> = PerProcess::new();

/// What every call asks for, and so finds without a lock.
#[derive(Default)]
struct Current {
    calls: ArcSwapOption<Calls>,
    /// Whoever begins the runtime or ends it holds the lock.
    stand_in: Mutex<Option<StandIn>>,
}

/// The runtime, and its stand-in.
struct Running {
    calls: Arc<Calls>,
    stand_in: StandIn,
}

/// A thread, and what tells that it is about to end.
struct StandIn {
    thread: thread::JoinHandle<()>,
    ending: Receiver<Infallible>,
}

pub(crate) struct Calls {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    seat: Seat,
    over: AtomicBool,
    ending: Notify,
}

/// The runtime of this process's blocking calls, made now if there is none.
pub(crate) fn get() -> Result<impl Deref<Target = Calls>> {
    let current = CALLS.get().0;
    let calls = current.calls.load();
    match &*calls {
        Some(_) => Ok(Got(calls)),
        None => current.begin(),
    }
}

/// Ends it: calls that wait fail with `CLOSED`, tasks are dropped. Waits `limit` at most.
pub(crate) fn shutdown(limit: Duration) {
    let current = CALLS.get().0;
    let running = {
        let mut stand_in = lock(&current.stand_in);
        current.calls.swap(None).zip(stand_in.take())
    };
    if let Some((calls, stand_in)) = running {
        end(Running { calls, stand_in }, limit);
    }
}

/// Never without one.
struct Got(Guard<Option<Arc<Calls>>>);

impl Current {
    fn begin(&self) -> Result<Got> {
        let mut stand_in = lock(&self.stand_in);
        // Somebody else may have been faster.
        if stand_in.is_none() {
            let started = start().map_err(no_threads)?;
            self.calls.store(Some(started.calls));
            *stand_in = Some(started.stand_in);
        }
        Ok(Got(self.calls.load()))
    }
}

impl Deref for Got {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        self.0.as_ref().expect("only made with one")
    }
}

fn start() -> std::io::Result<Running> {
    let runtime = Builder::new_current_thread()
        .thread_name("hybridrelay")
        .on_thread_start(runtime::begin_thread)
        .enable_all()
        .build()?;
    let calls = Arc::new(Calls {
        handle: runtime.handle().clone(),
        runtime: Some(runtime),
        seat: Seat::default(),
        over: AtomicBool::new(false),
        ending: Notify::new(),
    });
    let (alive, ending) = channel();
    let standing_in = calls.clone();
    let thread = thread::Builder::new().name("hybridrelay".to_owned()).spawn(move || {
        runtime::begin_thread();
        standing_in.stand_in();
        drop(standing_in);
        drop(alive);
    })?;
    // Nobody else sets it.
    let _ = calls.seat.stand_in.set(thread.thread().clone());
    Ok(Running { calls, stand_in: StandIn { thread, ending } })
}

fn end(Running { calls, stand_in }: Running, limit: Duration) {
    let began = Instant::now();
    calls.over.store(true, Ordering::SeqCst);
    calls.ending.notify_waiters();
    calls.seat.call_stand_in();
    // Its end is the only thing that comes.
    if stand_in.ending.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected) {
        // What it still runs, a moment long, is code of this library, which may be gone as soon as we return.
        let _ = stand_in.thread.join();
    }
    // Whoever still waits has been told, and the last one ends the runtime.
    if let Some(mut calls) = Arc::into_inner(calls)
        && let Some(runtime) = calls.runtime.take()
    {
        runtime.shutdown_timeout(limit.saturating_sub(began.elapsed()));
    }
}

impl Calls {
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Begins a task. If nobody drives at this moment, whoever does next finds it, and nothing need wake him. Only on a thread that is in
    /// no runtime.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(lazy(|_| tokio::spawn(task))),
            None => self.handle.spawn(task),
        }
    }

    /// Waits on this thread, and drives the runtime meanwhile. Only on a thread of the [host's](runtime::Role) that does not yet.
    ///
    /// # Errors
    ///
    /// `TIMEOUT` at the deadline, `CLOSED` if the runtime ends.
    pub(crate) fn drive<F: Future>(&self, future: Pin<&mut F>, deadline: Option<Instant>) -> Result<F::Output> {
        let _waits = self.seat.take();
        let _drives = runtime::drives();
        // Told of the end from now on, so that none is missed between the look and the wait.
        let ending = self.ending.notified();
        if self.over.load(Ordering::SeqCst) {
            return Err(shut_down());
        }
        let deadline = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => pending().await,
            }
        };
        let waiting = async {
            tokio::select! {
                biased;
                output = future => Ok(output),
                () = ending => Err(shut_down()),
                () = deadline => Err(late()),
            }
        };
        match &self.runtime {
            Some(runtime) => runtime.block_on(waiting),
            None => Err(shut_down()),
        }
    }

    /// Drives while nobody else does, until the end.
    fn stand_in(&self) {
        let Some(runtime) = &self.runtime else { return };
        loop {
            let ending = self.ending.notified();
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            self.seat.stand_in(|give_way| {
                runtime.block_on(async {
                    tokio::select! {
                        () = give_way.notified() => {}
                        () = ending => {}
                    }
                });
            });
            self.seat.rest(&self.over);
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who drives. The runtime itself takes care that only one does, and that another one follows; here the stand-in learns when it is wanted.
///
/// Each side writes its own word before it reads the other's, in one order for all, so that at least one of two sees the other.
#[derive(Default)]
struct Seat {
    /// How many of the host's threads wait.
    hosts: AtomicUsize,
    /// How many have ended to wait, ever.
    waits: AtomicUsize,
    /// Whether the stand-in drives, or is about to.
    standing_in: AtomicBool,
    /// Whether the stand-in is to be called when nobody waits any more.
    asleep: AtomicBool,
    give_way: Notify,
    stand_in: OnceLock<Thread>,
}

/// A thread of the host's that waits.
struct Waits<'a>(&'a Seat);

impl Seat {
    fn take(&self) -> Waits<'_> {
        self.hosts.fetch_add(1, Ordering::SeqCst);
        if self.standing_in.load(Ordering::SeqCst) {
            self.give_way.notify_one();
        }
        Waits(self)
    }

    fn stand_in(&self, drive: impl FnOnce(&Notify)) {
        self.standing_in.store(true, Ordering::SeqCst);
        if self.hosts.load(Ordering::SeqCst) == 0 {
            drive(&self.give_way);
        }
        self.standing_in.store(false, Ordering::SeqCst);
    }

    /// Returns when nobody has waited for a while, or at the end.
    fn rest(&self, over: &AtomicBool) {
        let mut tick = TICK;
        while !over.load(Ordering::SeqCst) {
            let before = self.waits.load(Ordering::SeqCst);
            thread::park_timeout(tick);
            if self.waits.load(Ordering::SeqCst) != before {
                tick = LONGEST_TICK.min(tick * 2);
                continue;
            }
            if self.hosts.load(Ordering::SeqCst) == 0 {
                return;
            }
            // Somebody waits for long: no need to look every now and then.
            self.asleep.store(true, Ordering::SeqCst);
            while self.hosts.load(Ordering::SeqCst) > 0 && !over.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }

    fn call_stand_in(&self) {
        if let Some(thread) = self.stand_in.get() {
            thread.unpark();
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let seat = self.0;
        seat.waits.fetch_add(1, Ordering::SeqCst);
        if seat.hosts.fetch_sub(1, Ordering::SeqCst) == 1 && seat.asleep.load(Ordering::SeqCst) {
            seat.call_stand_in();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::sync::oneshot;

    use super::*;
    use crate::errors::Code;

    const LONG: Duration = Duration::from_secs(60);

    /// A runtime of this test's own, which may end it.
    fn calls() -> Running {
        start().expect("threads")
    }

    fn wait<T>(calls: &Calls, future: impl Future<Output = T>) -> Result<T> {
        calls.drive(pin!(future), Instant::now().checked_add(LONG))
    }

    #[test]
    fn whoever_waits_drives() {
        let running = calls();
        let calls = &*running.calls;
        let here = thread::current().id();
        let began = Instant::now();
        loop {
            let task = calls.handle().spawn(async { thread::current().id() });
            // The stand-in may have been faster this time.
            if wait(calls, task).expect("in time").expect("no panic") == here {
                break;
            }
            assert!(began.elapsed() < LONG, "the waiting thread never ran a task");
        }
    }

    #[test]
    fn while_nobody_waits_tasks_go_on() {
        let running = calls();
        let calls = &*running.calls;
        for _ in 0..3 {
            wait(calls, tokio::task::yield_now()).expect("in time");
            let (tell, told) = mpsc::channel();
            calls.handle().spawn(async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                let _ = tell.send(thread::current().id());
            });
            assert_ne!(told.recv_timeout(LONG).expect("the stand-in drives"), thread::current().id());
        }
    }

    #[test]
    fn of_several_that_wait_each_gets_its_own() {
        let running = calls();
        let calls = &*running.calls;
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let (tell, told) = oneshot::channel();
                        calls.handle().spawn(async move {
                            tokio::task::yield_now().await;
                            tell.send(thread::current().id())
                        });
                        wait(calls, told).expect("in time").expect("told");
                    }
                });
            }
        });
        // One waits for what only another thread brings, and it is no thread of the runtime.
        let (tell, told) = oneshot::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(calls, told));
            tell.send(7).expect("somebody waits");
            assert_eq!(waiting.join().expect("no panic").expect("in time"), Ok(7));
        });
    }

    #[test]
    fn the_end_reaches_whoever_waits_and_whoever_comes_later() {
        let running = calls();
        let calls = running.calls.clone();
        let (held, holds) = oneshot::channel::<()>();
        calls.handle().spawn(async move {
            let _holds = holds;
            pending::<()>().await;
        });
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (calls, (waits, began)) = (calls.clone(), mpsc::channel());
                let waiting = thread::spawn(move || {
                    let future = async {
                        let _ = waits.send(());
                        pending::<()>().await;
                    };
                    wait(&calls, future).map_err(|failure| failure.code())
                });
                began.recv_timeout(LONG).expect("it waits");
                waiting
            })
            .collect();
        end(running, LONG);
        for waiting in waiting {
            assert_eq!(waiting.join().expect("no panic"), Err(Code::of(hybridrelay::ErrorKind::Closed)));
        }
        wait(&calls, async {}).expect_err("the end");
        drop(calls);
        assert!(held.is_closed(), "the tasks are dropped");
    }

    #[test]
    fn a_panic_of_whoever_drives_leaves_the_runtime_to_the_others() {
        let running = calls();
        let calls = &*running.calls;
        let mut polls = 0;
        let panics = std::future::poll_fn(|cx| {
            polls += 1;
            // Not at once, so that it happens while this thread drives.
            assert!(polls < 3, "on demand");
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        catch_unwind(AssertUnwindSafe(|| wait(calls, panics))).expect_err("a panic");
        assert_eq!(runtime::role(), runtime::Role::Host);
        assert_eq!(calls.seat.hosts.load(Ordering::SeqCst), 0);
        let (tell, told) = mpsc::channel();
        calls.handle().spawn(async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            tell.send(())
        });
        told.recv_timeout(LONG).expect("the stand-in drives");
        wait(calls, async { tokio::time::sleep(Duration::from_millis(3)).await }).expect("this thread drives");
    }

    /// Hosts that come and go at any moment, and tasks that need somebody who drives also when none is there.
    #[test]
    fn somebody_drives_whoever_comes_and_goes() {
        let running = calls();
        let calls = &*running.calls;
        thread::scope(|scope| {
            for host in 0..6_u64 {
                scope.spawn(move || {
                    let mut random = host + 1;
                    for round in 0..300 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let number = random >> 33;
                        let (tell, told) = mpsc::channel();
                        let (wake, woken) = oneshot::channel();
                        calls.handle().spawn(async move {
                            for _ in 0..number % 4 {
                                tokio::task::yield_now().await;
                            }
                            if number.is_multiple_of(16) {
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                            let _ = (wake.send(()), tell.send(()));
                        });
                        match number % 5 {
                            // It waits outside, so somebody else drives.
                            0 => told.recv_timeout(LONG).expect("somebody drives"),
                            // It gives up soon, and somebody else goes on.
                            1 => {
                                let soon = Instant::now() + Duration::from_micros(number % 1000);
                                if calls.drive(pin!(woken), Some(soon)).is_err() {
                                    told.recv_timeout(LONG).expect("somebody drives");
                                }
                            }
                            _ => {
                                wait(calls, woken).unwrap_or_else(|failure| panic!("{round}: {failure}")).expect("told")
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(calls.seat.hosts.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_end_at_any_moment_leaves_nobody_waiting() {
        for round in 0..100_u64 {
            let running = calls();
            let calls = running.calls.clone();
            let (held, holds) = oneshot::channel::<()>();
            calls.handle().spawn(async move {
                let _holds = holds;
                pending::<()>().await;
            });
            let hosts: Vec<_> = (0..3)
                .map(|host| {
                    let calls = calls.clone();
                    thread::spawn(move || {
                        let mut waits = 0_u64;
                        let sleep = || async move { tokio::time::sleep(Duration::from_micros(host * 50)).await };
                        while wait(&calls, sleep()).is_ok() {
                            waits += 1;
                            if waits.is_multiple_of(round + 2) {
                                thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            drop(calls);
            for _ in 0..round % 7 {
                thread::yield_now();
            }
            end(running, if round.is_multiple_of(3) { Duration::ZERO } else { LONG });
            for host in hosts {
                host.join().expect("no panic");
            }
            let began = Instant::now();
            while !held.is_closed() {
                assert!(began.elapsed() < LONG, "the tasks are dropped");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let running = calls();
        let late = running.calls.drive(pin!(pending::<()>()), Some(Instant::now() + Duration::from_millis(3)));
        assert_eq!(late.expect_err("nothing comes").code(), Code::of(hybridrelay::ErrorKind::Timeout));
    }
}
