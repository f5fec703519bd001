//! What a process keeps of the one that it was forked from. In a process of its own, which has no threads but those of its tests.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, clippy::disallowed_methods)] // Nothing safe forks, and real threads wait in real time.

use std::io::{Read, Write, pipe};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hybridrelay_bindings_common::process::{Birth, PerProcess};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const LONG: Duration = Duration::from_secs(60);

/// What a child ends with if it cannot be shown here.
const LEFT_OUT: i32 = 77;

/// A child that ends with what `run` returns, or after a minute.
fn child(run: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the child allocates, which the C library allows, and waits for no other thread of this process.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // SAFETY: a number; and it ends the child without anything of the parent's.
            unsafe {
                libc::alarm(60);
                libc::_exit(run())
            }
        }
    }
}

fn end_of(child: Pid) -> i32 {
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) => code,
        other => panic!("the child did not end by itself: {other:?}"),
    }
}

#[test]
fn a_child_with_the_pid_of_an_ancestor_that_is_dead_is_another_process() {
    static STATE: PerProcess<AtomicU32> = PerProcess::new();

    /// Process 2, whose child lives on, and makes one that is process 2 as well.
    fn ancestor(mut may_go_on: impl Read) -> i32 {
        let birth = Birth::here();
        STATE.get().0.store(7, Ordering::SeqCst);
        let pid = std::process::id();
        child(move || {
            may_go_on.read_exact(&mut [0]).expect("the ancestor is dead");
            if std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
                return LEFT_OUT;
            }
            end_of(child(|| match () {
                () if std::process::id() != pid => 1,
                () if birth.check().is_ok() => 2,
                () if STATE.get().0.load(Ordering::SeqCst) == 7 => 3,
                () => 0,
            }))
        });
        0
    }

    // Numbers are given as one likes in a namespace of one's own, whose first process inherits the children of those that die.
    let outside = child(|| match unshare(CloneFlags::CLONE_NEWPID) {
        Err(_) => LEFT_OUT,
        Ok(()) => end_of(child(|| {
            let (reader, mut writer) = pipe().expect("descriptors");
            let second = child(|| ancestor(reader));
            if end_of(second) != 0 {
                return 4;
            }
            writer.write_all(&[1]).expect("a process waits");
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(_, code)) => code,
                _ => 5,
            }
        })),
    });
    match end_of(outside) {
        LEFT_OUT => eprintln!("left out: the system gives no pid namespaces, or no pids of one's choice"),
        code => assert_eq!(code, 0),
    }
    assert_eq!(waitpid(outside, None), Err(Errno::ECHILD), "it is gone");
}

#[test]
fn a_fork_while_another_thread_begins_a_state_leaves_the_child_free_to_begin_its_own() {
    static STATE: PerProcess<Slow> = PerProcess::new();
    static HELD: Mutex<Option<(Sender<()>, Receiver<()>)>> = Mutex::new(None);
    static NAMES: AtomicU32 = AtomicU32::new(0);
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

    /// The first one begins only when it may.
    struct Slow(u32);
    impl Default for Slow {
        fn default() -> Self {
            if !HAS_BEGUN.swap(true, Ordering::SeqCst) {
                let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (begins, may_go_on) = held.expect("the test holds it");
                begins.send(()).expect("the test waits");
                may_go_on.recv_timeout(LONG).expect("it may go on");
            }
            Self(NAMES.fetch_add(1, Ordering::SeqCst))
        }
    }

    let ((begins, began), (go_on, may_go_on)) = (channel(), channel());
    *HELD.lock().expect("no panic") = Some((begins, may_go_on));
    let beginning = thread::spawn(|| STATE.get().0.0);
    began.recv_timeout(LONG).expect("it begins");
    let forked = child(|| {
        let (state, before) = STATE.get();
        i32::from(before != 0) + i32::from(!std::ptr::eq(STATE.get().0, state))
    });
    assert_eq!(end_of(forked), 0);
    go_on.send(()).expect("it waits");
    let state = beginning.join().expect("no panic");
    assert_eq!(STATE.get().0.0, state, "one for all threads");
}

#[test]
fn threads_that_begin_a_state_at_once_have_the_same() {
    for _ in 0..100 {
        let state = PerProcess::<Mutex<u32>>::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| *state.get().0.lock().expect("no panic") += 1);
            }
        });
        assert_eq!(*state.get().0.lock().expect("no panic"), 4);
    }
}
