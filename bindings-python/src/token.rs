//! Where tokens come from.

use std::time::{Duration, UNIX_EPOCH};

use hybridrelay_bindings_common::core;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::token;
use pyo3::prelude::*;

use crate::boundary::{call, duration, own};
use crate::queue::{Queue, Value, object, unless_ended};

/// Makes tokens.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct TokenProvider(Owned<core::TokenProvider>);

impl TokenProvider {
    fn new(provider: core::TokenProvider) -> Self {
        Self(Owned::new(provider))
    }

    pub(crate) fn provider(&self, py: Python<'_>) -> PyResult<core::TokenProvider> {
        own(py, &self.0)
    }
}

#[pymethods]
impl TokenProvider {
    /// From the key of a rule.
    #[staticmethod]
    fn shared_access_key(py: Python<'_>, name: &str, key: &str, validity: Option<f64>) -> PyResult<Self> {
        Ok(Self::new(match validity {
            None => core::TokenProvider::shared_access_key(name, key),
            Some(seconds) => {
                let validity = call(py, || duration("validity", seconds))?;
                core::TokenProvider::shared_access_key_with_validity(name, key, validity)
            }
        }))
    }

    /// From somebody else.
    #[staticmethod]
    fn ready_made(py: Python<'_>, token: &str) -> PyResult<Self> {
        call(py, || Ok(Self::new(core::TokenProvider::ready_made(token)?)))
    }

    /// From the program: each request for one arrives in the queue with `tag`, and `None` when nobody can ask any more.
    #[staticmethod]
    fn asking(py: Python<'_>, queue: &Queue, tag: u64) -> PyResult<Self> {
        let queue = call(py, || queue.get().cloned())?;
        let value = |request: Option<token::TokenRequest>| -> Value {
            let convert = unless_ended(|py, request| object(py, TokenRequest(request)));
            Box::new(move |py| convert(py, request))
        };
        Ok(Self::new(token::asking_in(queue, tag, value)))
    }

    /// Replaces a ready-made token.
    fn set_token(&self, py: Python<'_>, token: &str) -> PyResult<()> {
        call(py, || Ok(self.0.get()?.set_token(token)?))
    }
}

/// Signs a token for an audience with the key of a rule, for so many seconds from now.
#[pyfunction]
pub(crate) fn create_token(
    py: Python<'_>,
    audience: &str,
    key_name: &str,
    key: &str,
    validity: f64,
) -> PyResult<String> {
    call(py, || token::create(audience, key_name, key, duration("validity", validity)?))
}

/// Somebody waits for a token. Dropped without an answer that fails.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct TokenRequest(token::TokenRequest);

#[pymethods]
impl TokenRequest {
    /// For whom.
    #[getter]
    fn audience(&self) -> &str {
        self.0.audience()
    }

    /// Gives the token, and when it expires in seconds since 1970.
    fn answer(&self, token: &str, expires_at: Option<f64>) {
        let expires_at = expires_at
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|since| UNIX_EPOCH.checked_add(since));
        self.0.answer(token, expires_at);
    }

    /// There is none; `reason` names what went wrong and no secret.
    fn fail(&self, reason: &str) {
        self.0.fail(reason);
    }
}
