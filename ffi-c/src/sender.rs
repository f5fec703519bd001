//! Senders.

use std::ffi::c_char;

use hybridrelay_bindings_common::core::{Connect, Sender, TokenProvider};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};
use hybridrelay_bindings_common::operation;
use hybridrelay_bindings_common::options::target;

use crate::boundary::{Out, required, run, text, wait};
use crate::connection::{self, hr_connection};
use crate::error::{hr_code, hr_error};
use crate::options::{Options, hr_options, set_token};
use crate::queue::{Value, hr_operation, hr_queue, queue_of};

pub(crate) static SENDERS: Table<Object> = Table::new(4, "a sender");

#[derive(Clone)]
pub(crate) struct Object {
    sender: Sender,
    token: Option<TokenProvider>,
}

/// A sender: opens connections to a hybrid connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_sender {
    /// Not yours to read.
    pub id: u64,
}

/// Makes a sender. Nothing is dialled yet. The connection string is as for hr_listener_open. Release it with hr_sender_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_new(
    connection_string: *const c_char,
    len: usize,
    options: hr_options,
    sender: *mut hr_sender,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("sender", sender)?;
            let target = target(text("connection_string", connection_string, len)?);
            let options = Options::of(options)?;
            let sender = options.sender(Sender::builder(target))?.build()?;
            out.set(hr_sender { id: SENDERS.insert(Object { sender, token: options.token() })?.0 });
            Ok(())
        })
    }
}

pub(crate) fn sender_of(sender: hr_sender) -> Result<Sender> {
    Ok(SENDERS.get(Handle(sender.id))?.sender)
}

/// Replaces the token that a sender was made with by HR_OPT_TOKEN: what is opened and asked from now on shows the new one. The text is
/// copied. May be called from any thread.
///
/// HR_INVALID_ARGUMENT for an empty text, and for a sender that was made without HR_OPT_TOKEN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_set_token(
    sender: hr_sender,
    token: *const c_char,
    token_len: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let token = required("token", token, token_len)?;
            set_token(SENDERS.get(Handle(sender.id))?.token, token)
        })
    }
}

/// Opens a connection. `path`, such as "/orders/7?x=1", is added to the hybrid connection; NULL adds nothing. `subprotocols` are those
/// that are offered, separated by commas; NULL offers none.
///
/// A call that times out has given the attempt up. Release the connection with hr_connection_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_connect(
    sender: hr_sender,
    path: *const c_char,
    path_len: usize,
    subprotocols: *const c_char,
    subprotocols_len: usize,
    timeout_ms: u32,
    connection: *mut hr_connection,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("connection", connection)?;
            let path = text("path", path, path_len)?;
            let connect = connect(sender, path, text("subprotocols", subprotocols, subprotocols_len)?)?;
            out.set(connection::insert(wait(connect.open(), timeout_ms)?)?);
            Ok(())
        })
    }
}

/// The same for a queue: the completion holds the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_connect_submit(
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
            let connect = connect(sender, path, text("subprotocols", subprotocols, subprotocols_len)?)?;
            let queue = queue_of(queue)?;
            let future = async move { Ok(Value::Connection(connect.open().await?)) };
            hr_operation::store(operation, operation::submit(&queue, tag, future)?);
            Ok(())
        })
    }
}

fn connect(sender: hr_sender, path: Option<&str>, subprotocols: Option<&str>) -> Result<Connect> {
    let mut connect = sender_of(sender)?.connect();
    let (path, query) = path_and_query(path);
    if let Some(path) = path {
        connect = connect.path(path);
    }
    if let Some(query) = query {
        connect = connect.query(query);
    }
    let names = subprotocols.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(names.fold(connect, Connect::subprotocol))
}

/// What is added to the hybrid connection, taken apart.
pub(crate) fn path_and_query(added: Option<&str>) -> (Option<&str>, Option<&str>) {
    match added.and_then(|added| added.split_once('?')) {
        Some((path, query)) => (Some(path), Some(query)),
        None => (added, None),
    }
}

/// Releases a sender; its connections go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_sender_release(sender: hr_sender, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || SENDERS.remove(Handle(sender.id)).map(drop)) }
}
