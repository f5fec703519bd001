//! Forwarders: what comes in goes to a server near the listener.

use std::ffi::c_char;
use std::sync::Arc;

use hybridrelay_bindings_common::core::Forwarder;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::forwarding::Forwarding;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::{Failure, operation};

use crate::boundary::{Out, required, run, wait};
use crate::error::{hr_code, hr_error};
use crate::listener::{LISTENERS, hr_listener};
use crate::options::{Options, hr_options};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static FORWARDERS: Table<Arc<Forwarding>> = Table::new(26, "a forwarder");

/// A forwarder at work.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_forwarder {
    /// Not yours to read.
    pub id: u64,
}

fn get(forwarder: hr_forwarder) -> Result<Arc<Forwarding>> {
    FORWARDERS.get(Handle(forwarder.id))
}

/// Begins to send everything that comes in at a listener to a server near it, in the background. `target` is `http://host:port`, with a path if
/// need be, or `https://…`: requests as requests, relayed WebSockets as WebSockets; or `tcp://host:port`, `unix:/path`: connections as
/// bytes, requests are answered 501. A server that cannot be reached gives the sender 502.
///
/// Of the options these count: HR_OPT_FORWARD_STRIP, HR_OPT_FORWARD_REWRITE, HR_OPT_FORWARD_HEADERS, and for an `https://` server
/// HR_OPT_EXTRA_CA_PEM and HR_OPT_INSECURE_SKIP_VERIFY. {0} stands for the defaults. What else accepts on the listener gets a part of what comes.
/// Release it with hr_forwarder_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_forward(
    listener: hr_listener,
    target: *const c_char,
    target_len: usize,
    options: hr_options,
    forwarder: *mut hr_forwarder,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("forwarder", forwarder)?;
            let target = required("target", target, target_len)?;
            Forwarder::check(target)?;
            let listener = LISTENERS.get(Handle(listener.id))?.listener;
            let forwarder = Options::of(options)?.forwarder(listener.forward(target));
            out.set(hr_forwarder { id: FORWARDERS.insert(Arc::new(Forwarding::start(forwarder)?))?.0 });
            Ok(())
        })
    }
}

/// Stops a forwarder in good order: what still comes is refused with 503, answers under way are finished, then the listener is closed.
/// Connections go on. Never waits: see hr_forwarder_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_stop(forwarder: hr_forwarder, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            get(forwarder)?.stop();
            Ok(())
        })
    }
}

/// Waits until a forwarder has ended: HR_OK after hr_forwarder_stop and hr_listener_close, else why it has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_wait(
    forwarder: hr_forwarder,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(get(forwarder)?.outcome(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_wait_submit(
    forwarder: hr_forwarder,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let forwarder = get(forwarder)?;
            let queue = queue_of(queue)?;
            let future = async move { forwarder.outcome().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Waits for a sender that could not be forwarded, or whose exchange broke off: `failure` gets why, with the tracking id, and is yours to
/// free. The forwarder goes on. 256 wait at most, later ones are dropped. HR_END once the forwarder and its last connection have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_failure(
    forwarder: hr_forwarder,
    timeout_ms: u32,
    failure: *mut *mut hr_error,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("failure", failure)?;
            let failed = wait(get(forwarder)?.failure(), timeout_ms)?;
            out.set(hr_error::boxed(Failure::Core(failed)));
            Ok(())
        })
    }
}

/// The same for a queue: the completion's `error` holds the failure, and its code is HR_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_failure_submit(
    forwarder: hr_forwarder,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let forwarder = get(forwarder)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Failure(Failure::Core(forwarder.failure().await?))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Releases a forwarder. One that is at work takes on nothing more from now on, and the listener stays; answers that are under way and
/// connections go on. Whoever waits in a call for it gets HR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_forwarder_release(forwarder: hr_forwarder, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            FORWARDERS.remove(Handle(forwarder.id))?.end();
            Ok(())
        })
    }
}
