//! Which library this is.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::time::Duration;

use hybridrelay_bindings_common::handles::{Counted, live_handles};
use hybridrelay_bindings_common::runtime;

use crate::cancellation::Uncancelled;
use crate::{
    connection, discovery, events, forward, http_body, http_incoming, http_outgoing, incoming, listener, local,
    options, presence, queue, sender, stream,
};

/// The version of the interface, which this header describes. A library with the same number can be used instead of this one; a
/// larger number means that something was taken away or changed.
pub const HR_ABI_VERSION: u32 = 0;

/// The length of a text that ends with a NUL.
///
/// cbindgen:ignore
pub const HR_NTS: usize = usize::MAX;

/// A time limit that never passes.
pub const HR_FOREVER: u32 = u32::MAX;

/// The version of the interface that the loaded library has: compare it with HR_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn hr_abi_version() -> u32 {
    HR_ABI_VERSION
}

/// The version of the loaded library, such as "0.1.0". Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn hr_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// How many objects of all kinds are alive: 0 when everything was released.
#[unsafe(no_mangle)]
pub extern "C" fn hr_live_handles() -> usize {
    counts().values().sum()
}

/// Ends the library's threads: for programs that unload it, and before a leak checker looks, to which what is in the middle of something
/// may seem to be a leak. Connections that are open are cut, whoever waits in a call of an object gets HR_CLOSED, and operations under way
/// end with that or with what their object came to. What was connected is of no more use and can be released. Waits timeout_ms at most.
/// The next object starts threads anew.
#[unsafe(no_mangle)]
pub extern "C" fn hr_shutdown(timeout_ms: u32) {
    let _uncancelled = Uncancelled::new();
    runtime::shutdown(Duration::from_millis(timeout_ms.into()));
}

fn counts() -> BTreeMap<&'static str, usize> {
    let tables: &[&dyn Counted] = &[
        &options::OPTIONS,
        &listener::LISTENERS,
        &incoming::INCOMING,
        &sender::SENDERS,
        &connection::CONNECTIONS,
        &queue::QUEUES,
        &local::RELAYS,
        &http_incoming::REQUESTS,
        &http_incoming::RESPONDERS,
        &http_body::BODIES,
        &http_outgoing::OUTGOING,
        &http_outgoing::RESPONSES,
        &stream::STREAMS,
        &forward::FORWARDERS,
        &local::RELAY_EVENTS,
        &local::RELAY_EVENT,
        &events::PUBLISHERS,
        &events::EVENTS,
        &events::EVENT,
        &presence::PRESENCE,
        &presence::WATCHES,
        &discovery::ENDPOINTS,
        &discovery::WATCHES,
    ];
    live_handles(tables)
}
