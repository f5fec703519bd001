//! What every function of the interface does with its arguments and its outcome.
//!
//! C gives pointers that nobody can check: they are NULL, which is an error, or they are as the header says. That is the one thing
//! that is trusted here.

use std::ffi::{CStr, c_char};
use std::future::Future;
use std::mem::MaybeUninit;
use std::time::Duration;

use hybridrelay_bindings_common::call;
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::{Code, Failure};

use crate::cancellation::Uncancelled;
use crate::error::{hr_code, hr_error};
use crate::version::{HR_FOREVER, HR_NTS};

/// Runs a call: no panic leaves it, its thread is not cancelled in it, and its failure goes to `error` if that is wanted.
///
/// # Safety
///
/// `error` is NULL or may be written.
pub(crate) unsafe fn run(error: *mut *mut hr_error, call: impl FnOnce() -> Result<()>) -> hr_code {
    let _uncancelled = Uncancelled::new();
    match call::guard(call) {
        Ok(()) => Code::OK.0,
        Err(failure) => {
            let code = failure.code().0;
            if !error.is_null() {
                // SAFETY: as the caller says.
                unsafe { error.write(hr_error::boxed(failure)) };
            }
            code
        }
    }
}

/// Waits for a future of the SDK.
pub(crate) fn wait<T: Send, E: Into<Failure> + Send>(
    future: impl Future<Output = std::result::Result<T, E>> + Send,
    timeout_ms: u32,
) -> Result<T> {
    block_on(future, timeout_ms)?.map_err(Into::into)
}

/// Waits for a future; `timeout_ms` is the only limit that makes this fail.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send, timeout_ms: u32) -> Result<T> {
    call::block_on(future, limit(timeout_ms))
}

pub(crate) fn limit(timeout_ms: u32) -> Option<Duration> {
    (timeout_ms != HR_FOREVER).then(|| Duration::from_millis(timeout_ms.into()))
}

/// A text, or `None` for NULL.
///
/// # Safety
///
/// `text` is NULL, or `len` bytes of it may be read, or it ends with a NUL and `len` is `HR_NTS`. It stays so for `'a`.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char, len: usize) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    let bytes = if len == HR_NTS {
        // SAFETY: as the caller says.
        unsafe { CStr::from_ptr(text) }.to_bytes()
    } else {
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts(text.cast(), len) }
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Failure::invalid(format!("{name} is not UTF-8"))),
    }
}

/// A text that must be there.
///
/// # Safety
///
/// As [`text`].
pub(crate) unsafe fn required<'a>(name: &str, pointer: *const c_char, len: usize) -> Result<&'a str> {
    // SAFETY: as the caller says.
    unsafe { text(name, pointer, len) }?.ok_or_else(|| Failure::invalid(format!("{name} is NULL")))
}

/// Bytes; NULL only with a length of 0.
///
/// # Safety
///
/// `data` is NULL, or `len` bytes of it may be read and stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(name: &str, data: *const u8, len: usize) -> Result<&'a [u8]> {
    match (data.is_null(), len) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(Failure::invalid(format!("{name} is NULL and not empty"))),
        // SAFETY: as the caller says.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// A buffer of C's for what is read, which must have room: an end would look the same.
///
/// # Safety
///
/// `buffer` is NULL, or `capacity` bytes of it may be written for `'a`.
pub(crate) unsafe fn room<'a>(buffer: *mut u8, capacity: usize) -> Result<&'a mut [MaybeUninit<u8>]> {
    match (buffer.is_null(), capacity) {
        (true, _) => Err(Failure::invalid("buffer is NULL")),
        (false, 0) => Err(Failure::invalid("the buffer has no room: nothing can be read into it")),
        // SAFETY: as the caller says; it need not hold anything.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts_mut(buffer.cast(), capacity) }),
    }
}

/// Where a result goes.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Checked before the call has done anything, so that no result is lost.
    pub(crate) fn new(name: &str, place: *mut T) -> Result<Self> {
        if place.is_null() { Err(Failure::invalid(format!("{name} is NULL"))) } else { Ok(Self(place)) }
    }

    /// # Safety
    ///
    /// The place may be written.
    pub(crate) unsafe fn set(self, value: T) {
        // SAFETY: as the caller says.
        unsafe { self.0.write(value) }
    }
}

/// Copies a text, or bytes, with a NUL behind it, as far as there is room, and tells its length without the NUL.
///
/// # Safety
///
/// `buffer` is NULL or `capacity` bytes of it may be written; `len` is NULL or may be written.
pub(crate) unsafe fn copy_out(
    value: &(impl AsRef<[u8]> + ?Sized),
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> Result<()> {
    let value = value.as_ref();
    if !len.is_null() {
        // SAFETY: as the caller says.
        unsafe { len.write(value.len()) };
    }
    if buffer.is_null() && capacity == 0 && !len.is_null() {
        return Ok(());
    }
    if buffer.is_null() || capacity <= value.len() {
        let need = value.len() + 1;
        return Err(Failure::invalid(format!("the buffer has {capacity} bytes and needs {need}")));
    }
    // SAFETY: there is room for the text and its NUL, as the caller says.
    unsafe {
        buffer.cast::<u8>().copy_from_nonoverlapping(value.as_ptr(), value.len());
        buffer.add(value.len()).write(0);
    }
    Ok(())
}
