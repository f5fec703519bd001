//! Options by their names.

use std::time::Duration;

use hybridrelay_bindings_common::core::env::Env;
use hybridrelay_bindings_common::core::{self, Proxy};
use hybridrelay_bindings_common::options::{self, Given, Options};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{duration, raised};
use crate::local::LocalRelay;
use crate::token::TokenProvider;

/// Sets options one by one.
pub(crate) fn set<B: Options>(mut builder: B, options: &Bound<'_, PyDict>) -> PyResult<B> {
    for (name, value) in options.iter() {
        let name: String = name.extract()?;
        let known = || B::NAMES.join(", ");
        let unknown = || PyTypeError::new_err(format!("there is no option '{name}'; there are {}", known()));
        builder = builder.set(&name, &Value(value))?.ok_or_else(unknown)?;
    }
    Ok(builder)
}

struct Value<'py>(Bound<'py, PyAny>);

impl Given for Value<'_> {
    type Error = PyErr;

    fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    fn text(&self) -> PyResult<String> {
        self.0.extract()
    }

    fn truth(&self) -> PyResult<bool> {
        self.0.extract()
    }

    fn number(&self) -> PyResult<usize> {
        self.0.extract()
    }

    fn duration(&self, name: &str) -> PyResult<Duration> {
        let seconds = self.0.extract()?;
        raised(self.0.py(), duration(name, seconds))
    }

    fn texts(&self) -> PyResult<Vec<String>> {
        self.0.extract()
    }

    fn pairs(&self) -> PyResult<Vec<(String, String)>> {
        self.0.extract()
    }

    fn pem(&self) -> PyResult<Vec<u8>> {
        self.text().map(String::into_bytes).or_else(|_| self.0.extract())
    }

    fn proxy(&self) -> PyResult<Proxy> {
        raised(self.0.py(), options::proxy(&self.text()?))
    }

    fn credential(&self) -> PyResult<core::TokenProvider> {
        self.0.cast::<TokenProvider>()?.get().provider(self.0.py())
    }

    fn clock(&self) -> PyResult<Env> {
        self.0.cast::<LocalRelay>()?.get().env(self.0.py())
    }
}
