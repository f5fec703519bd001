//! The relay inside of the program, for its tests.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use hybridrelay_bindings_common::core::Error;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::runtime;
use hybridrelay_relay::LocalRelay;

use crate::boundary::{Out, copy_out, required, run, wait};
use crate::error::{hr_code, hr_error};
use crate::version::HR_FOREVER;

mod events;
mod instrument;

pub use events::*;
pub use instrument::*;

pub(crate) static RELAYS: Table<Arc<LocalRelay>> = Table::new(7, "a local relay");

/// A relay on loopback, with everything that listeners and senders of a test need. Hybrid connections come to be when somebody listens.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_local_relay {
    /// Not yours to read.
    pub id: u64,
}

/// Starts a relay on a free port of loopback. With `tls` it has a certificate: see hr_local_relay_ca_pem. Stop it with
/// hr_local_relay_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_start(
    tls: bool,
    relay: *mut hr_local_relay,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("relay", relay)?;
            let starting = async move { Ok(LocalRelay::builder().tls(tls).start().await?) };
            let relay = wait(runtime::elsewhere(starting), HR_FOREVER)?;
            out.set(hr_local_relay { id: RELAYS.insert(Arc::new(relay))?.0 });
            Ok(())
        })
    }
}

/// Copies a connection string with every right, in the manner of hr_incoming_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_connection_string(
    relay: hr_local_relay,
    entity: *const c_char,
    entity_len: usize,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let entity = required("entity", entity, entity_len)?;
            copy_out(&get(relay)?.connection_string(entity), buffer, capacity, len)
        })
    }
}

/// Copies the certificate to trust, for HR_OPT_EXTRA_CA_PEM, in the manner of hr_incoming_get; empty without TLS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_ca_pem(
    relay: hr_local_relay,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe { run(error, || copy_out(get(relay)?.ca_pem().unwrap_or_default(), buffer, capacity, len)) }
}

/// Cuts the control channels of a hybrid connection, as a failure of the network would; its listeners come back. `cut`, unless it is
/// NULL, gets how many there were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_drop_control(
    relay: hr_local_relay,
    entity: *const c_char,
    entity_len: usize,
    cut: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let count = get(relay)?.drop_control(required("entity", entity, entity_len)?);
            if !cut.is_null() {
                cut.write(count);
            }
            Ok(())
        })
    }
}

/// Stops a relay and releases it: connections have so many milliseconds to end, then they are cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_local_relay_stop(
    relay: hr_local_relay,
    drain_ms: u32,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let relay = RELAYS.remove(Handle(relay.id))?;
            // Whoever asks it something at this moment keeps it a little longer: then it is cut when that is over.
            let Some(relay) = Arc::into_inner(relay) else { return Ok(()) };
            let stopping = async {
                relay.shutdown(Duration::from_millis(drain_ms.into())).await;
                Ok::<_, Error>(())
            };
            wait(stopping, HR_FOREVER)
        })
    }
}

fn get(relay: hr_local_relay) -> Result<Arc<LocalRelay>> {
    RELAYS.get(Handle(relay.id))
}
