//! What a listener gets: senders that wait to be accepted, and requests that wait for their answer.

use std::ffi::c_char;
use std::future::Future;

use hybridrelay_bindings_common::background::Background;
use hybridrelay_bindings_common::core::{Connection, IncomingConnect, IncomingRequest};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Consumed, Handle};
use hybridrelay_bindings_common::http::HeaderMap;
use hybridrelay_bindings_common::http_head::response;
use hybridrelay_bindings_common::{Failure, operation};

use crate::boundary::{Out, block_on, copy_out, required, run, text, wait};
use crate::connection::{self, hr_connection};
use crate::error::{hr_code, hr_error};
use crate::http_head::{HeaderOut, at, joined};
use crate::http_incoming::field_of;
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static INCOMING: Consumed<Waiting> = Consumed::new(3, "an incoming sender or request");

/// What waits for the program.
pub(crate) enum Waiting {
    Connect(IncomingConnect),
    /// A sender that is being accepted, by calls that may give up and come again.
    Joining(Background<Connection>),
    Request(IncomingRequest),
}

/// A sender that waits, or a request. The call that accepts, takes or rejects it uses it up; one that was a mistake, which
/// HR_INVALID_ARGUMENT and HR_INVALID_HANDLE tell, leaves it as it is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_incoming {
    /// Not yours to read.
    pub id: u64,
}

/// What has come. Tolerate numbers you do not know: release such an incoming, which refuses it.
pub type hr_kind = u32;

/// A sender that wants a connection: accept it with hr_incoming_accept.
pub const HR_INCOMING_CONNECT: hr_kind = 1;
/// An HTTP request: take it with hr_incoming_into_request.
pub const HR_INCOMING_REQUEST: hr_kind = 2;

/// What can be asked about a sender or a request.
pub type hr_incoming_field = u32;

/// The path behind the hybrid connection, percent-encoded as the sender wrote it; empty without one.
pub const HR_INCOMING_PATH: hr_incoming_field = 1;
/// The query without the relay's own parameters; empty without one.
pub const HR_INCOMING_QUERY: hr_incoming_field = 2;
/// The sender's address and port as the relay saw them; empty if the relay does not tell.
pub const HR_INCOMING_REMOTE_ADDRESS: hr_incoming_field = 3;
/// The sub-protocols that a sender offers, separated by ", "; empty of a request.
pub const HR_INCOMING_SUBPROTOCOLS: hr_incoming_field = 4;
/// The id under which relay and sender know the attempt.
pub const HR_INCOMING_TRACKING_ID: hr_incoming_field = 5;
/// The method of a request; empty of a sender.
pub const HR_INCOMING_METHOD: hr_incoming_field = 6;
/// Where the listener is mounted: a slash and the hybrid connection's name. In front of the path it is what the sender asked for.
pub const HR_INCOMING_MOUNT: hr_incoming_field = 7;

pub(crate) fn insert(waiting: Waiting) -> Result<hr_incoming> {
    Ok(hr_incoming { id: INCOMING.insert(waiting)?.0 })
}

/// What `choose` takes out is used up; what it gives back stays where it is.
fn take_as<T>(incoming: hr_incoming, choose: impl FnOnce(Waiting) -> (Option<Waiting>, Result<T>)) -> Result<T> {
    let handle = Handle(incoming.id);
    let taken = INCOMING.change(handle, choose)??;
    // Only the handle is left.
    let _ = INCOMING.take(handle);
    Ok(taken)
}

pub(crate) fn take_request(incoming: hr_incoming) -> Result<IncomingRequest> {
    take_as(incoming, |waiting| match waiting {
        Waiting::Request(request) => (None, Ok(request)),
        other => (Some(other), Err(Failure::invalid("the incoming is no request: accept it with hr_incoming_accept"))),
    })
}

pub(crate) fn unknown_field(field: hr_incoming_field) -> Failure {
    Failure::invalid(format!("{field} is nothing that is known about a sender or a request"))
}

fn being_accepted() -> Failure {
    Failure::invalid("the sender is being accepted: wait for that with hr_incoming_accept, or release it")
}

/// Tells what has come: HR_INCOMING_CONNECT or HR_INCOMING_REQUEST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_kind(
    incoming: hr_incoming,
    kind: *mut hr_kind,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("kind", kind)?;
            out.set(INCOMING.with(Handle(incoming.id), |waiting| match waiting {
                Waiting::Connect(_) | Waiting::Joining(_) => HR_INCOMING_CONNECT,
                Waiting::Request(_) => HR_INCOMING_REQUEST,
            })?);
            Ok(())
        })
    }
}

/// Copies what is known about a sender or a request into a buffer, with a NUL behind it. `len`, unless it is NULL, gets the length without the NUL,
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
            let value = INCOMING.with(Handle(incoming.id), |waiting| match waiting {
                Waiting::Connect(connect) => connect_field(connect, field),
                Waiting::Request(request) => field_of(request, field),
                Waiting::Joining(_) => Err(being_accepted()),
            })??;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

fn connect_field(connect: &IncomingConnect, field: hr_incoming_field) -> Result<String> {
    Ok(match field {
        HR_INCOMING_PATH => connect.path().to_owned(),
        HR_INCOMING_QUERY => connect.query().unwrap_or_default().to_owned(),
        HR_INCOMING_REMOTE_ADDRESS => connect.remote_addr().map(|address| address.to_string()).unwrap_or_default(),
        HR_INCOMING_SUBPROTOCOLS => connect.subprotocols().collect::<Vec<_>>().join(", "),
        HR_INCOMING_TRACKING_ID => connect.tracking_id().to_owned(),
        HR_INCOMING_METHOD => String::new(),
        HR_INCOMING_MOUNT => connect.mount(),
        other => return Err(unknown_field(other)),
    })
}

/// Looks at the headers.
fn with_headers<T>(incoming: hr_incoming, look: impl FnOnce(&HeaderMap) -> Result<T>) -> Result<T> {
    INCOMING.with(Handle(incoming.id), |waiting| match waiting {
        Waiting::Connect(connect) => look(connect.headers()),
        Waiting::Request(request) => look(request.headers()),
        Waiting::Joining(_) => Err(being_accepted()),
    })?
}

/// Copies a header of a sender's handshake or of a request, in the manner of hr_incoming_get; several values are joined by ", ". HR_END if
/// there is none.
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
            copy_out(&with_headers(incoming, |headers| joined(headers, name))?, buffer, capacity, len)
        })
    }
}

/// Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
/// of one name are several. HR_END behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_header_at(
    incoming: hr_incoming,
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
            let header = with_headers(incoming, |headers| at(headers, index))?;
            HeaderOut { name, name_capacity, name_len, value, value_capacity, value_len }.copy(header)
        })
    }
}

/// Accepts a sender: dials to it. `subprotocol` is one that it offers, or NULL for the first of the listener's options that it does.
///
/// The handle is used up by success, and by a dial that fails. A call that times out leaves both: the dial goes on, and the next call on the
/// same handle gets the connection; releasing the handle gives the sender up. HR_INVALID_ARGUMENT of a request and for a sub-protocol that
/// cannot be one; the handle stays and can be taken, accepted or rejected as if the call had not been made.
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
            let joining = join(incoming, text("subprotocol", subprotocol, subprotocol_len)?)?;
            let joined = block_on(joining.outcome(), timeout_ms)?;
            out.set(connection::insert(joined_of(incoming, joined)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the connection. After a cancel the handle is as after a time limit.
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
            let queue = queue_of(queue)?;
            let joining = join(incoming, text("subprotocol", subprotocol, subprotocol_len)?)?;
            let future = async move { joined_of(incoming, joining.outcome().await).map(Value::Connection) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Begins to accept a sender, or goes on with it.
fn join(incoming: hr_incoming, subprotocol: Option<&str>) -> Result<Background<Connection>> {
    if let Some(name) = subprotocol.filter(|name| !is_token(name)) {
        return Err(Failure::invalid(format!("{name:?} cannot be a sub-protocol: it is one word of ASCII")));
    }
    INCOMING.change(Handle(incoming.id), |waiting| match waiting {
        Waiting::Connect(connect) => {
            let joining = Background::start(accept(connect, subprotocol.map(str::to_owned)));
            (joining.as_ref().ok().cloned().map(Waiting::Joining), joining)
        }
        Waiting::Joining(joining) => (Some(Waiting::Joining(joining.clone())), Ok(joining)),
        request @ Waiting::Request(_) => {
            let text = "the incoming is a request: take it with hr_incoming_into_request";
            (Some(request), Err(Failure::invalid(text)))
        }
    })?
}

/// Whether it can stand in a list of sub-protocols (RFC 9110 5.6.2).
fn is_token(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

async fn accept(connect: IncomingConnect, subprotocol: Option<String>) -> Result<Connection> {
    let accepting = connect.accept();
    let accepting = if subprotocol.is_some() { accepting.subprotocol(subprotocol) } else { accepting };
    Ok(accepting.await?)
}

/// Of all who wait for one sender, the first gets it.
fn joined_of(incoming: hr_incoming, joined: Result<Connection>) -> Result<Connection> {
    INCOMING.take(Handle(incoming.id))?;
    joined
}

/// Refuses a sender, or answers a request, with a status from 200 to 999 and a reason. A sender sees them in its error.
///
/// The handle is used up, also if the call fails or times out: a sender is refused with 503 then, a request gets 500. HR_INVALID_ARGUMENT for
/// another status, and for a sender that is being accepted; the handle stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_reject(
    incoming: hr_incoming,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(rejection(incoming, status, text("reason", reason, reason_len)?)?, timeout_ms)) }
}

/// The same for a queue. The handle is used up at once. A sender is refused with 503 after a cancel, and a request gets 500, unless the relay has
/// heard of the other status before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_reject_submit(
    incoming: hr_incoming,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let reason = text("reason", reason, reason_len)?;
            let queue = queue_of(queue)?;
            let rejection = rejection(incoming, status, reason)?;
            let future = async move { rejection.await.map(|()| Value::None) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Takes what is to be refused, which is refused all the same if nobody waits for it.
fn rejection(
    incoming: hr_incoming,
    status: u16,
    reason: Option<&str>,
) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    let answer = response(status, reason, HeaderMap::new())?;
    let reason = reason.unwrap_or_default().to_owned();
    let rejected = take_as(incoming, |waiting| match waiting {
        Waiting::Joining(_) => (Some(waiting), Err(being_accepted())),
        waiting => (None, Ok(waiting)),
    })?;
    Ok(async move {
        match rejected {
            Waiting::Request(request) => Ok(request.into_parts().1.send(answer).await?),
            Waiting::Connect(connect) => Ok(connect.reject(status, &reason).await?),
            Waiting::Joining(_) => Err(being_accepted()),
        }
    })
}

/// Releases what was not answered: a sender is refused with 503, a request with 501.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_incoming_release(incoming: hr_incoming, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || INCOMING.take(Handle(incoming.id)).map(drop)) }
}
