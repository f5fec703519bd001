//! Senders that wait to be accepted.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};

use hybridrelay_bindings_common::core::{Connection, IncomingConnect};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, copy_out, required, run, text, wait};
use crate::connection::{self, hr_connection};
use crate::error::{hr_code, hr_error};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

/// `None` once it was answered, for whoever looked it up before.
pub(crate) type Waiting = Arc<Mutex<Option<IncomingConnect>>>;

pub(crate) static INCOMING: Table<Waiting> = Table::new(3, "an incoming sender");

/// A sender that waits. Accepting or rejecting it uses it up: the handle is released by that, whatever comes of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_incoming {
    /// Not yours to read.
    pub id: u64,
}

/// What can be asked about a sender.
pub type hr_incoming_field = u32;

/// The path behind the hybrid connection, percent-encoded as the sender wrote it; empty without one.
pub const HR_INCOMING_PATH: hr_incoming_field = 1;
/// The query without the relay's own parameters; empty without one.
pub const HR_INCOMING_QUERY: hr_incoming_field = 2;
/// The sender's address and port as the relay saw them; empty if the relay does not tell.
pub const HR_INCOMING_REMOTE_ADDRESS: hr_incoming_field = 3;
/// The sub-protocols that the sender offers, separated by ", ".
pub const HR_INCOMING_SUBPROTOCOLS: hr_incoming_field = 4;
/// The id under which relay and sender know the attempt.
pub const HR_INCOMING_TRACKING_ID: hr_incoming_field = 5;

pub(crate) fn insert(connect: IncomingConnect) -> Result<hr_incoming> {
    Ok(hr_incoming { id: INCOMING.insert(Arc::new(Mutex::new(Some(connect))))?.0 })
}

fn take(incoming: hr_incoming) -> Result<IncomingConnect> {
    let waiting = INCOMING.remove(Handle(incoming.id))?;
    let connect = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    connect.ok_or_else(answered)
}

fn answered() -> Failure {
    Failure::new(Code::INVALID_HANDLE, "the sender was answered already")
}

/// Looks at a sender that waits.
fn with<T>(incoming: hr_incoming, look: impl FnOnce(&IncomingConnect) -> Result<T>) -> Result<T> {
    let waiting = INCOMING.get(Handle(incoming.id))?;
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    look(waiting.as_ref().ok_or_else(answered)?)
}

/// Copies what is known about a sender into a buffer, with a NUL behind it. `len`, unless it is NULL, gets the length without the NUL,
/// also if the buffer is too small (HR_INVALID_ARGUMENT). A buffer of NULL with a capacity of 0 only asks for the length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_get(
    incoming: hr_incoming,
    field: hr_incoming_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let value = with(incoming, |connect| {
                Ok(match field {
                    HR_INCOMING_PATH => connect.path().to_owned(),
                    HR_INCOMING_QUERY => connect.query().unwrap_or_default().to_owned(),
                    HR_INCOMING_REMOTE_ADDRESS => {
                        connect.remote_addr().map(|address| address.to_string()).unwrap_or_default()
                    }
                    HR_INCOMING_SUBPROTOCOLS => connect.subprotocols().collect::<Vec<_>>().join(", "),
                    HR_INCOMING_TRACKING_ID => connect.tracking_id().to_owned(),
                    other => return Err(Failure::invalid(format!("{other} is nothing that is known about a sender"))),
                })
            })?;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Copies a header of the sender's handshake, in the manner of hr_incoming_get; several values are joined by ", ". HR_END if there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_header(
    incoming: hr_incoming,
    name: *const c_char,
    name_len: usize,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let name = required("name", name, name_len)?;
            let value = with(incoming, |connect| {
                let values = connect.headers().get_all(name).iter();
                let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                let none = || Failure::new(Code::END, format!("the sender has no header {name:?}"));
                if values.is_empty() { Err(none()) } else { Ok(values.join(", ")) }
            })?;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Accepts a sender: dials to it. `subprotocol` is one that it offers, or NULL for the first of the listener's options that it does.
///
/// A call that times out has given the sender up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_accept(
    incoming: hr_incoming,
    subprotocol: *const c_char,
    subprotocol_len: usize,
    timeout_ms: u32,
    connection: *mut hr_connection,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("connection", connection)?;
            let subprotocol = text("subprotocol", subprotocol, subprotocol_len)?.map(str::to_owned);
            let connection = wait(accept(take(incoming)?, subprotocol), timeout_ms)?;
            out.set(connection::insert(connection)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_accept_submit(
    incoming: hr_incoming,
    subprotocol: *const c_char,
    subprotocol_len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let subprotocol = text("subprotocol", subprotocol, subprotocol_len)?.map(str::to_owned);
            let queue = queue_of(queue)?;
            let connect = take(incoming)?;
            let future = async move {
                let connection = accept(connect, subprotocol).await?;
                connection::insert(connection).map(Value::Connection)
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

async fn accept(connect: IncomingConnect, subprotocol: Option<String>) -> Result<Connection> {
    let accepting = connect.accept();
    let accepting = if subprotocol.is_some() { accepting.subprotocol(subprotocol) } else { accepting };
    Ok(accepting.await?)
}

/// Refuses a sender with a status from 200 to 999 and a reason, which it sees in its error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_reject(
    incoming: hr_incoming,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reason = text("reason", reason, reason_len)?.unwrap_or_default();
            wait(take(incoming)?.reject(status, reason), timeout_ms)
        })
    }
}

/// Releases a sender that was not answered: it is refused with 503.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_release(incoming: hr_incoming, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || take(incoming).map(drop)) }
}
