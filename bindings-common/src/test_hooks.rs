//! For the tests of a binding: what can go wrong, on demand.

use std::future::Future;

use hybridrelay::{Error, ErrorKind};

use crate::errors::{Code, Failure, Result, TABLE};

/// Panics, as a fault of a call would.
pub fn panic_in_call() -> Result<()> {
    panic!("a panic on demand")
}

/// Panics in a task.
pub async fn panic_in_task() -> Result<()> {
    panic_in_call()
}

/// Never ends.
pub fn hang() -> impl Future<Output = Result<()>> + Send + 'static {
    std::future::pending()
}

/// Fails with the code, and with everything beside it that an error may have.
pub fn fail(code: Code) -> Result<()> {
    if let Some(kind) = ErrorKind::ALL.iter().find(|kind| kind.code() == code.0) {
        let error = Error::new(*kind, format!("{code} on demand"))
            .with_status(418)
            .with_reason("because")
            .with_tracking_id("ca496b91-f5a3-4761-8eda-9a66dd9a2558_G0")
            .with_hint("do not ask for it");
        return Err(error.into());
    }
    match TABLE.iter().find(|row| row.code == code) {
        Some(row) if row.code != Code::OK => Err(Failure::new(code, format!("{} on demand", row.name))),
        _ => Ok(()),
    }
}
