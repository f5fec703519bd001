//! HTTP requests that a sender makes, and their responses.

use std::ffi::c_char;
use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::core::{Body, OneWay, ReasonPhrase, Sender};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Consumed, Handle, Table};
use hybridrelay_bindings_common::http::{Answer, BodyWriter, Method, PathAndQuery, Reply, Request, Uri};
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, bytes, copy_out, required, run, text, wait};
use crate::error::{hr_code, hr_error};
use crate::http_body::{self, at_most, hr_body_writer, read_for_queue, read_into};
use crate::http_head::{HeaderOut, at, headers_of, hr_header, joined};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};
use crate::sender::{hr_sender, sender_of};

pub(crate) static OUTGOING: Consumed<Request<Body>> = Consumed::new(23, "an outgoing request");

pub(crate) static RESPONSES: Table<Reply> = Table::new(24, "a response");

/// A request that is about to be sent. Sending uses it up.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_outgoing {
    /// Not yours to read.
    pub id: u64,
}

/// The response to a request that was sent, from the moment of sending on: wait for it, then read it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_response {
    /// Not yours to read.
    pub id: u64,
}

/// Makes a request without headers and body. `method` NULL is GET; `path`, such as "/orders/7?x=1", is percent-encoded and is added to
/// the hybrid connection; NULL adds nothing. Send it with hr_sender_request, or release it with hr_outgoing_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_outgoing_new(
    method: *const c_char,
    method_len: usize,
    path: *const c_char,
    path_len: usize,
    outgoing: *mut hr_outgoing,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("outgoing", outgoing)?;
            let method = text("method", method, method_len)?.unwrap_or("GET");
            let path = text("path", path, path_len)?.unwrap_or("/");
            let mut request = Request::new(Body::empty());
            *request.method_mut() = Method::from_bytes(method.as_bytes())
                .map_err(|_| Failure::invalid(format!("{method:?} is no method of HTTP")))?;
            *request.uri_mut() = uri_of(path)?;
            out.set(hr_outgoing { id: OUTGOING.insert(request)?.0 });
            Ok(())
        })
    }
}

/// The query is not shown: it may hold the program's own credentials.
fn uri_of(path: &str) -> Result<Uri> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let invalid = || {
        let shown = path.split('?').next().unwrap_or_default();
        Failure::invalid(format!("the path {shown:?} or its query is not valid: percent-encode it"))
    };
    // Without a fragment, which is nobody's on the wire.
    if path.contains('#') {
        return Err(invalid());
    }
    let target = PathAndQuery::from_maybe_shared(Bytes::from([slash, path].concat()));
    target.map(Uri::from).map_err(|_| invalid())
}

/// Changes a request that was not sent yet.
fn change(outgoing: hr_outgoing, change: impl FnOnce(&mut Request<Body>)) -> Result<()> {
    OUTGOING.change(Handle(outgoing.id), |mut request| {
        change(&mut request);
        (Some(request), ())
    })
}

/// Adds headers. May be called several times; several headers may have the same name. Those of the connection, such as Host and
/// Transfer-Encoding, are the library's to write. Content-Length says how long a streamed body will be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_outgoing_headers(
    outgoing: hr_outgoing,
    headers: *const hr_header,
    headers_count: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let headers = headers_of(headers, headers_count)?;
            change(outgoing, |request| {
                for (name, value) in &headers {
                    request.headers_mut().append(name, value.clone());
                }
            })
        })
    }
}

/// Sets the whole body, which is copied, instead of any body before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_outgoing_body(
    outgoing: hr_outgoing,
    data: *const u8,
    len: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let body = Bytes::copy_from_slice(bytes("data", data, len)?);
            change(outgoing, |request| *request.body_mut() = body.into())
        })
    }
}

/// Makes the body one that is written with hr_body_write while the request is under way, instead of any body before. Before the request is
/// sent, at most two parts of it are taken over. Release the body with hr_body_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_outgoing_stream(
    outgoing: hr_outgoing,
    body: *mut hr_body_writer,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("body", body)?;
            let (body, writer) = BodyWriter::of_request();
            change(outgoing, |request| *request.body_mut() = body)?;
            out.set(http_body::insert(writer)?);
            Ok(())
        })
    }
}

/// Releases a request that is not sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_outgoing_release(outgoing: hr_outgoing, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || OUTGOING.take(Handle(outgoing.id)).map(drop)) }
}

/// A sender and what it is to send, which is used up if both are there.
fn take(sender: hr_sender, outgoing: hr_outgoing) -> Result<(Sender, Request<Body>)> {
    Ok((sender_of(sender)?, OUTGOING.take(Handle(outgoing.id))?))
}

/// Sends a request to a listener. Never waits, and uses the request up. Wait for the response with hr_response_wait; release it with
/// hr_response_release, which also withdraws a request that is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_request(
    sender: hr_sender,
    outgoing: hr_outgoing,
    response: *mut hr_response,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("response", response)?;
            let (sender, request) = take(sender, outgoing)?;
            out.set(hr_response { id: RESPONSES.insert(Reply::begin(sender, request)?)?.0 });
            Ok(())
        })
    }
}

fn get(response: hr_response) -> Result<Reply> {
    RESPONSES.get(Handle(response.id))
}

/// Waits until a response begins; `status`, unless it is NULL, gets its status, whatever it is. A call that times out does not withdraw the
/// request.
///
/// What the relay itself refused is an error, the same each time: HR_NO_LISTENERS, HR_ENDPOINT_NOT_FOUND, HR_UNAUTHORIZED, HR_TIMEOUT if no
/// listener answered in time, HR_MESSAGE_TOO_LARGE for the request's body, and others. HR_CONNECTION_LOST if the way broke before the
/// response, also if the program broke its own body off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_wait(
    response: hr_response,
    timeout_ms: u32,
    status: *mut u16,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let answer = wait(get(response)?.answer(), timeout_ms)?;
            if !status.is_null() {
                status.write(answer.parts.status.as_u16());
            }
            Ok(())
        })
    }
}

/// The same for a queue: the completion's `number` is the status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_wait_submit(
    response: hr_response,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reply = get(response)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Number(reply.answer().await?.parts.status.as_u16().into())) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// The response, which must have come.
fn answered(response: hr_response) -> Result<Arc<Answer>> {
    let not_yet =
        || Failure::new(Code::WOULD_BLOCK, "the response has not come yet: wait for it with hr_response_wait");
    get(response)?.now().ok_or_else(not_yet)?
}

/// Copies the reason phrase of a response, in the manner of hr_incoming_get. HR_WOULD_BLOCK if the response has not come yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_reason(
    response: hr_response,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let answer = answered(response)?;
            let reason = answer.parts.extensions.get::<ReasonPhrase>().map_or("", |reason| &reason.0);
            copy_out(reason, buffer, capacity, len)
        })
    }
}

/// Copies a header of a response, in the manner of hr_incoming_get; several values are joined by ", ", which cookies do not bear: see
/// hr_response_header_at. HR_END if there is none, HR_WOULD_BLOCK if the response has not come yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_header(
    response: hr_response,
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
            copy_out(&joined(&answered(response)?.parts.headers, name)?, buffer, capacity, len)
        })
    }
}

/// Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
/// of one name are several. HR_END behind the last, HR_WOULD_BLOCK if the response has not come yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_header_at(
    response: hr_response,
    index: usize,
    name: *mut c_char,
    name_capacity: usize,
    name_len: *mut usize,
    value: *mut c_char,
    value_capacity: usize,
    value_len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let header = at(&answered(response)?.parts.headers, index)?;
            HeaderOut { name, name_capacity, name_len, value, value_capacity, value_len }.copy(header)
        })
    }
}

/// Reads of a response's body what has come, after waiting for the response itself: at least one byte, at most `capacity`; `len` gets how
/// many. What is not read slows the listener down and costs no memory. HR_END at the end, HR_CONNECTION_LOST if the listener broke it off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_read(
    response: hr_response,
    buffer: *mut u8,
    capacity: usize,
    len: *mut usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reply = get(response)?;
            read_into(|max| reply.next(max), (buffer, capacity), len, timeout_ms)
        })
    }
}

/// The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_read_submit(
    response: hr_response,
    max: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (reply, max) = (get(response)?, at_most(max)?);
            let queue = queue_of(queue)?;
            let future = async move { read_for_queue(reply.next(max)).await };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Releases a response. If it was not read to its end the request is withdrawn, which the listener sees; whoever waits for it in a call gets
/// HR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_response_release(response: hr_response, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            RESPONSES.remove(Handle(response.id))?.end();
            Ok(())
        })
    }
}

/// Sends a request for whose answer nobody waits, and uses it up. Returns as soon as one listener has been handed all of it, or at a hybrid
/// connection for events all that are online; `listeners`, unless it is NULL, gets how many. The body may be 64 KiB long unless the hybrid
/// connection allows more.
///
/// HR_UNSUPPORTED behind a relay that knows no such requests: a listener has got it as an ordinary one. HR_NO_LISTENERS, HR_SERVER_BUSY,
/// HR_MESSAGE_TOO_LARGE: nobody got it. After HR_TIMEOUT, HR_CONNECTION_LOST and HR_REJECTED, and a call that timed out, a listener may have it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_send_one_way(
    sender: hr_sender,
    outgoing: hr_outgoing,
    timeout_ms: u32,
    listeners: *mut u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (sender, request) = take(sender, outgoing)?;
            let sent: OneWay = wait(sender.send_one_way(request), timeout_ms)?;
            if !listeners.is_null() {
                listeners.write(sent.listeners());
            }
            Ok(())
        })
    }
}

/// The same for a queue: the completion's `number` is how many listeners have it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_send_one_way_submit(
    sender: hr_sender,
    outgoing: hr_outgoing,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let queue = queue_of(queue)?;
            let (sender, request) = take(sender, outgoing)?;
            let future = async move { Ok(Value::Number(sender.send_one_way(request).await?.listeners())) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}
