//! Headers and texts of requests and responses.

use std::ffi::{CStr, c_char};

use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::http::{HeaderMap, HeaderName, HeaderValue};
use hybridrelay_bindings_common::{Code, Failure};

use crate::boundary::{copy_out, required};
use crate::version::HR_NTS;

/// A header of a message that is sent. Several may have the same name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_header {
    /// The name.
    pub name: *const c_char,
    /// Its length, or HR_NTS.
    pub name_len: usize,
    /// The value; bytes beyond ASCII are passed on as they are. NULL is an empty one.
    pub value: *const c_char,
    /// Its length, or HR_NTS.
    pub value_len: usize,
}

/// The headers that a program gives. Errors name a header, and never show its value: it may be a secret.
///
/// # Safety
///
/// `headers` is NULL, or that of `count` headers whose texts are as [`text`](crate::boundary::text) wants them.
pub(crate) unsafe fn headers_of(headers: *const hr_header, count: usize) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    if headers.is_null() {
        return if count == 0 { Ok(map) } else { Err(Failure::invalid("headers is NULL and not empty")) };
    }
    // SAFETY: as the caller says.
    for header in unsafe { std::slice::from_raw_parts(headers, count) } {
        // SAFETY: as the caller says.
        let (name, value) = unsafe { header_of(header) }?;
        map.append(name, value);
    }
    Ok(map)
}

/// # Safety
///
/// Its texts are as [`text`](crate::boundary::text) wants them.
unsafe fn header_of(header: &hr_header) -> Result<(HeaderName, HeaderValue)> {
    // SAFETY: as the caller says.
    let name = unsafe { required("the name of a header", header.name, header.name_len) }?;
    let value = match header.value_len {
        _ if header.value.is_null() => &[],
        // SAFETY: as the caller says.
        HR_NTS => unsafe { CStr::from_ptr(header.value) }.to_bytes(),
        // SAFETY: as the caller says.
        len => unsafe { std::slice::from_raw_parts(header.value.cast(), len) },
    };
    let invalid = |what: &str| Failure::invalid(format!("the {what} of the header {name:?} is not valid"));
    let name_read = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("name"))?;
    Ok((name_read, HeaderValue::from_bytes(value).map_err(|_| invalid("value"))?))
}

/// The values of a header, joined.
pub(crate) fn joined(headers: &HeaderMap, name: &str) -> Result<Vec<u8>> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let none = || Failure::new(Code::END, format!("there is no header {name:?}"));
    if values.is_empty() { Err(none()) } else { Ok(values.join(&b", "[..])) }
}

/// One of the headers, in an order that does not change; several of one name are several.
pub(crate) fn at(headers: &HeaderMap, index: usize) -> Result<(HeaderName, HeaderValue)> {
    let header = headers.iter().nth(index).map(|(name, value)| (name.clone(), value.clone()));
    header.ok_or_else(|| Failure::new(Code::END, format!("there are {} headers", headers.len())))
}

/// Where the name and the value of a header go.
pub(crate) struct HeaderOut {
    pub(crate) name: *mut c_char,
    pub(crate) name_capacity: usize,
    pub(crate) name_len: *mut usize,
    pub(crate) value: *mut c_char,
    pub(crate) value_capacity: usize,
    pub(crate) value_len: *mut usize,
}

impl HeaderOut {
    /// Copies both, and tells both lengths also if one of them has no room.
    ///
    /// # Safety
    ///
    /// As [`copy_out`], for each of them.
    pub(crate) unsafe fn copy(self, (name, value): (HeaderName, HeaderValue)) -> Result<()> {
        // SAFETY: as the caller says.
        let (name, value) = unsafe {
            (
                copy_out(name.as_str(), self.name, self.name_capacity, self.name_len),
                copy_out(value.as_bytes(), self.value, self.value_capacity, self.value_len),
            )
        };
        name.and(value)
    }
}
