//! TCP: resolution and connecting, several addresses raced with a head start (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::env::{BoxSocket, Env};
use crate::{Error, ErrorKind, Result};

/// One attempt's resolution and connecting together take at most this long: a host that drops packets must not hold up a
/// reconnect.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long an address is tried alone before the next one joins.
const HEAD_START: Duration = Duration::from_millis(250);

pub(super) async fn connect(env: &Env, host: &str, port: u16) -> Result<BoxSocket> {
    env.timeout(CONNECT_LIMIT, resolve_and_race(env, host, port)).await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::Network,
            format!("{host}:{port} did not accept a TCP connection within {} s", CONNECT_LIMIT.as_secs()),
        )
        .with_hint("check that a firewall lets outbound connections to this host and port pass"))
    })
}

/// The addresses of a host, within the same limit.
pub(super) async fn resolve(env: &Env, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    env.timeout(CONNECT_LIMIT, resolve_unbounded(env, host, port)).await.unwrap_or_else(|| {
        let limit = CONNECT_LIMIT.as_secs();
        Err(Error::new(ErrorKind::Network, format!("the host name {host} was not resolved within {limit} s")))
    })
}

async fn resolve_unbounded(env: &Env, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    env.resolve(host, port).await.map_err(|error| {
        Error::new(ErrorKind::Network, format!("cannot resolve the host name {host}"))
            .with_reason(error.to_string())
            .with_source(error)
    })
}

async fn resolve_and_race(env: &Env, host: &str, port: u16) -> Result<BoxSocket> {
    let addresses = resolve_unbounded(env, host, port).await?;
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Network, format!("cannot connect to {host}:{port}"))
            .with_reason(error.to_string())
            .with_source(error)
    };
    race(env, addresses).await.map_err(failed)
}

/// Starts an attempt per address, the next one when the one before failed or has had its head start; the first to connect wins.
async fn race(env: &Env, addresses: Vec<SocketAddr>) -> io::Result<BoxSocket> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.push(env.dial(address));
                waiting.len() > 0
            }
            None => false,
        };
        if attempts.is_empty() {
            return Err(last_error);
        }
        tokio::select! {
            biased;
            Some(outcome) = attempts.next() => match outcome {
                Ok(socket) => return Ok(socket),
                Err(error) => last_error = error,
            },
            () = env.sleep(HEAD_START), if more => {}
        }
    }
}
