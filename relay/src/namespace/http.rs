//! How a hybrid connection relays HTTP requests.

use std::time::Duration;

/// Settings of one hybrid connection for relayed HTTP requests (protocol.md 5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// From a request's delivery, body included, to the beginning of the listener's response: 60 s. Then the sender gets 504. May be
    /// hours.
    pub response_timeout: Duration,
    /// The longest pause within a body, either way: 60 s. A body that goes on may take as long as it likes.
    pub idle_timeout: Duration,
    /// The longest request body in bytes: no limit. Larger ones get 413.
    pub max_body: Option<u64>,
    /// What a sender gets when nobody listens: 404.
    pub no_listener: NoListener,
    /// Origins whose pages may call (`https://app.example.net`; `*` is any, then without credentials): none. With one, the relay
    /// answers preflights by itself, without a token, and adds the headers to every answer (protocol.md 10, decision 45).
    pub cors: Vec<String>,
    /// Which requests are one-way.
    pub one_way: OneWay,
    /// The longest body of a one-way request in bytes: 64 KiB. Larger ones get 413. The relay holds it until it is handed over.
    pub one_way_max: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_body: None,
            no_listener: NoListener::default(),
            cors: Vec::new(),
            one_way: OneWay::default(),
            one_way_max: 64 << 10,
        }
    }
}

/// Which requests are one-way: answered 202 as soon as a listener has been handed all of it (protocol.md 5.10 and 10, decision 61).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OneWay {
    /// Those with `Relay-Delivery: one-way`.
    #[default]
    OnRequest,
    /// Those with `Prefer: respond-async` as well.
    Allowed,
    /// All.
    Always,
}

/// The status for a sender of HTTP when nobody listens (protocol.md 10, decision 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoListener {
    /// 404, as Azure answers.
    #[default]
    NotFound,
    /// 502, as Azure documents.
    BadGateway,
}
