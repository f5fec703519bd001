//! Options by their names.

use hybridrelay_bindings_common::core::{
    Connect, ListenerBuilder, NamespaceBuilder, Proxy, PublisherBuilder, SenderBuilder, Target,
};
use hybridrelay_bindings_common::errors::Failure;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::boundary::{duration, raised};
use crate::local::LocalRelay;
use crate::token::TokenProvider;

/// Where to go: a connection string or an address; `None` for what the environment says.
pub(crate) fn target(target: Option<&str>) -> Target {
    target.map_or_else(Target::from_environment, Target::from)
}

fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<std::time::Duration> {
    let seconds = value.extract()?;
    raised(value.py(), duration(name, seconds))
}

fn proxy(value: &Bound<'_, PyAny>) -> PyResult<Proxy> {
    let url: String = value.extract()?;
    if url.eq_ignore_ascii_case("none") {
        return Ok(Proxy::none());
    }
    raised(value.py(), Proxy::url(&url).map_err(Failure::Core))
}

fn pem(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    value.extract::<String>().map(String::into_bytes).or_else(|_| value.extract())
}

fn pairs(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    value.extract()
}

/// Sets options one by one. `None` is the default of each, except where a row says so.
macro_rules! set {
    ($builder:ident, $options:ident; $($name:literal => |$value:ident| $set:expr,)*) => {
        for (name, value) in $options.iter() {
            let name: String = name.extract()?;
            let value = &value;
            match name.as_str() {
                // The one for which it means something.
                "keep_alive" => {}
                _ if value.is_none() => continue,
                _ => {}
            }
            $builder = match name.as_str() {
                $($name => { let $value = value; $set })*
                _ => return Err(unknown(&name, &[$($name),*])),
            };
        }
    };
}

/// With those that everything has which reaches a relay.
macro_rules! set_reach {
    ($builder:ident, $options:ident; $($rows:tt)*) => {
        set! { $builder, $options;
            "credential" => |value| $builder.credential(value.cast::<TokenProvider>()?.get().provider(value.py())?),
            "connect_timeout" => |value| $builder.connect_timeout(seconds("connect_timeout", value)?),
            "proxy" => |value| $builder.proxy(proxy(value)?),
            "extra_ca_pem" => |value| $builder.extra_ca_pem(pem(value)?),
            "insecure_skip_verify" => |value| $builder.insecure_skip_verify(value.extract()?),
            "insecure_plaintext" => |value| $builder.insecure_plaintext(value.extract()?),
            "headers" => |value| pairs(value)?.into_iter().fold($builder, |builder, (name, value)| builder.header(name, value)),
            "clock" => |value| $builder.env(value.cast::<LocalRelay>()?.get().env(value.py())?),
            $($rows)*
        }
    };
}

/// With those that listeners and senders share.
macro_rules! set_shared {
    ($builder:ident, $options:ident; $($rows:tt)*) => {
        set_reach! { $builder, $options;
            "entity" => |value| $builder.entity(value.extract::<String>()?),
            "close_timeout" => |value| $builder.close_timeout(seconds("close_timeout", value)?),
            "keep_alive" => |value| $builder.keep_alive(keep_alive(value)?),
            "max_message_size" => |value| $builder.max_message_size(value.extract()?),
            $($rows)*
        }
    };
}

/// With those of one connection.
macro_rules! set_connect {
    ($builder:ident, $options:ident) => {
        set! { $builder, $options;
            "path" => |value| $builder.path(value.extract::<String>()?),
            "query" => |value| $builder.query(value.extract::<String>()?),
            "headers" => |value| pairs(value)?.into_iter().fold($builder, |builder, (name, value)| builder.header(name, value)),
            "subprotocols" => |value| {
                let names: Vec<String> = value.extract()?;
                names.into_iter().fold($builder, |builder, name| builder.subprotocol(name))
            },
            "tracking_id" => |value| $builder.tracking_id(value.extract::<String>()?),
            "timeout" => |value| $builder.timeout(seconds("timeout", value)?),
        }
    };
}

/// `None` and 0 never ping.
fn keep_alive(value: &Bound<'_, PyAny>) -> PyResult<Option<std::time::Duration>> {
    if value.is_none() {
        return Ok(None);
    }
    Ok(Some(seconds("keep_alive", value)?).filter(|interval| !interval.is_zero()))
}

fn unknown(name: &str, known: &[&str]) -> PyErr {
    PyTypeError::new_err(format!("there is no option '{name}'; there are {}", known.join(", ")))
}

/// Options of a listener.
pub(crate) fn listener(mut builder: ListenerBuilder, options: &Bound<'_, PyDict>) -> PyResult<ListenerBuilder> {
    set_shared! { builder, options;
        "accept_timeout" => |value| builder.accept_timeout(seconds("accept_timeout", value)?),
        "reconnect" => |value| builder.reconnect(value.extract()?),
        "wait" => |value| builder.wait(value.extract()?),
        "max_concurrent" => |value| builder.max_concurrent(value.extract()?),
        "subprotocols" => |value| builder.subprotocols(value.extract::<Vec<String>>()?),
        "tracking_id" => |value| builder.tracking_id(value.extract::<String>()?),
        "labels" => |value| pairs(value)?.into_iter().fold(builder, |builder, (key, value)| builder.label(key, value)),
    }
    Ok(builder)
}

/// Options of a sender.
pub(crate) fn sender(mut builder: SenderBuilder, options: &Bound<'_, PyDict>) -> PyResult<SenderBuilder> {
    set_shared! { builder, options; }
    Ok(builder)
}

/// Options of a namespace.
pub(crate) fn namespace(mut builder: NamespaceBuilder, options: &Bound<'_, PyDict>) -> PyResult<NamespaceBuilder> {
    set_reach! { builder, options; }
    Ok(builder)
}

/// Options of one connection.
pub(crate) fn connect(mut builder: Connect, options: &Bound<'_, PyDict>) -> PyResult<Connect> {
    set_connect! { builder, options }
    Ok(builder)
}

/// Options of a publisher.
pub(crate) fn publisher(mut builder: PublisherBuilder, options: &Bound<'_, PyDict>) -> PyResult<PublisherBuilder> {
    set_connect! { builder, options }
    Ok(builder)
}
