//! Listeners.

use std::ffi::c_char;
use std::sync::{Arc, Mutex};

use hybridrelay_bindings_common::core::{
    Error, Incoming, Listener, ListenerBuilder, Status, StatusWatcher, TokenProvider,
};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::options::target;
use hybridrelay_bindings_common::returns::{Returns, Taken};
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, block_on, required, run, text, wait};
use crate::error::{HR_OK, hr_code, hr_error};
use crate::incoming::{self, Waiting, hr_incoming};
use crate::news::{News, last_told};
use crate::options::{Options, hr_options, set_token};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static LISTENERS: Table<Object> = Table::new(2, "a listener");

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) listener: Listener,
    status: Arc<Mutex<StatusWatcher>>,
    token: Option<TokenProvider>,
    /// What has come, and not for the program.
    accepted: Arc<Returns<Waiting>>,
}

impl Object {
    fn new(listener: Listener, token: Option<TokenProvider>) -> Self {
        let status = Arc::new(Mutex::new(listener.status()));
        Self { listener, status, token, accepted: Arc::default() }
    }

    async fn close(&self) {
        self.accepted.end();
        self.listener.close().await;
    }
}

/// A listener: it is online under a hybrid connection, survives the loss of the network, and gets senders.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_listener {
    /// Not yours to read.
    pub id: u64,
}

/// Whether a listener is online. Tolerate numbers you do not know.
pub type hr_status = u32;

/// The first connection is being made.
pub const HR_STATUS_CONNECTING: hr_status = 1;
/// Senders reach the listener.
pub const HR_STATUS_ONLINE: hr_status = 2;
/// The control channel was lost and is being opened again.
pub const HR_STATUS_OFFLINE: hr_status = 3;
/// The listener has ended for good.
pub const HR_STATUS_CLOSED: hr_status = 4;

/// Opens a listener. Returns when it is online. A call that times out has given the attempt up.
///
/// A connection string of NULL stands for the environment: HYBRIDRELAY_CONNECTION_STRING, or the file that
/// HYBRIDRELAY_CONNECTION_STRING_FILE names. An address such as `sb://host/entity` needs HR_OPT_TOKEN.
///
/// Release it with hr_listener_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_open(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    timeout_ms: u32,
    listener: *mut hr_listener,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("listener", listener)?;
            let (builder, token) = prepare(text("connection_string", connection_string, len)?, options)?;
            out.set(insert(Object::new(wait(builder.open(), timeout_ms)?, token))?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the listener.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_open_submit(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (builder, token) = prepare(text("connection_string", connection_string, len)?, options)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Listener(Box::new(Object::new(builder.open().await?, token)))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

fn prepare(connection_string: Option<&str>, options: hr_options) -> Result<(ListenerBuilder, Option<TokenProvider>)> {
    let options = Options::of(options)?;
    Ok((options.listener(Listener::builder(target(connection_string)))?, options.token()))
}

pub(crate) fn insert(object: Object) -> Result<hr_listener> {
    Ok(hr_listener { id: LISTENERS.insert(object)?.0 })
}

/// Waits for a sender, or for a sender's HTTP request: see hr_incoming_kind.
///
/// HR_END after hr_listener_close. A final failure is told once, then HR_END. Accept a sender with hr_incoming_accept, take a request with
/// hr_incoming_into_request, or refuse either with hr_incoming_reject; a sender that is released unanswered is refused with 503, a request
/// with 501.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_accept(
    listener: hr_listener,
    timeout_ms: u32,
    incoming: *mut hr_incoming,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("incoming", incoming)?;
            let object = LISTENERS.get(Handle(listener.id))?;
            out.set(incoming::insert(wait(next(object), timeout_ms)?.keep())?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the sender or the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_accept_submit(
    listener: hr_listener,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let queue = queue_of(queue)?;
            let object = LISTENERS.get(Handle(listener.id))?;
            let future = async move { Ok(Value::Incoming(Box::new(next(object).await?))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// The next sender or request. Cancel-safe: what came and was not handed over stays with the listener.
async fn next(object: Object) -> Result<Taken<Waiting>> {
    let more = async {
        loop {
            match object.listener.accept().await? {
                Some(Incoming::Connect(connect)) => return Ok(Some(Waiting::Connect(connect))),
                Some(Incoming::Request(request)) => return Ok(Some(Waiting::Request(request))),
                // Dropped, which refuses it.
                Some(_) => {}
                None => return Ok(None),
            }
        }
    };
    object.accepted.next(more).await?.ok_or_else(|| Failure::new(Code::END, "the listener was closed"))
}

/// Replaces the token that a listener was opened with by HR_OPT_TOKEN: it is shown to the relay at once, and whenever the listener gets
/// online again. The text is copied. May be called from any thread, also while others wait on the listener.
///
/// HR_INVALID_ARGUMENT for an empty text, and for a listener that was opened without HR_OPT_TOKEN. What the relay thinks of the token
/// is told by the status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_set_token(
    listener: hr_listener,
    token: *const c_char,
    token_len: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let token = required("token", token, token_len)?;
            set_token(LISTENERS.get(Handle(listener.id))?.token, token)
        })
    }
}

/// Whether a listener is online, now. `reason`, unless it is NULL, gets why it is not: HR_OK if there is no reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_status(
    listener: hr_listener,
    status: *mut hr_status,
    reason: *mut hr_code,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("status", status)?;
            let object = LISTENERS.get(Handle(listener.id))?;
            let current = object.listener.status().current();
            store(&current, out, reason);
            Ok(())
        })
    }
}

/// Waits for a change of the status that no call on this listener has told of, and tells the newest. What was over before it looked is
/// skipped. HR_END once the listener has ended and its end was told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_wait_status(
    listener: hr_listener,
    timeout_ms: u32,
    status: *mut hr_status,
    reason: *mut hr_code,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("status", status)?;
            let changed = changed(LISTENERS.get(Handle(listener.id))?.status);
            store(&wait(changed, timeout_ms)?.tell(), out, reason);
            Ok(())
        })
    }
}

/// The same for a queue: the completion's `number` is the status; its `error` says why it is not online, with the code HR_OK, and is NULL if
/// there is no reason. It does not keep the listener online: releasing the listener ends it with HR_STATUS_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_wait_status_submit(
    listener: hr_listener,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let changed = changed(LISTENERS.get(Handle(listener.id))?.status);
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Status(Box::new(changed.await?))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

async fn changed(told: Arc<Mutex<StatusWatcher>>) -> Result<News<StatusWatcher, Status>> {
    let mut watcher = last_told(&told);
    let status = watcher.changed().await.ok_or_else(|| Failure::new(Code::END, "the listener has ended"))?;
    Ok(News::new(status, watcher, told))
}

unsafe fn store(status: &Status, out: Out<hr_status>, reason: *mut hr_code) {
    let (number, why) = number_and_reason(status);
    // SAFETY: as the caller of the entry point says.
    unsafe {
        out.set(number);
        if !reason.is_null() {
            reason.write(why.map_or(HR_OK, |error| Code::of(error.kind()).0));
        }
    }
}

/// A status as C knows it, and why a listener is not online.
pub(crate) fn number_and_reason(status: &Status) -> (hr_status, Option<&Error>) {
    match status {
        Status::Connecting => (HR_STATUS_CONNECTING, None),
        Status::Online { .. } => (HR_STATUS_ONLINE, None),
        Status::Offline { error, .. } => (HR_STATUS_OFFLINE, Some(error)),
        Status::Closed { error } => (HR_STATUS_CLOSED, error.as_ref()),
        _ => (0, None),
    }
}

/// Closes a listener: no sender comes any more, whoever waits in a call for one gets HR_END, connections that were accepted go on.
/// Closing it twice does nothing. Release it all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_close(
    listener: hr_listener,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let object = LISTENERS.get(Handle(listener.id))?;
            block_on(object.close(), timeout_ms)
        })
    }
}

/// The same for a queue. One that is cancelled closes the listener all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_close_submit(
    listener: hr_listener,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let object = LISTENERS.get(Handle(listener.id))?;
            let queue = queue_of(queue)?;
            let future = async move {
                object.close().await;
                Ok(Value::None)
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Releases a listener. One that was not closed goes offline, as soon as no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_release(listener: hr_listener, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || LISTENERS.remove(Handle(listener.id)).map(drop)) }
}
