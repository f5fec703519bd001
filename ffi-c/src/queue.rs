//! Completion queues, for programs with an event loop.

use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use hybridrelay_bindings_common::Failure;
use hybridrelay_bindings_common::core::{
    Connection, Endpoint, Event, Message, Presence, PresenceWatcher, Publisher, Status, StatusWatcher,
};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::operation::{self, OperationId};
use hybridrelay_bindings_common::queue::Queue;
use hybridrelay_bindings_common::returns::Taken;

use crate::boundary::{Out, limit, run};
use crate::cancellation::Uncancelled;
use crate::connection::{self, hr_connection, hr_message};
use crate::discovery::{self, hr_endpoints};
use crate::error::{code_of, hr_code, hr_error};
use crate::events::{self, hr_event, hr_publisher};
use crate::incoming::{self, Waiting, hr_incoming};
use crate::listener::{self, hr_listener};
use crate::local::{self, hr_relay_event};
use crate::news::News;
use crate::presence::{self, hr_presence, hr_presence_watch};

pub(crate) static QUEUES: Table<Queue<Value>> = Table::new(6, "a queue");

/// A queue in which operations end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_queue {
    /// Not yours to read.
    pub id: u64,
}

/// An operation that was submitted. It needs no release: it is over when its completion is in the queue.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_operation {
    /// Not yours to read.
    pub id: u64,
}

/// The end of an operation. Which of its parts hold something follows from the operation; the others are all zero. What it holds is
/// yours to release or free, `error` too.
#[repr(C)]
#[derive(Debug)]
pub struct hr_completion {
    /// What was given when the operation was submitted.
    pub tag: u64,
    /// The operation.
    pub operation: hr_operation,
    /// What it came to; HR_CANCELLED after hr_operation_cancel, unless it was over before.
    pub code: hr_code,
    /// Of an accept on a listener.
    pub incoming: hr_incoming,
    /// Of a connect, and of an accept of a sender.
    pub connection: hr_connection,
    /// Of a receive, and of a read of a body or a stream: then HR_MESSAGE_BINARY.
    pub message: hr_message,
    /// More about a failure; NULL on success. With the code HR_OK: of hr_forwarder_failure_submit what has failed in the forwarder, of
    /// hr_listener_wait_status_submit why the listener is not online.
    pub error: *mut hr_error,
    /// How many bytes a write has taken over; how many listeners have a one-way request; the status of a response or of a
    /// listener.
    pub number: u64,
    /// Of hr_publisher_open_submit.
    pub publisher: hr_publisher,
    /// Of hr_events_next_submit.
    pub event: hr_event,
    /// Of what tells who listens.
    pub presence: hr_presence,
    /// Of hr_sender_watch_presence_submit.
    pub presence_watch: hr_presence_watch,
    /// Of what tells the endpoints of a namespace.
    pub endpoints: hr_endpoints,
    /// Of hr_relay_events_next_submit.
    pub relay_event: hr_relay_event,
    /// Of hr_listener_open_submit.
    pub listener: hr_listener,
}

/// What an operation brings. It gets its handle when the program takes it out of the queue, so what nobody takes goes back where it came
/// from, or is released by itself.
pub(crate) enum Value {
    None,
    Incoming(Box<Taken<Waiting>>),
    Connection(Connection),
    Message(Taken<Message>),
    Bytes(Taken<Bytes>),
    Number(u64),
    Failure(Failure),
    Publisher(Publisher),
    Event(Box<Taken<Event>>),
    Presence(Presence),
    PresenceWatch(PresenceWatcher),
    Endpoints(Vec<Endpoint>),
    RelayEvent(Taken<Arc<hybridrelay_relay::Event>>),
    Listener(Box<listener::Object>),
    Status(Box<News<StatusWatcher, Status>>),
    PresenceNews(Box<News<PresenceWatcher, Presence>>),
    EndpointsNews(News<u64, Vec<Endpoint>>),
}

impl hr_completion {
    fn hold(&mut self, value: Value) -> Result<()> {
        match value {
            Value::None => {}
            Value::Incoming(waiting) => self.incoming = incoming::insert(waiting.keep())?,
            Value::Connection(connection) => self.connection = connection::insert(connection)?,
            Value::Message(message) => self.message = hr_message::new(message.keep()),
            Value::Bytes(bytes) => self.message = hr_message::new(Message::from(bytes.keep())),
            Value::Number(number) => self.number = number,
            Value::Failure(failure) => self.error = hr_error::boxed(failure),
            Value::Publisher(publisher) => self.publisher = events::insert(publisher)?,
            Value::Event(event) => self.event = events::insert_event(event.keep())?,
            Value::Presence(presence) => self.presence = presence::insert(presence)?,
            Value::PresenceWatch(watcher) => self.presence_watch = presence::insert_watch(watcher)?,
            Value::Endpoints(endpoints) => self.endpoints = discovery::insert(endpoints)?,
            Value::RelayEvent(event) => self.relay_event = local::insert_event(event.keep())?,
            Value::Listener(opened) => self.listener = listener::insert(*opened)?,
            Value::Status(status) => {
                let status = status.tell();
                let (number, reason) = listener::number_and_reason(&status);
                self.number = number.into();
                self.error = reason.map_or(ptr::null_mut(), |error| hr_error::boxed(Failure::Core(error.clone())));
            }
            Value::PresenceNews(presence) => self.presence = presence::insert(presence.tell())?,
            Value::EndpointsNews(endpoints) => self.endpoints = discovery::insert(endpoints.tell())?,
        }
        Ok(())
    }
}

impl hr_operation {
    /// Tells the program which operation it is, if it wants to know.
    ///
    /// # Safety
    ///
    /// `place` is NULL or may be written.
    pub(crate) unsafe fn store(place: *mut Self, id: OperationId) {
        if !place.is_null() {
            // SAFETY: as the caller says.
            unsafe { place.write(Self { id: id.0 }) };
        }
    }
}

pub(crate) fn queue_of(queue: hr_queue) -> Result<Queue<Value>> {
    QUEUES.get(Handle(queue.id))
}

/// Makes a queue. Release it with hr_queue_release.
///
/// What a queue uses is best opened by a call that ends in _submit: then the thread that serves its sockets also ends its operations. What a
/// blocking call has opened serves a queue as well, and each end costs one change of threads more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_queue_new(queue: *mut hr_queue, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("queue", queue)?;
            out.set(hr_queue { id: QUEUES.insert(Queue::new()?)?.0 });
            Ok(())
        })
    }
}

/// Takes the next completion. HR_CLOSED if the queue is released meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_queue_next(
    queue: hr_queue,
    timeout_ms: u32,
    completion: *mut hr_completion,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("completion", completion)?;
            let ended = queue_of(queue)?.next(limit(timeout_ms))?;
            let mut completion = hr_completion {
                tag: ended.tag,
                operation: hr_operation { id: ended.operation.0 },
                code: code_of(&ended.result),
                incoming: hr_incoming { id: 0 },
                connection: hr_connection { id: 0 },
                message: hr_message::none(),
                error: ptr::null_mut(),
                number: 0,
                publisher: hr_publisher { id: 0 },
                event: hr_event { id: 0 },
                presence: hr_presence { id: 0 },
                presence_watch: hr_presence_watch { id: 0 },
                endpoints: hr_endpoints { id: 0 },
                relay_event: hr_relay_event { id: 0 },
                listener: hr_listener { id: 0 },
            };
            if let Err(failure) = ended.result.and_then(|value| completion.hold(value)) {
                completion.code = failure.code().0;
                completion.error = hr_error::boxed(failure);
            }
            out.set(completion);
            Ok(())
        })
    }
}

/// A descriptor that is readable while completions wait, for poll, epoll or kqueue. It belongs to the queue: neither read nor close it.
/// -1 if the handle is none, and on systems without descriptors.
#[unsafe(no_mangle)]
pub extern "C" fn hr_queue_fd(queue: hr_queue) -> i32 {
    // If the queue is released meanwhile, its descriptors are closed here.
    let _uncancelled = Uncancelled::new();
    #[cfg(unix)]
    if let Ok(queue) = queue_of(queue) {
        use std::os::fd::AsRawFd;
        return queue.descriptor().as_raw_fd();
    }
    -1
}

/// Cancels an operation. Its completion comes all the same. One that is over is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn hr_operation_cancel(operation: hr_operation) {
    let _uncancelled = Uncancelled::new();
    operation::cancel(OperationId(operation.id));
}

/// Releases a queue: whoever waits in hr_queue_next gets HR_CLOSED, and every operation that would end in it is cancelled, since nobody can
/// hear of its end. When the call returns none is under way any more.
///
/// What has come for them and was not taken from the queue goes back: senders and requests to their listener, messages, bytes and events to
/// what they were received from, in their order; the next call gets them. A change of a status, of who listens or of
/// the endpoints is still news. Objects that an operation has opened, such as a connection or a listener, are released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_queue_release(queue: hr_queue, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            let queue = QUEUES.remove(Handle(queue.id))?;
            operation::abandon_all(&queue);
            Ok(())
        })
    }
}
