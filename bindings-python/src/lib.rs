//! `hybridrelay._native`: what the Python package stands on.
//!
//! A function here takes its arguments apart, calls one thing of the SDK through `bindings-common`, and hands back plain Python objects;
//! everything that a Python programmer sees is written in Python, in `python/hybridrelay`.
//!
//! Three rules keep interpreter and runtime apart:
//!
//! - No thread of the runtime calls into Python: what ends later arrives in a [`Queue`](queue::Queue), whose descriptor wakes an event
//!   loop or a thread of Python's.
//! - No thread of Python waits in here: it waits for a descriptor, so signals, exits and other threads find it where they expect it.
//! - No Python object is held by a future, so none is dropped by a thread of the runtime.
//!
//! Calls that end later return their value if they ended at once, else a [`Begun`](queue::Begun), which a queue and a tag are given to.

#![allow(clippy::too_many_arguments)] // Each is one of a call in Python.

mod boundary;
mod connection;
mod events;
mod http;
mod incoming;
mod listener;
mod local;
mod log;
mod options;
mod presence;
mod queue;
mod sender;
mod stream;
#[cfg(feature = "test-hooks")]
mod test_hooks;
mod token;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use hybridrelay_bindings_common::errors::TABLE;
    use hybridrelay_bindings_common::operation;
    use pyo3::prelude::*;

    #[cfg(feature = "test-hooks")]
    #[pymodule_export]
    use crate::test_hooks::{fail, hang, panic_in_call, panic_in_task};
    #[pymodule_export]
    use crate::{
        connection::Connection,
        events::{EventOrigin, Events, Publisher},
        http::{Body, BodyWriter, Responder, ResponseWriter},
        incoming::{IncomingConnect, IncomingRequest},
        listener::{Listener, StatusWatcher},
        local::{LocalRelay, RelayEvents},
        log::{log_collect, log_fileno, log_take},
        presence::{EndpointEvents, Namespace, PresenceEvents},
        queue::{Begun, Queue},
        sender::Sender,
        stream::Stream,
        token::{TokenProvider, TokenRequest, create_token},
    };

    /// The version of the library.
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// How many operations are under way.
    #[pyfunction]
    fn under_way() -> usize {
        operation::under_way()
    }

    /// Every code with its name and what it means.
    #[pyfunction]
    fn error_table() -> Vec<(u32, &'static str, &'static str)> {
        TABLE.iter().map(|row| (row.code.0, row.name, row.text)).collect()
    }
}
