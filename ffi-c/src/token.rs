//! Tokens.

use std::ffi::c_char;
use std::time::Duration;

use hybridrelay_bindings_common::token;

use crate::boundary::{copy_out, required, run};
use crate::error::{hr_code, hr_error};

/// Makes a shared access signature for an audience, such as "http://relay.example.net/hyco", that is valid for so many seconds from
/// now. It is copied in the manner of hr_incoming_get. A secret: whoever has it may do what the key's rule allows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_token_create(
    audience: *const c_char,
    audience_len: usize,
    key_name: *const c_char,
    key_name_len: usize,
    key: *const c_char,
    key_len: usize,
    valid_seconds: u32,
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let audience = required("audience", audience, audience_len)?;
            let key_name = required("key_name", key_name, key_name_len)?;
            let key = required("key", key, key_len)?;
            let token = token::create(audience, key_name, key, Duration::from_secs(valid_seconds.into()))?;
            copy_out(&token, buffer, capacity, len)
        })
    }
}
