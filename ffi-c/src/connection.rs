//! Connections, and the messages on them.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::core::{Connection, Message};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::returns::Returns;
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, bytes, copy_out, run, text, wait};
use crate::error::{hr_code, hr_error};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static CONNECTIONS: Table<Arc<Object>> = Table::new(5, "a connection");

pub(crate) struct Object {
    pub(crate) connection: Connection,
    pub(crate) received: Returns<Message>,
}

/// A stream of messages to the other program. One thread may receive while another sends.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_connection {
    /// Not yours to read.
    pub id: u64,
}

/// Text or bytes.
pub type hr_message_kind = u32;

/// UTF-8.
pub const HR_MESSAGE_TEXT: hr_message_kind = 1;
/// Bytes.
pub const HR_MESSAGE_BINARY: hr_message_kind = 2;

/// A message that was received. Free it with hr_message_free; its data is valid until then. One that is all zero may be freed as well.
#[repr(C)]
#[derive(Debug)]
pub struct hr_message {
    /// HR_MESSAGE_TEXT or HR_MESSAGE_BINARY.
    pub kind: hr_message_kind,
    /// Its bytes, without a NUL behind them. Not NULL, also if there are none.
    pub data: *const u8,
    /// How many.
    pub len: usize,
    /// Not yours to touch.
    pub owner: *mut c_void,
}

impl hr_message {
    pub(crate) fn new(message: Message) -> Self {
        let kind = if message.as_text().is_some() { HR_MESSAGE_TEXT } else { HR_MESSAGE_BINARY };
        let bytes = Box::new(message.into_bytes());
        let (data, len) = (bytes.as_ptr(), bytes.len());
        Self { kind, data, len, owner: Box::into_raw(bytes).cast() }
    }

    pub(crate) const fn none() -> Self {
        Self { kind: 0, data: ptr::null(), len: 0, owner: ptr::null_mut() }
    }
}

/// Frees what was received and makes the message empty, so that doing it twice does no harm. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_message_free(message: *mut hr_message) {
    // SAFETY: NULL, or a message as the header says.
    if let Some(message) = unsafe { message.as_mut() } {
        let freed = std::mem::replace(message, hr_message::none());
        if !freed.owner.is_null() {
            // SAFETY: made by `new`, and freed once.
            drop(unsafe { Box::from_raw(freed.owner.cast::<Bytes>()) });
        }
    }
}

pub(crate) fn insert(connection: Connection) -> Result<hr_connection> {
    Ok(hr_connection { id: CONNECTIONS.insert(Arc::new(Object { connection, received: Returns::default() }))?.0 })
}

fn get(connection: hr_connection) -> Result<Connection> {
    Ok(object(connection)?.connection.clone())
}

fn object(connection: hr_connection) -> Result<Arc<Object>> {
    CONNECTIONS.get(Handle(connection.id))
}

impl Object {
    async fn receive(&self) -> Result<Option<Message>> {
        Ok(self.connection.receive().await?)
    }
}

/// Sends a message: `kind` is HR_MESSAGE_TEXT, which must be UTF-8, or HR_MESSAGE_BINARY. Returns when the connection has taken it over,
/// which it does as fast as the peer reads. A call that timed out has sent nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_send(
    connection: hr_connection,
    kind: hr_message_kind,
    data: *const u8,
    len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            wait(connection.enqueue(message(kind, bytes("data", data, len)?)?), timeout_ms)
        })
    }
}

/// The same for a queue. The data is copied. One that is cancelled has sent nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_send_submit(
    connection: hr_connection,
    kind: hr_message_kind,
    data: *const u8,
    len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            let message = message(kind, bytes("data", data, len)?)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(connection.enqueue(message).await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

pub(crate) fn message(kind: hr_message_kind, data: &[u8]) -> Result<Message> {
    match kind {
        HR_MESSAGE_BINARY => Ok(Message::from(data.to_vec())),
        HR_MESSAGE_TEXT => match std::str::from_utf8(data) {
            Ok(text) => Ok(Message::from(text)),
            Err(_) => Err(Failure::invalid("the data of a text message is not UTF-8")),
        },
        other => Err(Failure::invalid(format!("{other} is no kind of message"))),
    }
}

/// Receives a message. HR_END when the peer has closed its direction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_receive(
    connection: hr_connection,
    timeout_ms: u32,
    message: *mut hr_message,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("message", message)?;
            let object = object(connection)?;
            let message = wait(object.received.take(object.receive()), timeout_ms)?;
            out.set(hr_message::new(message.ok_or_else(end)?));
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_receive_submit(
    connection: hr_connection,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let object = object(connection)?;
            let queue = queue_of(queue)?;
            let future = async move {
                let message = object.received.next(object.receive()).await?;
                message.map(Value::Message).ok_or_else(end)
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

fn end() -> Failure {
    Failure::new(Code::END, "the peer has closed its direction")
}

/// Waits until everything that was sent has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_flush(
    connection: hr_connection,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(get(connection)?.flush(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_flush_submit(
    connection: hr_connection,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(connection.flush().await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Closes our direction behind what was sent. The peer sees the end, and may go on sending.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_shutdown(
    connection: hr_connection,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(get(connection)?.shutdown(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_shutdown_submit(
    connection: hr_connection,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(connection.shutdown().await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Closes both directions in good order: sends what is to be sent, and waits for the peer's close. What it still sends is dropped.
/// HR_TIMEOUT if nothing moves for HR_OPT_CLOSE_TIMEOUT_MS, which begin anew with each call; then the connection was aborted. Release it
/// all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_close(
    connection: hr_connection,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(get(connection)?.close(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_close_submit(
    connection: hr_connection,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(connection.close().await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// As hr_connection_close, with a close code and a reason for the peer: 1000 to 1003, 1007 to 1014, or 3000 to 4999, and at most 123 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_close_with(
    connection: hr_connection,
    code: u16,
    reason: *const c_char,
    reason_len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reason = text("reason", reason, reason_len)?.unwrap_or_default();
            wait(get(connection)?.close_with(code, reason), timeout_ms)
        })
    }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_close_with_submit(
    connection: hr_connection,
    code: u16,
    reason: *const c_char,
    reason_len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reason = text("reason", reason, reason_len)?.unwrap_or_default().to_owned();
            let connection = get(connection)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(connection.close_with(code, &reason).await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Ends both directions at once: the peer sees an error, whoever waits on the connection gets one, and what waits is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_abort(connection: hr_connection, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            get(connection)?.abort();
            Ok(())
        })
    }
}

/// Copies the sub-protocol that was agreed on, in the manner of hr_incoming_get; empty if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_subprotocol(
    connection: hr_connection,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let connection = get(connection)?;
            copy_out(connection.subprotocol().unwrap_or_default(), buffer, capacity, len)
        })
    }
}

/// Releases a connection. One whose sending direction was not closed is aborted, as soon as no call and no stream uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_release(connection: hr_connection, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || CONNECTIONS.remove(Handle(connection.id)).map(drop)) }
}
