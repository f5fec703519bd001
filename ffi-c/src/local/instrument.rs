//! What a test does to its relay.

use std::ffi::c_char;
use std::time::Duration;

use hybridrelay_bindings_common::Failure;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::local::{self, Kind};
use hybridrelay_relay::{Attempt, ConnectionId, LocalRelay, NextRefusal, OpenConnection};

use super::{get, hr_local_relay};
use crate::boundary::{copy_out, required, run, text};
use crate::error::{hr_code, hr_error};
use crate::options::{self, hr_options};

/// What a hybrid connection is, added together.
pub type hr_entity_flags = u32;

/// Every listener gets everything: see hr_listener_events.
pub const HR_ENTITY_EVENTS: hr_entity_flags = 1;
/// Senders need no token.
pub const HR_ENTITY_ANONYMOUS: hr_entity_flags = 2;
/// Everybody who asks for the endpoints is told of it while somebody listens: see hr_endpoints_find.
pub const HR_ENTITY_DISCOVERABLE: hr_entity_flags = 4;

/// What somebody comes to a relay for.
pub type hr_attempt = u32;

/// Whatever it is.
pub const HR_ATTEMPT_ANY: hr_attempt = 0;
/// A listener opens its control channel.
pub const HR_ATTEMPT_LISTEN: hr_attempt = 1;
/// A sender opens a connection.
pub const HR_ATTEMPT_CONNECT: hr_attempt = 2;
/// A sender makes an HTTP request.
pub const HR_ATTEMPT_REQUEST: hr_attempt = 3;

/// A relayed connection of a local relay, an HTTP request, or a control channel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_relayed {
    /// Names it, for as long as the relay lives.
    pub id: u64,
    /// Bytes that the sender has sent, as they are on the wire: payload, and the headers of its frames. Of a request those of its body that a
    /// listener was given. Of a control channel none.
    pub from_sender: u64,
    /// Bytes that the listener has sent, counted in the same way. Of a request those of the response's body that the sender was given. Of a
    /// control channel all behind its handshake.
    pub from_listener: u64,
    /// Whether it is held up by hr_local_relay_stall.
    pub stalled: bool,
}

/// What can be asked about a relayed connection.
pub type hr_relayed_field = u32;

/// The hybrid connection.
pub const HR_RELAYED_ENTITY: hr_relayed_field = 1;
/// The id under which the relay's events know it.
pub const HR_RELAYED_TRACKING_ID: hr_relayed_field = 2;
/// The method of an HTTP request; empty of everything else.
pub const HR_RELAYED_METHOD: hr_relayed_field = 3;

/// Makes a hybrid connection, or makes it anew with other flags. Those that nobody makes come to be when somebody listens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_add(
    relay: hr_local_relay,
    entity: *const c_char,
    entity_len: usize,
    flags: hr_entity_flags,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let kind = Kind {
                events: flags & HR_ENTITY_EVENTS != 0,
                anonymous: flags & HR_ENTITY_ANONYMOUS != 0,
                discoverable: flags & HR_ENTITY_DISCOVERABLE != 0,
            };
            local::add(&*get(relay)?, required("entity", entity, entity_len)?, kind)
        })
    }
}

/// Moves the relay's clocks on in one leap, as if its machine had slept for so long: all that was due meanwhile happens now. Returns at
/// once.
///
/// Tokens are older: a control channel is closed when its token and five minutes of grace are over. Whoever waits for a listener for 30 s
/// gets HR_TIMEOUT. Peers that were silent for the time of a Ping are asked, however far the leap was, and given up if the clock moves by
/// the time for the answer before it has come: a listener after 45 s, a relayed connection after 90 s. The kernel's timers stay as they
/// are, and so do the clocks of listeners and senders, unless they were made with hr_options_use_clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_advance(
    relay: hr_local_relay,
    by_ms: u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            get(relay)?.advance(Duration::from_millis(by_ms));
            Ok(())
        })
    }
}

/// Lets listeners and senders that are made with these options live by the clock of a local relay, which hr_local_relay_advance moves:
/// then they renew their tokens. A leap of more than the ten seconds in which a Ping is answered makes them dial anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_options_use_clock(
    options: hr_options,
    relay: hr_local_relay,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || options::use_env(options, get(relay)?.env().clone())) }
}

/// Refuses who comes next, or who comes next for `attempt`, with a status from 400 to 599 and a reason, before the relay looks at
/// anything else. NULL is a reason of the library's own. Several are used up one after the other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_refuse_next(
    relay: hr_local_relay,
    status: u16,
    attempt: hr_attempt,
    reason: *const c_char,
    reason_len: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let relay = get(relay)?;
            Ok(relay.refuse_next(refusal(status, attempt, reason, reason_len)?)?)
        })
    }
}

/// The same, and the refusal tells by Retry-After to come again after `retry_after_ms`: in whole seconds, rounded up, and one at least. A
/// listener waits for as long, up to five minutes; anybody else finds it by hr_error_retry_after_ms.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_refuse_next_after(
    relay: hr_local_relay,
    status: u16,
    attempt: hr_attempt,
    reason: *const c_char,
    reason_len: usize,
    retry_after_ms: u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let relay = get(relay)?;
            let next = refusal(status, attempt, reason, reason_len)?;
            Ok(relay.refuse_next(next.retry_after(Duration::from_millis(retry_after_ms)))?)
        })
    }
}

unsafe fn refusal(status: u16, attempt: hr_attempt, reason: *const c_char, reason_len: usize) -> Result<NextRefusal> {
    let mut next = NextRefusal::new(status);
    if let Some(reason) = unsafe { text("reason", reason, reason_len) }? {
        next = next.because(reason);
    }
    match attempt {
        HR_ATTEMPT_ANY => Ok(next),
        HR_ATTEMPT_LISTEN => Ok(next.of(Attempt::Listen)),
        HR_ATTEMPT_CONNECT => Ok(next.of(Attempt::Connect)),
        HR_ATTEMPT_REQUEST => Ok(next.of(Attempt::Request)),
        other => Err(Failure::invalid(format!("{other} is nothing that somebody comes for"))),
    }
}

/// Lists the relayed connections that are open and the HTTP requests that are under way, in the order in which they came: each WebSocket
/// connection of a sender that is joined to a listener, from the moment on at which the sender's connect returns; each request from its
/// admission to the end of its answer, one-way requests excepted. Writes `capacity` of them at most; `count` gets how many there are, and may
/// be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_connections(
    relay: hr_local_relay,
    connections: *mut hr_relayed,
    capacity: usize,
    count: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || list(&get(relay)?.open_connections(), connections, capacity, count)) }
}

/// Lists the control channels of the listeners that are online in the same way, each from the moment on at which its listener knows that it is
/// online. They are held up and cut as what is relayed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_control_channels(
    relay: hr_local_relay,
    connections: *mut hr_relayed,
    capacity: usize,
    count: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || list(&get(relay)?.control_channels(), connections, capacity, count)) }
}

unsafe fn list(
    open: &[OpenConnection],
    connections: *mut hr_relayed,
    capacity: usize,
    count: *mut usize,
) -> Result<()> {
    if connections.is_null() && capacity > 0 {
        return Err(Failure::invalid("connections is NULL and has a capacity"));
    }
    if !count.is_null() {
        unsafe { count.write(open.len()) };
    }
    for (at, connection) in open.iter().take(capacity).enumerate() {
        let OpenConnection { id, from_sender, from_listener, stalled, .. } = connection;
        let (from_sender, from_listener) = (*from_sender, *from_listener);
        unsafe { connections.add(at).write(hr_relayed { id: id.0, from_sender, from_listener, stalled: *stalled }) };
    }
    Ok(())
}

/// Copies what is known about a relayed connection or a control channel, in the manner of hr_incoming_get. HR_END if it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_connection_get(
    relay: hr_local_relay,
    id: u64,
    field: hr_relayed_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let relay = get(relay)?;
            let mut open = relay.open_connections().into_iter().chain(relay.control_channels());
            let connection = open.find(|connection| connection.id.0 == id).ok_or_else(ended)?;
            let value = match field {
                HR_RELAYED_ENTITY => connection.entity.path().to_owned(),
                HR_RELAYED_TRACKING_ID => connection.tracking_id,
                HR_RELAYED_METHOD => connection.method.unwrap_or_default(),
                other => return Err(Failure::invalid(format!("{other} is nothing that is known about a connection"))),
            };
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Lets no byte of a relayed connection through until hr_local_relay_resume, as a network that has lost its way; of a request neither its body
/// nor the response. A control channel is held up as well, and then the relay gives the listener up by its own times; the listener comes back by
/// another channel as soon as it notices. HR_END if it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_stall(relay: hr_local_relay, id: u64, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || done(get(relay)?.stall(ConnectionId(id)))) }
}

/// Lets a stalled connection go on; nothing was lost. HR_END if it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_resume(relay: hr_local_relay, id: u64, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || done(get(relay)?.resume(ConnectionId(id)))) }
}

/// Cuts a relayed connection once so many bytes more were read from its two ends: both are reset, and what was on the way may be lost. 0
/// cuts at once. Of a request the sender's connection ends, before the response's head or in its body, and the listener sees that the
/// sender has gone. Of a control channel what the listener says counts, and it comes back. An id of 0 means the connection or request that
/// comes next, from its first byte on. HR_END if it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_cut_after(
    relay: hr_local_relay,
    id: u64,
    bytes: u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || cut_after(&*get(relay)?, id, bytes)) }
}

fn cut_after(relay: &LocalRelay, id: u64, bytes: u64) -> Result<()> {
    if id == 0 {
        relay.cut_next_after(bytes);
        return Ok(());
    }
    done(relay.cut_after(ConnectionId(id), bytes))
}

fn done(is_open: bool) -> Result<()> {
    if is_open { Ok(()) } else { Err(ended()) }
}

fn ended() -> Failure {
    Failure::new(hybridrelay_bindings_common::Code::END, "the relayed connection has ended")
}
