//! HTTP requests that come, and their answers.

use std::ffi::c_char;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::core::{Body, Cancellation, IncomingRequest, Responder};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Consumed, Handle, Table};
use hybridrelay_bindings_common::http::{BodyReader, BodyWriter, HeaderMap};
use hybridrelay_bindings_common::http_head::response;
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, bytes, copy_out, required, run, text, wait};
use crate::error::{hr_code, hr_error};
use crate::http_body::{self, at_most, hr_body_writer, read_for_queue, read_into};
use crate::http_head::{HeaderOut, at, headers_of, hr_header, joined};
use crate::incoming::{
    HR_INCOMING_METHOD, HR_INCOMING_MOUNT, HR_INCOMING_PATH, HR_INCOMING_QUERY, HR_INCOMING_REMOTE_ADDRESS,
    HR_INCOMING_SUBPROTOCOLS, HR_INCOMING_TRACKING_ID, hr_incoming, hr_incoming_field, take_request, unknown_field,
};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static REQUESTS: Table<Arc<Request>> = Table::new(20, "a request");

pub(crate) static RESPONDERS: Consumed<Responder> = Consumed::new(21, "a responder");

/// A request that has come: its head, and its body, which is read as it comes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_request {
    /// Not yours to read.
    pub id: u64,
}

/// What answers one request. Answering uses it up: the handle is released by that, whatever comes of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_responder {
    /// Not yours to read.
    pub id: u64,
}

pub(crate) struct Request {
    head: Head,
    body: BodyReader,
    cancellation: Cancellation,
    is_one_way: bool,
}

struct Head {
    method: String,
    path: String,
    query: Option<String>,
    mount: String,
    remote: Option<SocketAddr>,
    tracking_id: String,
    headers: HeaderMap,
}

impl Request {
    fn apart(incoming: IncomingRequest) -> (Self, Responder) {
        let mut head = Head {
            method: incoming.method().to_string(),
            path: incoming.path().to_owned(),
            query: incoming.query().map(str::to_owned),
            mount: incoming.mount().to_owned(),
            remote: incoming.remote_addr(),
            tracking_id: incoming.tracking_id().to_owned(),
            headers: HeaderMap::new(),
        };
        let (is_one_way, cancellation) = (incoming.is_one_way(), incoming.cancellation());
        let (request, responder) = incoming.into_parts();
        let (parts, body) = request.into_parts();
        head.headers = parts.headers;
        (Self { head, body: BodyReader::new(body), cancellation, is_one_way }, responder)
    }
}

fn get(request: hr_request) -> Result<Arc<Request>> {
    REQUESTS.get(Handle(request.id))
}

/// What is known about a request that was not taken apart yet.
pub(crate) fn field_of(request: &IncomingRequest, field: hr_incoming_field) -> Result<String> {
    Ok(match field {
        HR_INCOMING_METHOD => request.method().to_string(),
        HR_INCOMING_PATH => request.path().to_owned(),
        HR_INCOMING_QUERY => request.query().unwrap_or_default().to_owned(),
        HR_INCOMING_MOUNT => request.mount().to_owned(),
        HR_INCOMING_REMOTE_ADDRESS => request.remote_addr().map(|address| address.to_string()).unwrap_or_default(),
        HR_INCOMING_TRACKING_ID => request.tracking_id().to_owned(),
        HR_INCOMING_SUBPROTOCOLS => String::new(),
        other => return Err(unknown_field(other)),
    })
}

/// Takes a request on: makes its head and body one object, and its answer another, which may go to different threads. The incoming is used
/// up. Release the request with hr_request_release, and answer with hr_responder_send or hr_responder_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_into_request(
    incoming: hr_incoming,
    request: *mut hr_request,
    responder: *mut hr_responder,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (out, responder_out) = (Out::new("request", request)?, Out::new("responder", responder)?);
            let (request, responder) = Request::apart(take_request(incoming)?);
            let responder = hr_responder { id: RESPONDERS.insert(responder)?.0 };
            let request = hr_request { id: REQUESTS.insert(Arc::new(request))?.0 };
            out.set(request);
            responder_out.set(responder);
            Ok(())
        })
    }
}

/// Copies what is known about a request, in the manner of hr_incoming_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_get(
    request: hr_request,
    field: hr_incoming_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let request = get(request)?;
            let head = &request.head;
            let remote;
            let value = match field {
                HR_INCOMING_METHOD => &head.method,
                HR_INCOMING_PATH => &head.path,
                HR_INCOMING_QUERY => head.query.as_deref().unwrap_or_default(),
                HR_INCOMING_MOUNT => &head.mount,
                HR_INCOMING_REMOTE_ADDRESS => {
                    remote = head.remote.map(|address| address.to_string()).unwrap_or_default();
                    &remote
                }
                HR_INCOMING_TRACKING_ID => &head.tracking_id,
                HR_INCOMING_SUBPROTOCOLS => "",
                other => return Err(unknown_field(other)),
            };
            copy_out(value, buffer, capacity, len)
        })
    }
}

/// Copies a header of a request, in the manner of hr_incoming_get; several values are joined by ", ". HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_header(
    request: hr_request,
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
            copy_out(&joined(&get(request)?.head.headers, name)?, buffer, capacity, len)
        })
    }
}

/// Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
/// of one name are several. HR_END behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_header_at(
    request: hr_request,
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
            let header = at(&get(request)?.head.headers, index)?;
            HeaderOut { name, name_capacity, name_len, value, value_capacity, value_len }.copy(header)
        })
    }
}

/// Whether nobody waits for the answer: the sender was told that the request is handed over. It may be answered all the same, but need
/// not be: releasing the responder is enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_is_one_way(
    request: hr_request,
    is_one_way: *mut bool,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("is_one_way", is_one_way)?;
            out.set(get(request)?.is_one_way);
            Ok(())
        })
    }
}

/// Reads of a request's body what has come: at least one byte, at most `capacity`; `len` gets how many. What is not read slows the sender
/// down and costs no memory. HR_END at the end, HR_CONNECTION_LOST if the sender broke it off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_read(
    request: hr_request,
    buffer: *mut u8,
    capacity: usize,
    len: *mut usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let request = get(request)?;
            read_into(|max| request.body.next(max), (buffer, capacity), len, timeout_ms)
        })
    }
}

/// The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_read_submit(
    request: hr_request,
    max: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (request, max) = (get(request)?, at_most(max)?);
            let queue = queue_of(queue)?;
            let future = async move { read_for_queue(request.body.next(max)).await };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Waits until the sender of a request has gone, so that nobody waits for the answer any more: HR_OK then, HR_END if the request was
/// answered before. While a long body is not read, it may not be seen that the sender has gone; Azure Relay does not tell of short requests.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_wait_gone(
    request: hr_request,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(gone(get(request)?), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_wait_gone_submit(
    request: hr_request,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let request = get(request)?;
            let queue = queue_of(queue)?;
            let future = async move { gone(request).await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

async fn gone(request: Arc<Request>) -> Result<()> {
    request.cancellation.cancelled().await;
    let answered = || Failure::new(Code::END, "the request was answered");
    if request.cancellation.is_cancelled() { Ok(()) } else { Err(answered()) }
}

/// Releases a request: of its body nothing more is read, and whoever waits for it in a call gets HR_CLOSED. Its answer is another object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_request_release(request: hr_request, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            REQUESTS.remove(Handle(request.id))?.body.end();
            Ok(())
        })
    }
}

/// Answers a request: status from 200 to 999, reason (NULL for the usual one), headers, and the whole body. Headers of the connection,
/// such as Content-Length, are written by the relay and ignored here. Returns when everything has left, which a slow sender delays.
///
/// Uses the responder up, unless an argument is not usable. A call that times out has given the answer up, which the sender sees as 500 or as
/// a broken response: where that matters, use hr_responder_start. HR_CONNECTION_LOST if the sender has gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_responder_send(
    responder: hr_responder,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    headers: *const hr_header,
    headers_count: usize,
    body: *const u8,
    body_len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let head = response(status, text("reason", reason, reason_len)?, headers_of(headers, headers_count)?)?;
            let body = Bytes::copy_from_slice(bytes("body", body, body_len)?);
            wait(take(responder)?.send(head.map(|()| Body::from(body))), timeout_ms)
        })
    }
}

/// The same for a queue. Everything is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_responder_send_submit(
    responder: hr_responder,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    headers: *const hr_header,
    headers_count: usize,
    body: *const u8,
    body_len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let head = response(status, text("reason", reason, reason_len)?, headers_of(headers, headers_count)?)?;
            let body = Bytes::copy_from_slice(bytes("body", body, body_len)?);
            let queue = queue_of(queue)?;
            let responder = take(responder)?;
            let future =
                async move { Ok(responder.send(head.map(|()| Body::from(body))).await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Begins an answer whose body is written with hr_body_write. Never waits. Status, reason and headers are as for hr_responder_send. Uses the
/// responder up, unless an argument is not usable. Release the body with hr_body_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_responder_start(
    responder: hr_responder,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    headers: *const hr_header,
    headers_count: usize,
    body: *mut hr_body_writer,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("body", body)?;
            let head = response(status, text("reason", reason, reason_len)?, headers_of(headers, headers_count)?)?;
            out.set(http_body::insert(BodyWriter::of_response(take(responder)?.start(head)?))?);
            Ok(())
        })
    }
}

/// Releases a responder that was not used: the sender is answered 500, unless the request is one-way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_responder_release(responder: hr_responder, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || take(responder).map(drop)) }
}

fn take(responder: hr_responder) -> Result<Responder> {
    RESPONDERS.take(Handle(responder.id))
}
