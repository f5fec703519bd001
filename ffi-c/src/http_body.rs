//! Bodies that a program writes piece by piece: those of its responses and of its requests.

use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::http::BodyWriter;
use hybridrelay_bindings_common::returns::Taken;
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, bytes, room, run, wait};
use crate::error::{hr_code, hr_error};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static BODIES: Table<Arc<BodyWriter>> = Table::new(22, "a body that is written");

/// What is handed over at once, and what a submitted read brings at most.
pub(crate) const PIECE: usize = 64 * 1024;

/// A body that is written piece by piece: of a response, from hr_responder_start, or of a request, from hr_outgoing_stream. One thread
/// writes at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_body_writer {
    /// Not yours to read.
    pub id: u64,
}

pub(crate) fn insert(writer: BodyWriter) -> Result<hr_body_writer> {
    Ok(hr_body_writer { id: BODIES.insert(Arc::new(writer))?.0 })
}

fn get(body: hr_body_writer) -> Result<Arc<BodyWriter>> {
    BODIES.get(Handle(body.id))
}

/// Writes a part of a body, as fast as the other side reads. Of a response, the first 64 KiB are held back until hr_body_flush, more data or
/// hr_body_finish. Answers to HEAD, and those with status 204 or 304, have no body: what is written is dropped.
///
/// `written`, unless it is NULL, gets how many bytes were taken over, also if the call fails or times out: go on behind them.
/// HR_CONNECTION_LOST if the other side has gone, or has ended the exchange without the whole body. HR_CLOSED behind hr_body_finish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_write(
    body: hr_body_writer,
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
            let body = get(body)?;
            let data = bytes("data", data, len)?;
            let writing = async {
                for piece in data.chunks(PIECE) {
                    body.write(Bytes::copy_from_slice(piece)).await?;
                    taken += piece.len();
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
pub unsafe extern "C" fn hr_body_write_submit(
    body: hr_body_writer,
    data: *const u8,
    len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let body = get(body)?;
            let mut data = Bytes::copy_from_slice(bytes("data", data, len)?);
            let queue = queue_of(queue)?;
            let future = async move {
                while !data.is_empty() {
                    body.write(data.split_to(data.len().min(PIECE))).await?;
                }
                Ok(Value::Number(len as u64))
            };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Sends what was written so far, the head of a response included, and waits until it has left. From then on every part of the body of a
/// response leaves at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_flush(body: hr_body_writer, timeout_ms: u32, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || wait(get(body)?.flush(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_flush_submit(
    body: hr_body_writer,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let body = get(body)?;
            let queue = queue_of(queue)?;
            let future = async move { body.flush().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Ends a body in good order, and waits until that has left. A call that times out leaves it going on: the next one waits for the same
/// end. Release the body all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_finish(body: hr_body_writer, timeout_ms: u32, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || wait(get(body)?.finish(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_finish_submit(
    body: hr_body_writer,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let body = get(body)?;
            let queue = queue_of(queue)?;
            let future = async move { body.finish().await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Releases a body. One that was not finished is broken off: the other side sees an error, or of a response of which nothing was sent yet
/// the status 500. Whoever waits in a call for it gets HR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_body_release(body: hr_body_writer, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            BODIES.remove(Handle(body.id))?.end();
            Ok(())
        })
    }
}

/// Reads a part of a body into C's buffer.
///
/// # Safety
///
/// `buffer` is NULL, or `capacity` bytes of it may be written; so may the place of `len`.
pub(crate) unsafe fn read_into<F: Future<Output = Result<Option<Taken<Bytes>>>> + Send>(
    next: impl FnOnce(usize) -> F,
    (buffer, capacity): (*mut u8, usize),
    len: *mut usize,
    timeout_ms: u32,
) -> Result<()> {
    let out = Out::new("len", len)?;
    // SAFETY: as the caller says.
    let room = unsafe { room(buffer, capacity) }?;
    let bytes = wait(next(room.len()), timeout_ms)?.ok_or_else(end)?.keep();
    // SAFETY: as the caller says, and not more than there is room.
    unsafe {
        buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        out.set(bytes.len());
    }
    Ok(())
}

/// Reads a part of a body for a queue.
pub(crate) async fn read_for_queue(next: impl Future<Output = Result<Option<Taken<Bytes>>>>) -> Result<Value> {
    next.await?.map(Value::Bytes).ok_or_else(end)
}

/// How much a submitted read may bring.
pub(crate) fn at_most(max: usize) -> Result<usize> {
    match max {
        0 => Err(Failure::invalid("max is 0: nothing can be read")),
        max => Ok(max.min(PIECE)),
    }
}

fn end() -> Failure {
    Failure::new(Code::END, "the body has ended")
}
