//! Why an operation failed, as it is told.

use serde_json::{Value, json};

use crate::breakage;

/// Why an operation failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The SDK says so.
    Sdk(hybridrelay::Error),
    /// The command `cancel` has ended it.
    Cancelled,
    /// The command cannot be carried out: a mistake of the tests or of this program.
    Fault(anyhow::Error),
}

impl Failure {
    pub(crate) fn described(&self) -> Value {
        match self {
            Self::Sdk(error) => json!({
                "kind": format!("{:?}", error.kind()),
                "code": breakage::of_code(error.kind().code()),
                "status": error.status(),
                "reason": error.reason(),
                "closeCode": error.close_code(),
                "retryable": error.is_retryable(),
                "message": error.to_string(),
            }),
            Self::Cancelled => json!({"kind": "Cancelled", "code": 101, "retryable": false}),
            Self::Fault(fault) => json!({"message": format!("{fault:#}")}),
        }
    }
}

impl From<hybridrelay::Error> for Failure {
    fn from(error: hybridrelay::Error) -> Self {
        Self::Sdk(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(fault: anyhow::Error) -> Self {
        Self::Fault(fault)
    }
}
