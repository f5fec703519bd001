//! Connections as bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::stream::Stream;
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, bytes, room, run, wait};
use crate::connection::{CONNECTIONS, hr_connection};
use crate::error::{hr_code, hr_error};
use crate::http_body::at_most;
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static STREAMS: Table<Arc<Stream>> = Table::new(25, "a stream");

/// A connection as a stream of bytes. One thread may read while another writes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_stream {
    /// Not yours to read.
    pub id: u64,
}

fn get(stream: hr_stream) -> Result<Arc<Stream>> {
    STREAMS.get(Handle(stream.id))
}

/// Turns a connection into bytes, once. What is written travels as binary messages; of what comes, the borders and kinds of messages are
/// dropped, and bytes of a message that was received in part come first.
///
/// The connection's handle stays, to be released by itself. Its calls that send and receive messages give HR_STREAM_IN_USE from now on, as does
/// a second conversion. Release the stream with hr_stream_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_connection_into_stream(
    connection: hr_connection,
    stream: *mut hr_stream,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("stream", stream)?;
            let object = CONNECTIONS.get(Handle(connection.id))?;
            let stream = Stream::new(object.connection.clone(), &object.received)?;
            out.set(hr_stream { id: STREAMS.insert(Arc::new(stream))?.0 });
            Ok(())
        })
    }
}

/// Reads what has come: at least one byte, at most `capacity`; `len` gets how many. What is not read slows the peer down. HR_END once the
/// peer has closed its direction, HR_CONNECTION_LOST after an abort, HR_CLOSED after hr_stream_close.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_read(
    stream: hr_stream,
    buffer: *mut u8,
    capacity: usize,
    len: *mut usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("len", len)?;
            let stream = get(stream)?;
            match wait(stream.read(room(buffer, capacity)?), timeout_ms)? {
                0 => Err(end()),
                read => {
                    out.set(read);
                    Ok(())
                }
            }
        })
    }
}

/// The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_read_submit(
    stream: hr_stream,
    max: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (stream, max) = (get(stream)?, at_most(max)?);
            let queue = queue_of(queue)?;
            let future = async move { stream.next(max).await?.map(Value::Bytes).ok_or_else(end) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Writes everything, as fast as the peer reads. `written`, unless it is NULL, gets how many bytes were taken over, also if the call fails or
/// times out: go on behind them. HR_CLOSED after hr_stream_shutdown and hr_stream_close, HR_CONNECTION_LOST after an abort.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_write(
    stream: hr_stream,
    data: *const u8,
    len: usize,
    timeout_ms: u32,
    written: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let mut taken = 0;
            if !written.is_null() {
                written.write(taken);
            }
            let stream = get(stream)?;
            let data = bytes("data", data, len)?;
            let writing = async {
                while taken < data.len() {
                    taken += stream.write(&data[taken..]).await?;
                }
                Ok::<_, Failure>(())
            };
            let outcome = wait(writing, timeout_ms);
            if !written.is_null() {
                written.write(taken);
            }
            outcome
        })
    }
}

/// The same for a queue: the completion's `number` is how many bytes were taken over. The data is copied. One that is cancelled or fails may
/// have written a part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_write_submit(
    stream: hr_stream,
    data: *const u8,
    len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let stream = get(stream)?;
            let mut data = Bytes::copy_from_slice(bytes("data", data, len)?);
            let queue = queue_of(queue)?;
            let future = async move {
                while !data.is_empty() {
                    data.advance(stream.write(&data).await?);
                }
                Ok(Value::Number(len as u64))
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Waits until everything that was written has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_flush(stream: hr_stream, timeout_ms: u32, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || wait(get(stream)?.flush(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_flush_submit(
    stream: hr_stream,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let stream = get(stream)?;
            let queue = queue_of(queue)?;
            let future = async move { stream.flush().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Closes our direction behind what was written. The peer sees the end, and may go on writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_shutdown(stream: hr_stream, timeout_ms: u32, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || wait(get(stream)?.shutdown(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_shutdown_submit(
    stream: hr_stream,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let stream = get(stream)?;
            let queue = queue_of(queue)?;
            let future = async move { stream.shutdown().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Closes both directions in good order: sends what was written, and waits for the peer's close. What it still sends is dropped. Whoever
/// reads or writes at this moment gets HR_CLOSED. HR_TIMEOUT if nothing moves for HR_OPT_CLOSE_TIMEOUT_MS, which begin anew with each call;
/// then the connection was aborted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_close(stream: hr_stream, timeout_ms: u32, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || wait(get(stream)?.close(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_close_submit(
    stream: hr_stream,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let stream = get(stream)?;
            let queue = queue_of(queue)?;
            let future = async move { stream.close().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Ends both directions at once: the peer sees an error, whoever waits on the stream gets one, and what was not sent is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_abort(stream: hr_stream, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            get(stream)?.abort();
            Ok(())
        })
    }
}

/// Releases a stream. One whose writing direction was not closed is aborted. Whoever waits in a call for it gets HR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_stream_release(stream: hr_stream, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            STREAMS.remove(Handle(stream.id))?.end();
            Ok(())
        })
    }
}

fn end() -> Failure {
    Failure::new(Code::END, "the peer has closed its direction")
}
