//! Codes, and errors that tell more.

use std::ffi::{CString, c_char};
use std::ptr;

use hybridrelay_bindings_common::{Code, Failure};

/// What a call came to. HR_OK, or one of the codes below.
pub type hr_code = u32;

/// Success.
pub const HR_OK: hr_code = 0;
/// An argument, connection string or option is not usable; the message names it.
pub const HR_INVALID_ARGUMENT: hr_code = 1;
/// The credential was refused: token missing, malformed, expired or without the right.
pub const HR_UNAUTHORIZED: hr_code = 2;
/// There is no such hybrid connection.
pub const HR_ENDPOINT_NOT_FOUND: hr_code = 3;
/// The hybrid connection exists, but nobody listens on it.
pub const HR_NO_LISTENERS: hr_code = 4;
/// Something took longer than its limit, here or at the relay.
pub const HR_TIMEOUT: hr_code = 5;
/// The listener or the relay refused the connection with a status of its own.
pub const HR_REJECTED: hr_code = 6;
/// A quota is exhausted, such as the number of listeners.
pub const HR_QUOTA_EXCEEDED: hr_code = 7;
/// The relay is overloaded or shutting down.
pub const HR_SERVER_BUSY: hr_code = 8;
/// An established connection ended without a close.
pub const HR_CONNECTION_LOST: hr_code = 9;
/// The peer broke the protocol.
pub const HR_PROTOCOL: hr_code = 10;
/// The network failed below TLS: name resolution, TCP connect, reset while opening.
pub const HR_NETWORK: hr_code = 11;
/// TLS failed: untrusted or wrong certificate, handshake alert.
pub const HR_TLS: hr_code = 12;
/// The object was closed by this program.
pub const HR_CLOSED: hr_code = 13;
/// The connection was converted into bytes; message calls are no longer possible.
pub const HR_STREAM_IN_USE: hr_code = 14;
/// The relay does not offer the feature that the call needs; the message names it.
pub const HR_UNSUPPORTED: hr_code = 15;
/// A message is longer than the configured limit.
pub const HR_MESSAGE_TOO_LARGE: hr_code = 16;
/// A fault of this library. Please report it.
pub const HR_INTERNAL: hr_code = 17;
/// A proxy on the way to the relay wants credentials, or others.
pub const HR_PROXY_AUTHENTICATION_REQUIRED: hr_code = 18;
/// Nothing has come yet, and the call was not to wait.
pub const HR_WOULD_BLOCK: hr_code = 100;
/// The program cancelled the operation.
pub const HR_CANCELLED: hr_code = 101;
/// The handle is none, or its object was closed or released.
pub const HR_INVALID_HANDLE: hr_code = 102;
/// The object comes from before a fork; make a new one in the child.
pub const HR_FORKED: hr_code = 103;
/// The sequence has ended in order.
pub const HR_END: hr_code = 104;

/// What went wrong, in detail. Made by a call that failed; freed with hr_error_free. Its texts are valid until then.
pub struct hr_error {
    failure: Failure,
    message: CString,
    reason: Option<CString>,
    tracking_id: Option<CString>,
    hint: Option<CString>,
}

impl hr_error {
    pub(crate) fn boxed(failure: Failure) -> *mut Self {
        let core = failure.core();
        let text = |text: Option<&str>| text.map(c_text);
        let (reason, tracking_id, hint) = (
            text(core.and_then(|core| core.reason())),
            text(core.and_then(|core| core.tracking_id())),
            text(core.and_then(|core| core.hint())),
        );
        let message = c_text(&failure.to_string());
        Box::into_raw(Box::new(Self { failure, message, reason, tracking_id, hint }))
    }
}

/// A text for C, without the NULs that may be in it.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// An error of this library, or `None` for NULL.
unsafe fn look<'a>(error: *const hr_error) -> Option<&'a hr_error> {
    // SAFETY: NULL, or made by `boxed` and not yet freed.
    unsafe { error.as_ref() }
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// The code of an error; HR_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_code(error: *const hr_error) -> hr_code {
    unsafe { look(error) }.map_or(HR_OK, |error| error.failure.code().0)
}

/// What failed and why, one line. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_message(error: *const hr_error) -> *const c_char {
    pointer(unsafe { look(error) }.map(|error| &error.message))
}

/// Why, in the relay's or the listener's own words; NULL if nobody said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_reason(error: *const hr_error) -> *const c_char {
    pointer(unsafe { look(error) }.and_then(|error| error.reason.as_ref()))
}

/// The id under which the relay's logs know the attempt; NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_tracking_id(error: *const hr_error) -> *const c_char {
    pointer(unsafe { look(error) }.and_then(|error| error.tracking_id.as_ref()))
}

/// What to do about it, where the library knows; else NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_hint(error: *const hr_error) -> *const c_char {
    pointer(unsafe { look(error) }.and_then(|error| error.hint.as_ref()))
}

/// The HTTP status with which the relay or the listener refused; 0 if it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_status(error: *const hr_error) -> u16 {
    unsafe { look(error) }.and_then(|error| error.failure.core()?.status()).unwrap_or(0)
}

/// The WebSocket close code with which the connection ended; 0 if there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_close_code(error: *const hr_error) -> u16 {
    unsafe { look(error) }.and_then(|error| error.failure.core()?.close_code()).unwrap_or(0)
}

/// Whether HR_TIMEOUT is the call's own `timeout_ms`: what it waited for goes on, and the call may be made again. False of every other
/// limit, which has ended something: that of an option such as HR_OPT_CLOSE_TIMEOUT_MS, that of the relay, and of every other error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_is_call_timeout(error: *const hr_error) -> bool {
    unsafe { look(error) }.is_some_and(|error| error.failure.is_out_of_time())
}

/// Whether the same call may succeed later without a change.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_is_retryable(error: *const hr_error) -> bool {
    unsafe { look(error) }.is_some_and(|error| error.failure.is_retryable())
}

/// How long the relay asked to wait before the next attempt, in milliseconds; 0 if it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_retry_after_ms(error: *const hr_error) -> u64 {
    let wait = unsafe { look(error) }.and_then(|error| error.failure.core()?.retry_after());
    wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// Frees an error; NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_error_free(error: *mut hr_error) {
    if !error.is_null() {
        // SAFETY: made by `boxed`, and freed once.
        drop(unsafe { Box::from_raw(error) });
    }
}

/// The name of a code, such as "HR_NO_LISTENERS"; "HR_UNKNOWN" for one that this library does not know. Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn hr_code_name(code: hr_code) -> *const c_char {
    macro_rules! names {
        ($($name:ident),+ $(,)?) => {
            match code {
                $($name => concat!(stringify!($name), "\0"),)+
                _ => "HR_UNKNOWN\0",
            }
        };
    }
    let name = names![
        HR_OK,
        HR_INVALID_ARGUMENT,
        HR_UNAUTHORIZED,
        HR_ENDPOINT_NOT_FOUND,
        HR_NO_LISTENERS,
        HR_TIMEOUT,
        HR_REJECTED,
        HR_QUOTA_EXCEEDED,
        HR_SERVER_BUSY,
        HR_CONNECTION_LOST,
        HR_PROTOCOL,
        HR_NETWORK,
        HR_TLS,
        HR_CLOSED,
        HR_STREAM_IN_USE,
        HR_UNSUPPORTED,
        HR_MESSAGE_TOO_LARGE,
        HR_INTERNAL,
        HR_PROXY_AUTHENTICATION_REQUIRED,
        HR_WOULD_BLOCK,
        HR_CANCELLED,
        HR_INVALID_HANDLE,
        HR_FORKED,
        HR_END,
    ];
    name.as_ptr().cast()
}

/// The code of a failure, for completions.
pub(crate) fn code_of<T>(result: &Result<T, Failure>) -> hr_code {
    result.as_ref().err().map_or(Code::OK, Failure::code).0
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use hybridrelay_bindings_common::errors::TABLE;

    use super::*;

    #[test]
    fn the_header_has_the_table_of_every_language() {
        let header = include_str!("../include/hybridrelay.h");
        for row in TABLE {
            let (name, code) = (format!("HR_{}", row.name), row.code.0);
            let defined = format!("{}\n */\n#define {name} {code}\n", row.text);
            assert!(header.contains(&defined), "{name} is another in the header");
            // SAFETY: a text of the library.
            assert_eq!(unsafe { CStr::from_ptr(hr_code_name(code)) }.to_str(), Ok(name.as_str()));
        }
    }
}
