//! What becomes of everything when the library's threads end. In a process of its own: no other test may lose its threads.
#![allow(clippy::disallowed_methods)] // Real threads wait in real time.

use std::sync::mpsc;
use std::time::Duration;

use hybridrelay::ErrorKind;
use hybridrelay_bindings_common::call::block_on;
use hybridrelay_bindings_common::operation::{self, Begun};
use hybridrelay_bindings_common::queue::Queue;
use hybridrelay_bindings_common::{Code, Failure, runtime};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_end_of_the_threads_is_the_end_of_all_that_waits_for_them() {
    let queue = Queue::<()>::new().expect("descriptors");
    let hangs = operation::submit(&queue, 7, std::future::pending()).expect("a runtime");
    let waiting = std::thread::spawn({
        let queue = queue.clone();
        move || queue.next(Some(LONG))
    });
    let (begins, began) = mpsc::channel();
    let blocks = async move {
        begins.send(()).expect("the test waits");
        std::future::pending::<()>().await;
    };
    let blocked = std::thread::spawn(|| block_on(blocks, Some(LONG)));
    began.recv_timeout(LONG).expect("it blocks");
    // It wakes when the task is dropped.
    let (held, holds) = tokio::sync::oneshot::channel::<()>();
    runtime::handle().expect("a runtime").spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let attended = Queue::<()>::new().expect("descriptors");
    let wakes = async { holds.await.map_err(|_| Failure::new(Code::END, "dropped")) };
    let Ok(Begun::Waits(wakes)) = operation::begin(wakes) else { panic!("it waits") };
    operation::attend(&attended, 8, wakes);

    runtime::shutdown(LONG);
    #[cfg(target_os = "linux")]
    {
        // The system lists a thread for a moment longer than it runs.
        let began = std::time::Instant::now();
        while threads() > 0 {
            assert!(began.elapsed() < LONG, "threads are left, or there are new ones");
            std::thread::yield_now();
        }
    }

    let end = waiting.join().expect("no panic").expect("an end");
    assert_eq!((end.tag, end.operation), (7, hangs));
    let closed = Code::of(ErrorKind::Closed);
    assert_eq!(end.result.expect_err("it had not ended").code(), closed);
    assert_eq!(blocked.join().expect("no panic").expect_err("no threads").code(), closed);
    let end = attended.next(Some(LONG)).expect("an end");
    assert_eq!((end.tag, end.result.expect_err("dropped").code()), (8, Code::END));
    assert_eq!(operation::under_way(), 0);

    // Also from within: on a thread of the library, which does not wait for itself, and in a call that waits.
    let (tell, told) = mpsc::channel();
    let ends = async move {
        runtime::shutdown(LONG);
        tell.send(()).expect("the test waits");
    };
    runtime::handle().expect("threads anew").spawn(ends);
    told.recv_timeout(LONG).expect("no panic");
    let (tell, told) = mpsc::channel();
    let mut drives = false;
    let ends = std::future::poll_fn(move |cx| {
        // The first look is made before the call waits.
        if std::mem::replace(&mut drives, true) {
            runtime::handle().expect("threads anew");
            runtime::shutdown(LONG);
            tell.send(()).expect("the test waits");
        } else {
            cx.waker().wake_by_ref();
        }
        std::task::Poll::<()>::Pending
    });
    assert_eq!(block_on(ends, Some(LONG)).expect_err("no threads").code(), closed);
    told.try_recv().expect("no panic");

    // Also from a thread that ends, and whose own traces of a runtime are gone.
    struct Ends(std::cell::Cell<Option<mpsc::Sender<()>>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            runtime::shutdown(LONG);
            let _ = self.0.take().map(|tell| tell.send(()));
        }
    }
    thread_local! {
        static ENDS: Ends = const { Ends(std::cell::Cell::new(None)) };
    }
    let (tell, told) = mpsc::channel();
    let ending = std::thread::spawn(move || {
        ENDS.with(|ends| ends.0.set(Some(tell)));
        runtime::handle().expect("threads anew");
        block_on(tokio::task::yield_now(), None)
    });
    ending.join().expect("no panic").expect("threads anew");
    told.recv_timeout(LONG).expect("no panic");
}

/// How many threads of the library there are.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this process");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "hybridrelay").count()
}
