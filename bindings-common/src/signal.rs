//! A descriptor that tells an event loop whether something waits.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

/// One byte lies in the pipe exactly while something waits. Whoever calls holds the lock of what waits.
pub(crate) struct Signal {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Something waits, and nothing did before.
    pub(crate) fn raise(&self) {
        // One byte always fits into an empty pipe, and both ends live as long as this.
        let _ = (&self.writer).write_all(&[1]);
    }

    /// Nothing waits any more.
    pub(crate) fn lower(&self) {
        let _ = (&self.reader).read_exact(&mut [0]);
    }

    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.reader)
    }
}
