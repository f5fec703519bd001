//! What an operator may set, with its defaults: addresses, limits, timings.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

mod limits;
mod live;

pub use limits::Limits;
pub(crate) use live::LiveConfig;

/// A socket address to listen on, plain or TLS. Port 0 takes any free port.
#[derive(Clone)]
pub struct ListenAddress {
    /// Where to bind.
    pub addr: SocketAddr,
    /// The TLS configuration; `None` listens in plain text, for tests and behind a proxy that ends TLS.
    /// [`tls::server_config`](crate::tls::server_config) makes one by the relay's rules.
    pub tls: Option<Arc<ServerConfig>>,
}

impl ListenAddress {
    /// Listens in plain text (`http://`, `ws://`).
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: None }
    }

    /// Listens with TLS (`https://`, `wss://`).
    pub fn tls(addr: SocketAddr, config: Arc<ServerConfig>) -> Self {
        Self { addr, tls: Some(config) }
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.addr)
    }
}

/// Settings of a relay beside its sockets and its store.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The address under which listeners reach this node, such as `https://node1.relay.example.net`; only scheme, host and
    /// port count. Default: whatever authority the listener itself used (protocol.md 10, decision 16).
    pub public_url: Option<http::Uri>,
    /// Proxies whose `X-Forwarded-Proto` and `X-Forwarded-For` are believed. What comes from them counts for the address that they
    /// name; without one no limit per address applies to it.
    pub trusted_proxies: Vec<IpAddr>,
    /// Answers 401 instead of 403 for a valid token without the right, which the .NET client treats as final
    /// (protocol.md 10, decision 1).
    pub strict_dotnet_errors: bool,
    /// Refuses tokens that live longer than this from now. Default: no limit.
    pub max_token_life: Option<Duration>,
    /// What may be used at most.
    pub limits: Limits,
    /// Timeouts and intervals.
    pub timings: Timings,
}

/// Timeouts and intervals. Tests move the clock instead of shrinking these.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timings {
    /// How long an expired token keeps a control channel alive: 5 min (protocol.md 10, decision 6).
    pub expiry_grace: Duration,
    /// How far a token's expiry may lie in the past at connect: 60 s (decision 6).
    pub clock_skew: Duration,
    /// From `accept` to the listener's dial: 30 s (decision 5).
    pub accept: Duration,
    /// From the address of a request that has to be fetched to the listener's dial: 60 s (decision 32).
    pub request_dial: Duration,
    /// From a change that takes a listener's right away to the close of its channel: 30 s (decision 57 allows 60 s).
    pub revocation: Duration,
    /// Silence on a control channel before a Ping: 30 s (decision 19).
    pub control_ping: Duration,
    /// Silence on a control channel after which the listener is gone: 75 s (decision 19).
    pub control_gone: Duration,
    /// How long a delivery waits for room in a listener's queue: 5 s (decision 55).
    pub queue_full: Duration,
    /// How long a write to a listener may stall, here or unacknowledged in the network, before it is dead: 30 s (decision 55).
    pub write_stall: Duration,
    /// How long a closing control channel waits for the listener's Close: 5 s.
    pub control_close: Duration,
    /// Silence on a relayed socket before a Ping: 60 s (decision 19).
    pub relayed_ping: Duration,
    /// Silence on a relayed socket after which it is gone: 150 s (decision 19).
    pub relayed_gone: Duration,
    /// After one side's Close, the time without progress until both are finished: 60 s (decision 23).
    pub half_close: Duration,
    /// From the beginning of a handshake to the end of the first request's head, TLS included: 10 s. As long at most may an accepted
    /// socket wait for its turn before that.
    pub handshake: Duration,
    /// A further request's head, counted from the previous response: 30 s.
    pub header_read: Duration,
    /// Between a 101 and the socket that belongs to it: 10 s.
    pub upgrade: Duration,
    /// How long a relay that is to end says so at `/$relay/readyz` before it takes nothing new: 0 s. A load balancer needs as long
    /// as it takes to notice.
    pub drain_lead: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            expiry_grace: seconds(300),
            clock_skew: seconds(60),
            accept: seconds(30),
            request_dial: seconds(60),
            revocation: seconds(30),
            control_ping: seconds(30),
            control_gone: seconds(75),
            queue_full: seconds(5),
            write_stall: seconds(30),
            control_close: seconds(5),
            relayed_ping: seconds(60),
            relayed_gone: seconds(150),
            half_close: seconds(60),
            handshake: seconds(10),
            header_read: seconds(30),
            upgrade: seconds(10),
            drain_lead: Duration::ZERO,
        }
    }
}
