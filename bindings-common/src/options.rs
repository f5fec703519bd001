//! Options by name, for languages in which a program gives them so: which there are for each builder, and what each of them takes.

use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::{
    Connect, ListenerBuilder, NamespaceBuilder, Proxy, PublisherBuilder, SenderBuilder, Target, TokenProvider,
};

use crate::errors::Result;

/// A builder whose options are set by name.
pub trait Options: Sized {
    /// The names, in snake case.
    const NAMES: &'static [&'static str];

    /// Sets one. Returns `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// What the value says that cannot be used.
    fn set<G: Given>(self, name: &str, given: &G) -> Result<Option<Self>, G::Error>;
}

/// What a program has set an option to.
pub trait Given {
    /// Why it cannot be used.
    type Error;

    /// Whether it is nothing, which is the default of each option but `keep_alive`: without an interval nothing is pinged.
    fn is_nothing(&self) -> bool;

    /// A text.
    fn text(&self) -> Result<String, Self::Error>;

    /// Yes or no.
    fn truth(&self) -> Result<bool, Self::Error>;

    /// A number from 0 up.
    fn number(&self) -> Result<usize, Self::Error>;

    /// A duration, of the option with this name.
    fn duration(&self, name: &str) -> Result<Duration, Self::Error>;

    /// Texts in their order.
    fn texts(&self) -> Result<Vec<String>, Self::Error>;

    /// Names and values in their order.
    fn pairs(&self) -> Result<Vec<(String, String)>, Self::Error>;

    /// Certificates.
    fn pem(&self) -> Result<Vec<u8>, Self::Error>;

    /// A proxy; see [`proxy`].
    fn proxy(&self) -> Result<Proxy, Self::Error>;

    /// What makes tokens.
    fn credential(&self) -> Result<TokenProvider, Self::Error>;

    /// A relay of a test, by whose clock to live.
    fn clock(&self) -> Result<Env, Self::Error>;
}

/// Where to go: a connection string or an address; `None` for what the environment says.
pub fn target(target: Option<&str>) -> Target {
    target.map_or_else(Target::from_environment, Target::from)
}

/// A proxy by its URL, or `none`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no such URL.
pub fn proxy(url: &str) -> Result<Proxy> {
    if url.eq_ignore_ascii_case("none") { Ok(Proxy::none()) } else { Ok(Proxy::url(url)?) }
}

/// The options of a builder, each with what sets it.
macro_rules! options {
    ($builder:ident; $($name:literal => |$to:ident, $given:ident| $set:expr,)*) => {
        impl Options for $builder {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn set<G: Given>(self, name: &str, given: &G) -> Result<Option<Self>, G::Error> {
                if given.is_nothing() && name != "keep_alive" {
                    return Ok(Some(self));
                }
                Ok(Some(match name {
                    $($name => {
                        let ($to, $given) = (self, given);
                        $set
                    })*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

/// With those that everything has which reaches a relay.
macro_rules! reach_options {
    ($builder:ident; $($rows:tt)*) => {
        options! { $builder;
            "credential" => |to, given| to.credential(given.credential()?),
            "connect_timeout" => |to, given| to.connect_timeout(given.duration("connect_timeout")?),
            "proxy" => |to, given| to.proxy(given.proxy()?),
            "extra_ca_pem" => |to, given| to.extra_ca_pem(given.pem()?),
            "insecure_skip_verify" => |to, given| to.insecure_skip_verify(given.truth()?),
            "insecure_plaintext" => |to, given| to.insecure_plaintext(given.truth()?),
            "headers" => |to, given| given.pairs()?.into_iter().fold(to, |to, (name, value)| to.header(name, value)),
            "clock" => |to, given| to.env(given.clock()?),
            $($rows)*
        }
    };
}

/// With those that listeners and senders share.
macro_rules! shared_options {
    ($builder:ident; $($rows:tt)*) => {
        reach_options! { $builder;
            "entity" => |to, given| to.entity(given.text()?),
            "close_timeout" => |to, given| to.close_timeout(given.duration("close_timeout")?),
            "keep_alive" => |to, given| to.keep_alive(match given.is_nothing() {
                true => None,
                false => Some(given.duration("keep_alive")?).filter(|interval| !interval.is_zero()),
            }),
            "max_message_size" => |to, given| to.max_message_size(given.number()?),
            $($rows)*
        }
    };
}

/// Those of one connection.
macro_rules! connect_options {
    ($builder:ident) => {
        options! { $builder;
            "path" => |to, given| to.path(given.text()?),
            "query" => |to, given| to.query(given.text()?),
            "headers" => |to, given| given.pairs()?.into_iter().fold(to, |to, (name, value)| to.header(name, value)),
            "subprotocols" => |to, given| given.texts()?.into_iter().fold(to, |to, name| to.subprotocol(name)),
            "tracking_id" => |to, given| to.tracking_id(given.text()?),
            "timeout" => |to, given| to.timeout(given.duration("timeout")?),
        }
    };
}

shared_options! { ListenerBuilder;
    "accept_timeout" => |to, given| to.accept_timeout(given.duration("accept_timeout")?),
    "reconnect" => |to, given| to.reconnect(given.truth()?),
    "wait" => |to, given| to.wait(given.truth()?),
    "max_concurrent" => |to, given| to.max_concurrent(given.number()?),
    "subprotocols" => |to, given| to.subprotocols(given.texts()?),
    "tracking_id" => |to, given| to.tracking_id(given.text()?),
    "labels" => |to, given| given.pairs()?.into_iter().fold(to, |to, (key, value)| to.label(key, value)),
}
shared_options! { SenderBuilder; }
reach_options! { NamespaceBuilder; }
connect_options! { Connect }
connect_options! { PublisherBuilder }
