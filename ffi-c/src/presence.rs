//! Who listens on a hybrid connection, and what was agreed on with the relay.

use std::ffi::c_char;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hybridrelay_bindings_common::core::{Presence, PresenceWatcher, PresentListener, Sender};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, copy_out, required, run, wait};
use crate::error::{hr_code, hr_error};
use crate::listener::{LISTENERS, hr_listener};
use crate::news::{News, last_told};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};
use crate::sender::{hr_sender, sender_of};

pub(crate) static PRESENCE: Table<Arc<Presence>> = Table::new(45, "a presence");
pub(crate) static WATCHES: Table<Arc<Mutex<PresenceWatcher>>> = Table::new(46, "a watch of a presence");

/// Who listens on a hybrid connection, at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_presence {
    /// Not yours to read.
    pub id: u64,
}

/// Follows who listens on a hybrid connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_presence_watch {
    /// Not yours to read.
    pub id: u64,
}

/// How many listen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_presence_summary {
    /// How many listeners are online.
    pub count: u64,
    /// Since when there has been one without interruption, in milliseconds since 1970; 0 if there is none.
    pub since_ms: i64,
    /// How many of them are told one by one: 0 without the right to manage.
    pub told: u64,
}

/// Numbers of a listener that is online.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_present_numbers {
    /// Since when it is online, in milliseconds since 1970; 0 if it is not known.
    pub since_ms: i64,
    /// When its last byte came, in milliseconds since 1970; 0 if it is not known.
    pub last_heard_ms: i64,
    /// Senders and requests that it has been given and has not answered yet.
    pub in_flight: u64,
}

/// What can be asked about a listener that is online. What is not known is empty.
pub type hr_present_field = u32;

/// Names this life of it.
pub const HR_PRESENT_ID: hr_present_field = 1;
/// The id by which senders choose it and logs know it.
pub const HR_PRESENT_TRACKING_ID: hr_present_field = 2;
/// Where it connected from.
pub const HR_PRESENT_ADDRESS: hr_present_field = 3;
/// What it says it is.
pub const HR_PRESENT_AGENT: hr_present_field = 4;
/// The rule that let it in.
pub const HR_PRESENT_RULE: hr_present_field = 5;
/// What it and the relay agreed on, separated by ", ".
pub const HR_PRESENT_FEATURES: hr_present_field = 6;

/// Asks who listens now. HR_UNSUPPORTED from a relay that does not tell, as Azure Relay. Release it with hr_presence_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_presence(
    sender: hr_sender,
    timeout_ms: u32,
    presence: *mut hr_presence,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("presence", presence)?;
            out.set(insert(wait(now(sender_of(sender)?), timeout_ms)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the presence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_presence_submit(
    sender: hr_sender,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let sender = sender_of(sender)?;
            let queue = queue_of(queue)?;
            let future = async move { now(sender).await.map(Value::Presence) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

async fn now(sender: Sender) -> Result<Presence> {
    Ok(sender.presence_now().await?)
}

pub(crate) fn insert(presence: Presence) -> Result<hr_presence> {
    Ok(hr_presence { id: PRESENCE.insert(Arc::new(presence))?.0 })
}

/// Waits until somebody listens, for so long. HR_TIMEOUT if nobody does. `presence`, unless it is NULL, gets who; release it then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_wait_for_listener(
    sender: hr_sender,
    timeout_ms: u32,
    presence: *mut hr_presence,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let sender = sender_of(sender)?;
            // The call's own limit says what has passed; this one is for those without.
            let found = wait(sender.wait_for_listener(Duration::MAX), timeout_ms)?;
            if !presence.is_null() {
                presence.write(insert(found)?);
            }
            Ok(())
        })
    }
}

/// The same for a queue, without a limit: the completion holds the presence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_wait_for_listener_submit(
    sender: hr_sender,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let sender = sender_of(sender)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Presence(sender.wait_for_listener(Duration::MAX).await?)) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// How many listen, and since when.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_read(
    presence: hr_presence,
    summary: *mut hr_presence_summary,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("summary", summary)?;
            let presence = PRESENCE.get(Handle(presence.id))?;
            out.set(hr_presence_summary {
                count: presence.count as u64,
                since_ms: milliseconds(presence.since),
                told: presence.listeners.as_ref().map_or(0, Vec::len) as u64,
            });
            Ok(())
        })
    }
}

pub(crate) fn milliseconds(time: Option<SystemTime>) -> i64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Looks at the listener with this index.
fn with<T>(presence: hr_presence, index: usize, look: impl FnOnce(&PresentListener) -> Result<T>) -> Result<T> {
    let presence = PRESENCE.get(Handle(presence.id))?;
    let told = presence.listeners.as_deref().unwrap_or_default();
    let none = || Failure::new(Code::END, format!("{} listeners are told, and none has the index {index}", told.len()));
    look(told.get(index).ok_or_else(none)?)
}

/// Copies what is known about the listener with an index from 0 on, in the manner of hr_incoming_get. They are told in the order in
/// which they came. HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_get(
    presence: hr_presence,
    index: usize,
    field: hr_present_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let value = with(presence, index, |listener| {
                Ok(match field {
                    HR_PRESENT_ID => listener.id.clone(),
                    HR_PRESENT_TRACKING_ID => listener.tracking_id.clone(),
                    HR_PRESENT_ADDRESS => listener.address.map(|address| address.to_string()).unwrap_or_default(),
                    HR_PRESENT_AGENT => listener.agent.clone().unwrap_or_default(),
                    HR_PRESENT_RULE => listener.rule.clone(),
                    HR_PRESENT_FEATURES => listener.features.join(", "),
                    other => return Err(Failure::invalid(format!("{other} is nothing that a presence tells"))),
                })
            })?;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Copies what a listener says of itself under a key (HR_OPT_LABEL), in the manner of hr_incoming_get. HR_END if it has no such label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_label(
    presence: hr_presence,
    index: usize,
    key: *const c_char,
    key_len: usize,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let key = required("key", key, key_len)?;
            let none = || Failure::new(Code::END, format!("the listener has no label {key:?}"));
            let value = with(presence, index, |listener| listener.labels.get(key).cloned().ok_or_else(none))?;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// The numbers of the listener with an index. HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_numbers(
    presence: hr_presence,
    index: usize,
    numbers: *mut hr_present_numbers,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("numbers", numbers)?;
            out.set(with(presence, index, |listener| {
                Ok(hr_present_numbers {
                    since_ms: milliseconds(listener.since),
                    last_heard_ms: milliseconds(listener.last_heard),
                    in_flight: listener.in_flight as u64,
                })
            })?);
            Ok(())
        })
    }
}

/// Releases a presence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_release(presence: hr_presence, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || PRESENCE.remove(Handle(presence.id)).map(drop)) }
}

/// Follows who listens, in the background. Returns with the first answer, which hr_presence_watch_current tells; after it nothing ends
/// the watch. A call that times out has given the attempt up. Release it with hr_presence_watch_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_watch_presence(
    sender: hr_sender,
    timeout_ms: u32,
    watch: *mut hr_presence_watch,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("watch", watch)?;
            out.set(insert_watch(wait(begin(sender_of(sender)?), timeout_ms)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_watch_presence_submit(
    sender: hr_sender,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let sender = sender_of(sender)?;
            let queue = queue_of(queue)?;
            let future = async move { begin(sender).await.map(Value::PresenceWatch) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

async fn begin(sender: Sender) -> Result<PresenceWatcher> {
    Ok(sender.presence().await?)
}

pub(crate) fn insert_watch(watcher: PresenceWatcher) -> Result<hr_presence_watch> {
    Ok(hr_presence_watch { id: WATCHES.insert(Arc::new(Mutex::new(watcher)))?.0 })
}

fn watcher(watch: hr_presence_watch) -> Result<PresenceWatcher> {
    Ok(last_told(&*WATCHES.get(Handle(watch.id))?))
}

/// Who listens now, or did when the relay was heard last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_watch_current(
    watch: hr_presence_watch,
    presence: *mut hr_presence,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("presence", presence)?;
            out.set(insert(watcher(watch)?.current())?);
            Ok(())
        })
    }
}

/// Waits for a change that this watch has not told, an interruption or its end included, and tells who listens. What was over before it
/// looked is skipped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_watch_next(
    watch: hr_presence_watch,
    timeout_ms: u32,
    presence: *mut hr_presence,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("presence", presence)?;
            out.set(insert(wait(changed(WATCHES.get(Handle(watch.id))?), timeout_ms)?.tell())?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the presence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_watch_next_submit(
    watch: hr_presence_watch,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let watcher = WATCHES.get(Handle(watch.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::PresenceNews(Box::new(changed(watcher).await?))) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Cancel-safe: what was not told is still news.
async fn changed(told: Arc<Mutex<PresenceWatcher>>) -> Result<News<PresenceWatcher, Presence>> {
    let mut watcher = last_told(&told);
    let presence = watcher.changed().await.ok_or_else(|| Failure::new(Code::END, "the library was shut down"))?;
    Ok(News::new(presence, watcher, told))
}

/// HR_OK while the relay is heard; otherwise why it is not, as a failure of this call. It is asked again for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_watch_interruption(
    watch: hr_presence_watch,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || watcher(watch)?.interruption().map_or(Ok(()), |error| Err(error.into()))) }
}

/// Releases a watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_presence_watch_release(watch: hr_presence_watch, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || WATCHES.remove(Handle(watch.id)).map(drop)) }
}

/// Copies what a listener and its relay have agreed on beyond the protocol, separated by ", ", in the manner of hr_incoming_get. Empty
/// with Azure Relay, and while the listener is not online.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_listener_features(
    listener: hr_listener,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let features = LISTENERS.get(Handle(listener.id))?.listener.features();
            copy_out(&features.to_string(), buffer, capacity, len)
        })
    }
}
