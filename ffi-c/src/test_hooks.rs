//! What can go wrong, on demand.

use hybridrelay_bindings_common::{Code, operation, test_hooks};

use crate::boundary::{run, wait};
use crate::error::{hr_code, hr_error};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

/// Panics.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_test_panic(error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, test_hooks::panic_in_call) }
}

/// Fails with a code and everything that an error may tell.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_test_fail(code: hr_code, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || test_hooks::fail(Code(code))) }
}

/// An operation that panics, or one that never ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_test_submit(
    panics: bool,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let queue = queue_of(queue)?;
            let future = async move {
                if panics {
                    test_hooks::panic_in_task().await?;
                } else {
                    test_hooks::hang().await?;
                }
                Ok(Value::None)
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// A blocking call that never ends. That it waits is told by a completion of operation 0 in the queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_test_wait(
    queue: hr_queue,
    tag: u64,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let queue = queue_of(queue)?;
            let hangs = async {
                queue.post(tag, Value::None);
                test_hooks::hang().await
            };
            wait(hangs, timeout_ms)
        })
    }
}
