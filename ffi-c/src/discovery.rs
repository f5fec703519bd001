//! What a namespace offers.

use std::ffi::c_char;
use std::sync::{Arc, Mutex};

use hybridrelay_bindings_common::core::{Endpoint, EndpointEvent, EndpointEvents, Namespace};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::options::target;
use hybridrelay_bindings_common::turns::Turns;
use hybridrelay_bindings_common::{Code, Failure, operation};

use crate::boundary::{Out, copy_out, run, text, wait};
use crate::error::{hr_code, hr_error};
use crate::news::{News, last_told};
use crate::options::{Options, hr_options};
use crate::presence::milliseconds;
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static ENDPOINTS: Table<Arc<[Endpoint]>> = Table::new(47, "a list of endpoints");
pub(crate) static WATCHES: Table<Watched> = Table::new(48, "a watch of endpoints");

/// The endpoints of a namespace that are online, at one moment, in the order of their names.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_endpoints {
    /// Not yours to read.
    pub id: u64,
}

/// Follows which endpoints of a namespace are online.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_endpoints_watch {
    /// Not yours to read.
    pub id: u64,
}

/// What can be asked about an endpoint.
pub type hr_endpoint_field = u32;

/// Its name, for HR_OPT_ENTITY.
pub const HR_ENDPOINT_PATH: hr_endpoint_field = 1;
/// A name for people.
pub const HR_ENDPOINT_TITLE: hr_endpoint_field = 2;
/// A sentence or two for people; may be empty.
pub const HR_ENDPOINT_SUMMARY: hr_endpoint_field = 3;
/// Words to look for, separated by ", ".
pub const HR_ENDPOINT_TAGS: hr_endpoint_field = 4;
/// Where it takes HTTP requests.
pub const HR_ENDPOINT_URL: hr_endpoint_field = 5;
/// Where it takes WebSockets.
pub const HR_ENDPOINT_WEB_SOCKET_URL: hr_endpoint_field = 6;

/// A watch, and how many changes of it were told.
#[derive(Clone)]
pub(crate) struct Watched {
    watch: Arc<Turns<Watch>>,
    told: Arc<Mutex<u64>>,
}

/// What is known and what has changed.
pub(crate) struct Watch {
    events: EndpointEvents,
    known: Vec<Endpoint>,
    changes: u64,
}

/// Finds the endpoints of a namespace that are online now. The connection string is as for hr_listener_open; a hybrid connection in it
/// does not count. With a credential what it may send to is found as well, without one only what is public. HR_UNSUPPORTED from a relay
/// that does not tell, as Azure Relay. Release it with hr_endpoints_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_find(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    timeout_ms: u32,
    endpoints: *mut hr_endpoints,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("endpoints", endpoints)?;
            let namespace = namespace(text("connection_string", connection_string, len)?, options)?;
            out.set(insert(wait(find(namespace), timeout_ms)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the endpoints.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_find_submit(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let namespace = namespace(text("connection_string", connection_string, len)?, options)?;
            let queue = queue_of(queue)?;
            let future = async move { find(namespace).await.map(Value::Endpoints) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

fn namespace(connection_string: Option<&str>, options: hr_options) -> Result<Namespace> {
    Ok(Options::of(options)?.namespace(Namespace::builder(target(connection_string)))?.build()?)
}

async fn find(namespace: Namespace) -> Result<Vec<Endpoint>> {
    Ok(namespace.endpoints().await?)
}

pub(crate) fn insert(endpoints: Vec<Endpoint>) -> Result<hr_endpoints> {
    Ok(hr_endpoints { id: ENDPOINTS.insert(endpoints.into())?.0 })
}

/// How many endpoints there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_count(
    endpoints: hr_endpoints,
    count: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("count", count)?;
            out.set(ENDPOINTS.get(Handle(endpoints.id))?.len());
            Ok(())
        })
    }
}

/// Looks at the endpoint with this index.
fn with<T>(endpoints: hr_endpoints, index: usize, look: impl FnOnce(&Endpoint) -> Result<T>) -> Result<T> {
    let endpoints = ENDPOINTS.get(Handle(endpoints.id))?;
    let none =
        || Failure::new(Code::END, format!("there are {} endpoints, and none has the index {index}", endpoints.len()));
    look(endpoints.get(index).ok_or_else(none)?)
}

/// Copies what is known about the endpoint with an index from 0 on, in the manner of hr_incoming_get. HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_get(
    endpoints: hr_endpoints,
    index: usize,
    field: hr_endpoint_field,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let value = with(endpoints, index, |endpoint| {
                Ok(match field {
                    HR_ENDPOINT_PATH => endpoint.path.to_string(),
                    HR_ENDPOINT_TITLE => endpoint.title.clone(),
                    HR_ENDPOINT_SUMMARY => endpoint.summary.clone(),
                    HR_ENDPOINT_TAGS => endpoint.tags.join(", "),
                    HR_ENDPOINT_URL => endpoint.url.clone(),
                    HR_ENDPOINT_WEB_SOCKET_URL => endpoint.web_socket_url.clone(),
                    other => return Err(Failure::invalid(format!("{other} is nothing that an endpoint tells"))),
                })
            })?;
            copy_out(&value, buffer, capacity, len)
        })
    }
}

/// Whether senders to the endpoint with an index need a token, and since when it is online, in milliseconds since 1970; 0 if that is not
/// known. Both may be NULL. HR_END if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_access(
    endpoints: hr_endpoints,
    index: usize,
    requires_token: *mut bool,
    since_ms: *mut i64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            with(endpoints, index, |endpoint| {
                if !requires_token.is_null() {
                    requires_token.write(endpoint.requires_authorization);
                }
                if !since_ms.is_null() {
                    since_ms.write(milliseconds(endpoint.since));
                }
                Ok(())
            })
        })
    }
}

/// Releases a list of endpoints.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_release(endpoints: hr_endpoints, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || ENDPOINTS.remove(Handle(endpoints.id)).map(drop)) }
}

/// Follows which endpoints of a namespace are online. Nothing is asked before hr_endpoints_watch_next. Release it with
/// hr_endpoints_watch_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_watch_new(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    watch: *mut hr_endpoints_watch,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("watch", watch)?;
            let namespace = namespace(text("connection_string", connection_string, len)?, options)?;
            let watch = Turns::new(Watch { events: namespace.watch(), known: Vec::new(), changes: 0 });
            let object = Watched { watch: Arc::new(watch), told: Arc::default() };
            out.set(hr_endpoints_watch { id: WATCHES.insert(object)?.0 });
            Ok(())
        })
    }
}

/// Waits for the next change and tells all that are online then; at first, at once. It fails only if the relay cannot be heard at first;
/// later the relay is asked again for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_watch_next(
    watch: hr_endpoints_watch,
    timeout_ms: u32,
    endpoints: *mut hr_endpoints,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("endpoints", endpoints)?;
            out.set(insert(wait(changed(WATCHES.get(Handle(watch.id))?), timeout_ms)?.tell())?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the endpoints.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_watch_next_submit(
    watch: hr_endpoints_watch,
    queue: hr_queue,
    tag: u64,
    operation: *mut hr_operation,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let watch = WATCHES.get(Handle(watch.id))?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::EndpointsNews(changed(watch).await?)) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

/// Cancel-safe: what was not told is still news.
async fn changed(watched: Watched) -> Result<News<u64, Vec<Endpoint>>> {
    let Watched { watch, told } = watched;
    let mut watch = watch.turn().await;
    while watch.changes == last_told(&told) {
        let event = watch.events.next().await?;
        if watch.know(event) {
            watch.changes += 1;
        }
    }
    Ok(News::new(watch.known.clone(), watch.changes, told))
}

impl Watch {
    /// Whether that changed anything.
    fn know(&mut self, event: EndpointEvent) -> bool {
        match event {
            EndpointEvent::Present(all) => self.known = all,
            EndpointEvent::Online(endpoint) => {
                let at = self.known.partition_point(|known| known.path.canonical() < endpoint.path.canonical());
                let is_known = self.known.get(at).is_some_and(|known| known.path == endpoint.path);
                self.known.splice(at..at + usize::from(is_known), [endpoint]);
            }
            EndpointEvent::Offline { path, .. } => self.known.retain(|known| known.path != path),
            _ => return false,
        }
        true
    }
}

/// Releases a watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_endpoints_watch_release(watch: hr_endpoints_watch, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || WATCHES.remove(Handle(watch.id)).map(drop)) }
}
