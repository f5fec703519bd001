//! What the library logs.

use std::ffi::{CString, c_char};

use hybridrelay_bindings_common::log::{self, LogLevel};

use crate::boundary::{Out, limit, run};
use crate::error::{hr_code, hr_error};

/// How important a record is.
pub type hr_log_level = u32;

/// Nothing at all.
pub const HR_LOG_OFF: hr_log_level = 0;
/// Faults of the library.
pub const HR_LOG_ERROR: hr_log_level = 1;
/// What somebody should look at.
pub const HR_LOG_WARN: hr_log_level = 2;
/// What happens.
pub const HR_LOG_INFO: hr_log_level = 3;
/// Every step.
pub const HR_LOG_DEBUG: hr_log_level = 4;
/// Everything.
pub const HR_LOG_TRACE: hr_log_level = 5;

/// A record. Free it with hr_log_record_free.
#[repr(C)]
#[derive(Debug)]
pub struct hr_log_record {
    /// How important it is.
    pub level: hr_log_level,
    /// The part of the library.
    pub target: *mut c_char,
    /// What happened.
    pub text: *mut c_char,
}

/// Begins to collect records up to a level, or changes the level. Nothing is collected before. Take them with hr_log_next from one
/// thread of yours: 4096 wait at most, older ones are dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_log_collect(level: hr_log_level, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || log::collect(LogLevel::numbered(level)?)) }
}

/// Takes the next record. HR_WOULD_BLOCK if none comes in that time, and at once before hr_log_collect. Only a record ends a wait without a
/// limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_log_next(
    timeout_ms: u32,
    record: *mut hr_log_record,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("record", record)?;
            let next = log::next(limit(timeout_ms))?;
            let text = |text: &str| CString::new(text.replace('\0', "")).unwrap_or_default().into_raw();
            out.set(hr_log_record { level: next.level as u32, target: text(next.target), text: text(&next.text) });
            Ok(())
        })
    }
}

/// Frees the texts of a record and makes it empty. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_log_record_free(record: *mut hr_log_record) {
    // SAFETY: NULL, or a record as the header says.
    if let Some(record) = unsafe { record.as_mut() } {
        for text in [&mut record.target, &mut record.text] {
            let text = std::mem::replace(text, std::ptr::null_mut());
            if !text.is_null() {
                // SAFETY: made by `hr_log_next`, and freed once.
                drop(unsafe { CString::from_raw(text) });
            }
        }
    }
}
