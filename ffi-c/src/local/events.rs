//! What happens at a local relay.

use std::ffi::c_char;
use std::sync::Arc;

use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::returns::{Returns, Taken};
use hybridrelay_bindings_common::turns::Turns;
use hybridrelay_bindings_common::{Code, Failure, operation};
use hybridrelay_relay::{Event, Events};

use super::{get, hr_local_relay};
use crate::boundary::{Out, copy_out, run, wait};
use crate::error::{hr_code, hr_error};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static RELAY_EVENTS: Table<Arc<Followed>> = Table::new(40, "what follows a relay");
pub(crate) static RELAY_EVENT: Table<Arc<Event>> = Table::new(41, "an event of a relay");

pub(crate) struct Followed {
    events: Turns<Events>,
    returns: Returns<Arc<Event>>,
}

/// Follows what happens at a local relay.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_relay_events {
    /// Not yours to read.
    pub id: u64,
}

/// Something that happened at a local relay.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_relay_event {
    /// Not yours to read.
    pub id: u64,
}

/// What can be asked about an event of a relay. What it does not tell is empty.
pub type hr_relay_event_field = u32;

/// What happened, by the names of Azure's diagnostic log, such as "NewListenerRegistered".
pub const HR_RELAY_EVENT_OPERATION: hr_relay_event_field = 1;
/// The hybrid connection.
pub const HR_RELAY_EVENT_ENTITY: hr_relay_event_field = 2;
/// The id under which listener, sender and relay know the attempt.
pub const HR_RELAY_EVENT_TRACKING_ID: hr_relay_event_field = 3;
/// Address and port of whoever caused it.
pub const HR_RELAY_EVENT_PEER: hr_relay_event_field = 4;
/// Why something was refused, or how it ended, in a word that never changes.
pub const HR_RELAY_EVENT_REASON: hr_relay_event_field = 5;
/// The status of a refusal, in digits.
pub const HR_RELAY_EVENT_STATUS: hr_relay_event_field = 6;

/// Follows what happens from now on. The relay waits for nobody: whoever is more than 1 024 events behind misses the oldest ones.
/// Release it with hr_relay_events_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_events(
    relay: hr_local_relay,
    events: *mut hr_relay_events,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("events", events)?;
            let followed = Followed { events: Turns::new(get(relay)?.events()), returns: Returns::default() };
            out.set(hr_relay_events { id: RELAY_EVENTS.insert(Arc::new(followed))?.0 });
            Ok(())
        })
    }
}

/// Waits for the next event. HR_END once the relay has ended. Release it with hr_relay_event_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_relay_events_next(
    events: hr_relay_events,
    timeout_ms: u32,
    event: *mut hr_relay_event,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("event", event)?;
            out.set(insert_event(wait(next(RELAY_EVENTS.get(Handle(events.id))?), timeout_ms)?.keep())?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_relay_events_next_submit(
    events: hr_relay_events,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let events = RELAY_EVENTS.get(Handle(events.id))?;
            let queue = queue_of(queue)?;
            let future = async move { next(events).await.map(Value::RelayEvent) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Cancel-safe.
async fn next(followed: Arc<Followed>) -> Result<Taken<Arc<Event>>> {
    let more = async { Ok(followed.events.turn().await.next().await) };
    followed.returns.next(more).await?.ok_or_else(|| Failure::new(Code::END, "the relay has ended"))
}

pub(crate) fn insert_event(event: Arc<Event>) -> Result<hr_relay_event> {
    Ok(hr_relay_event { id: RELAY_EVENT.insert(event)?.0 })
}

/// Copies what an event tells, in the manner of hr_incoming_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_relay_event_get(
    event: hr_relay_event,
    field: hr_relay_event_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let event = RELAY_EVENT.get(Handle(event.id))?;
            let value = match field {
                HR_RELAY_EVENT_OPERATION => event.operation.as_str().to_owned(),
                HR_RELAY_EVENT_ENTITY => event.entity.as_ref().map(|key| key.path().to_owned()).unwrap_or_default(),
                HR_RELAY_EVENT_TRACKING_ID => event.tracking_id.clone(),
                HR_RELAY_EVENT_PEER => event.peer.to_string(),
                HR_RELAY_EVENT_REASON => event.detail.reason().unwrap_or_default().to_owned(),
                HR_RELAY_EVENT_STATUS => event.detail.status().map(|status| status.to_string()).unwrap_or_default(),
                other => return Err(Failure::invalid(format!("{other} is nothing that an event of a relay tells"))),
            };
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Releases an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_relay_event_release(event: hr_relay_event, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || RELAY_EVENT.remove(Handle(event.id)).map(drop)) }
}

/// Follows a relay no longer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_relay_events_release(events: hr_relay_events, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || RELAY_EVENTS.remove(Handle(events.id)).map(drop)) }
}
