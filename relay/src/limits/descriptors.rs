//! Descriptors: each socket is one, and the system gives a process only so many.

use std::{fmt, io};

/// How many descriptors this process may have, by [`raise_descriptor_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// Before.
    pub before: u64,
    /// Now.
    pub now: u64,
}

/// Raises this process's limit of descriptors (`RLIMIT_NOFILE`) as far as it may be raised without privileges. A relayed connection
/// takes two, and the usual limit of a shell is 1 024.
///
/// For programs, at their start: it concerns the whole process, so the library never does it by itself. Elsewhere than on Unix it does
/// nothing.
///
/// # Errors
///
/// What the system says. The limit is as before then.
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    // Asked for less than it has, it answers what it has.
    let before = if cfg!(unix) { rlimit::increase_nofile_limit(0)? } else { u64::MAX };
    let now = rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(DescriptorLimit { before, now })
}

impl fmt::Display for DescriptorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { now: u64::MAX, .. } => f.write_str("any number of descriptors"),
            Self { before, now } if before == now => write!(f, "{now} descriptors"),
            Self { before, now } => write!(f, "{now} descriptors, raised from {before}"),
        }
    }
}

/// Whether a failure means that this process, or the system, has no descriptor left.
pub(crate) fn are_exhausted(error: &io::Error) -> bool {
    // ENFILE and EMFILE, the same on every Unix; WSAEMFILE.
    let codes: &[i32] = if cfg!(windows) { &[10_024] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let first = raise_descriptor_limit().expect("allowed to everybody");
        assert!(first.now >= first.before);
        let again = raise_descriptor_limit().expect("allowed to everybody");
        assert_eq!(again, DescriptorLimit { before: first.now, now: first.now });
        assert_eq!(again.to_string(), format!("{} descriptors", first.now));
    }

    #[test]
    fn running_out_is_told_from_other_failures() {
        if cfg!(unix) {
            assert!(are_exhausted(&io::Error::from_raw_os_error(24)));
            assert!(are_exhausted(&io::Error::from_raw_os_error(23)));
        }
        assert!(!are_exhausted(&io::ErrorKind::ConnectionAborted.into()));
    }
}
