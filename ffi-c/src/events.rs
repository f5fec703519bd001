//! Events: publishers, and listeners that hear all of them.

use std::ffi::c_char;
use std::sync::Arc;

use hybridrelay_bindings_common::core::{Event, EventOrigin, Events, Message, Publisher, PublisherBuilder};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::returns::{Returns, Taken};
use hybridrelay_bindings_common::{Code, Failure, call, operation};

use crate::boundary::{Out, bytes, copy_out, required, run, text, wait};
use crate::connection::{hr_message, hr_message_kind, message};
use crate::error::{hr_code, hr_error};
use crate::http_head::joined;
use crate::listener::{LISTENERS, hr_listener};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};
use crate::sender::{hr_sender, path_and_query, sender_of};

pub(crate) static PUBLISHERS: Table<Publisher> = Table::new(42, "a publisher");
pub(crate) static EVENTS: Table<Heard> = Table::new(43, "the events of a listener");
pub(crate) static EVENT: Table<Event> = Table::new(44, "an event");

#[derive(Clone)]
pub(crate) struct Heard {
    events: Events,
    returns: Arc<Returns<Event>>,
}

/// A connection on which this side only speaks. Threads may publish at once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_publisher {
    /// Not yours to read.
    pub id: u64,
}

/// Everything that the publishers of a hybrid connection say, one event after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_events {
    /// Not yours to read.
    pub id: u64,
}

/// An event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_event {
    /// Not yours to read.
    pub id: u64,
}

/// What an event is. Tolerate numbers you do not know.
pub type hr_event_kind = u32;

/// A message of a publisher that is connected.
pub const HR_EVENT_MESSAGE: hr_event_kind = 1;
/// An HTTP request. Its sender has been answered.
pub const HR_EVENT_REQUEST: hr_event_kind = 2;
/// The relay has dropped events of a publisher, because this listener did not keep up.
pub const HR_EVENT_MISSED: hr_event_kind = 3;

/// What can be asked about an event. What it does not tell is empty.
pub type hr_event_field = u32;

/// The path behind the hybrid connection, percent-encoded as the sender wrote it.
pub const HR_EVENT_PATH: hr_event_field = 1;
/// The query without the relay's own parameters.
pub const HR_EVENT_QUERY: hr_event_field = 2;
/// The sender's address and port as the relay saw them.
pub const HR_EVENT_REMOTE_ADDRESS: hr_event_field = 3;
/// The sub-protocol of a publisher.
pub const HR_EVENT_SUBPROTOCOL: hr_event_field = 4;
/// The id under which the relay knows the publisher, or the request: the same for all events of one connection.
pub const HR_EVENT_TRACKING_ID: hr_event_field = 5;
/// The method of a request.
pub const HR_EVENT_METHOD: hr_event_field = 6;

/// Opens a publisher. `path` and `subprotocols` are as for hr_sender_connect. At a hybrid connection for events every listener hears it,
/// at any other one the listener that accepts it. A call that times out has given the attempt up. Release it with hr_publisher_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_open(
    sender: hr_sender,
    path: *const c_char,
    path_len: usize,
    subprotocols: *const c_char,
    subprotocols_len: usize,
    timeout_ms: u32,
    publisher: *mut hr_publisher,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("publisher", publisher)?;
            let path = text("path", path, path_len)?;
            let builder = prepare(sender, path, text("subprotocols", subprotocols, subprotocols_len)?)?;
            out.set(insert(wait(builder.open(), timeout_ms)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the publisher.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_open_submit(
    sender: hr_sender,
    path: *const c_char,
    path_len: usize,
    subprotocols: *const c_char,
    subprotocols_len: usize,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let path = text("path", path, path_len)?;
            let builder = prepare(sender, path, text("subprotocols", subprotocols, subprotocols_len)?)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Publisher(builder.open().await?)) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

fn prepare(sender: hr_sender, path: Option<&str>, subprotocols: Option<&str>) -> Result<PublisherBuilder> {
    let mut builder = sender_of(sender)?.publisher();
    let (path, query) = path_and_query(path);
    if let Some(path) = path {
        builder = builder.path(path);
    }
    if let Some(query) = query {
        builder = builder.query(query);
    }
    let names = subprotocols.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(names.fold(builder, PublisherBuilder::subprotocol))
}

pub(crate) fn insert(publisher: Publisher) -> Result<hr_publisher> {
    Ok(hr_publisher { id: PUBLISHERS.insert(publisher)?.0 })
}

/// Publishes an event: HR_MESSAGE_TEXT, which must be UTF-8, or HR_MESSAGE_BINARY. It is taken over whole, as fast as the network takes it;
/// that says nothing of who has heard it. A call that timed out has published nothing. HR_MESSAGE_TOO_LARGE when an event before was
/// longer than the hybrid connection takes, which ends the publisher.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_publish(
    publisher: hr_publisher,
    kind: hr_message_kind,
    data: *const u8,
    len: usize,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            wait(publisher.enqueue(message(kind, bytes("data", data, len)?)?), timeout_ms)
        })
    }
}

/// The same for a queue. The data is copied. One that is cancelled has published nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_publish_submit(
    publisher: hr_publisher,
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
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            let message = message(kind, bytes("data", data, len)?)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(publisher.enqueue(message).await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Waits until everything that was published has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_flush(
    publisher: hr_publisher,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(PUBLISHERS.get(Handle(publisher.id))?.flush(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_flush_submit(
    publisher: hr_publisher,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(publisher.flush().await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Ends a publisher behind everything that was published, and waits until the other side has taken it. Doing it twice does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_close(
    publisher: hr_publisher,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || wait(PUBLISHERS.get(Handle(publisher.id))?.close(), timeout_ms)) }
}

/// The same for a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_close_submit(
    publisher: hr_publisher,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(publisher.close().await.map(|()| Value::None)?) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Waits until the other side has ended the publisher, and fails with why. Never succeeds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_ended(
    publisher: hr_publisher,
    timeout_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            wait(async { Err::<(), _>(publisher.ended().await) }, timeout_ms)
        })
    }
}

/// The same for a queue. It uses the publisher, and hr_publisher_close does not end it: cancel it when you have done with the publisher.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_ended_submit(
    publisher: hr_publisher,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let publisher = PUBLISHERS.get(Handle(publisher.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Err(publisher.ended().await.into()) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Ends a publisher at once; what has not left is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_abort(publisher: hr_publisher, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            PUBLISHERS.get(Handle(publisher.id))?.abort();
            Ok(())
        })
    }
}

/// Copies the id under which relay and subscribers know the publisher, in the manner of hr_incoming_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_tracking_id(
    publisher: hr_publisher,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || copy_out(PUBLISHERS.get(Handle(publisher.id))?.tracking_id(), buffer, capacity, len)) }
}

/// Releases a publisher. One that was not closed is aborted, as soon as no call uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_publisher_release(publisher: hr_publisher, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || PUBLISHERS.remove(Handle(publisher.id)).map(drop)) }
}

/// Takes everything that comes to a listener from here on as events: the messages of every publisher, and requests, one after the other.
/// At most 1 MiB of them waits. Once it is released, what comes then waits for hr_listener_accept again. Release it with
/// hr_events_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_events(
    listener: hr_listener,
    events: *mut hr_events,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("events", events)?;
            let listener = LISTENERS.get(Handle(listener.id))?.listener;
            // It starts a task at once.
            let events = call::within(|| listener.events())?;
            out.set(hr_events { id: EVENTS.insert(Heard { events, returns: Arc::default() })?.0 });
            Ok(())
        })
    }
}

/// Waits for the next event. HR_END after hr_listener_close. Release it with hr_event_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_events_next(
    events: hr_events,
    timeout_ms: u32,
    event: *mut hr_event,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("event", event)?;
            out.set(insert_event(wait(next(EVENTS.get(Handle(events.id))?), timeout_ms)?.keep())?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_events_next_submit(
    events: hr_events,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let events = EVENTS.get(Handle(events.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Event(Box::new(next(events).await?))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Cancel-safe.
/// Cancel-safe.
async fn next(heard: Heard) -> Result<Taken<Event>> {
    let more = async { Ok(heard.events.next().await?) };
    heard.returns.next(more).await?.ok_or_else(|| Failure::new(Code::END, "the listener was closed"))
}

pub(crate) fn insert_event(event: Event) -> Result<hr_event> {
    Ok(hr_event { id: EVENT.insert(event)?.0 })
}

/// What an event is, and how many events were dropped if it is HR_EVENT_MISSED. Both may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_event_kind_of(
    event: hr_event,
    kind: *mut hr_event_kind,
    missed: *mut u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let (is, count) = match EVENT.get(Handle(event.id))? {
                Event::Message { .. } => (HR_EVENT_MESSAGE, 0),
                Event::Request { .. } => (HR_EVENT_REQUEST, 0),
                Event::Missed { count, .. } => (HR_EVENT_MISSED, count),
                _ => (0, 0),
            };
            if !kind.is_null() {
                kind.write(is);
            }
            if !missed.is_null() {
                missed.write(count);
            }
            Ok(())
        })
    }
}

/// What an event says: a publisher's message, or the body of a request. Free it with hr_message_free; it may outlive the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_event_message(
    event: hr_event,
    message: *mut hr_message,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("message", message)?;
            out.set(match EVENT.get(Handle(event.id))? {
                Event::Message { message, .. } => hr_message::new(message),
                Event::Request { body, .. } => hr_message::new(Message::from(body)),
                _ => hr_message::new(Message::from(Vec::new())),
            });
            Ok(())
        })
    }
}

/// Copies what is known about an event, in the manner of hr_incoming_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_event_get(
    event: hr_event,
    field: hr_event_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let event = EVENT.get(Handle(event.id))?;
            copy_out(&known(&event, field)?, buffer, capacity, len)
        })
    }
}

fn known(event: &Event, field: hr_event_field) -> Result<String> {
    let origin: &EventOrigin = event.origin();
    Ok(match field {
        HR_EVENT_PATH => origin.path().to_owned(),
        HR_EVENT_QUERY => origin.query().unwrap_or_default().to_owned(),
        HR_EVENT_REMOTE_ADDRESS => origin.remote_addr().map(|address| address.to_string()).unwrap_or_default(),
        HR_EVENT_SUBPROTOCOL => origin.subprotocol().unwrap_or_default().to_owned(),
        HR_EVENT_TRACKING_ID => origin.tracking_id().to_owned(),
        HR_EVENT_METHOD => match event {
            Event::Request { method, .. } => method.to_string(),
            _ => String::new(),
        },
        other => return Err(Failure::invalid(format!("{other} is nothing that is known about an event"))),
    })
}

/// Copies a header of the publisher's handshake, or of the request, in the manner of hr_incoming_header. HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_event_header(
    event: hr_event,
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
            let event = EVENT.get(Handle(event.id))?;
            copy_out(&joined(event.origin().headers(), name)?, buffer, capacity, len)
        })
    }
}

/// Releases an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_event_release(event: hr_event, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || EVENT.remove(Handle(event.id)).map(drop)) }
}

/// Releases events: publishers are let go as soon as no call uses them any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_events_release(events: hr_events, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            let events = EVENTS.remove(Handle(events.id))?;
            call::within(|| drop(events))
        })
    }
}
