//! The connections of one sender: which HTTP the relay speaks, and the pool for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::{Builder, Client};
use tokio::sync::Semaphore;

use crate::Result;
use crate::dial::HttpConnector;
use crate::env::Env;
use crate::http::Body;

/// How long a connection is kept for the next request.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// HTTP/2 connections with a request under way are asked for a sign of life after this long, and have as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

pub(super) type PooledClient = Client<HttpConnector, Body>;

/// hyper's client, once for each version. One client for both would dial anew for every request that comes before the first handshake
/// has shown that HTTP/2 needs a single connection.
pub(super) struct Pool {
    http1: PooledClient,
    http2: PooledClient,
    probe: HttpConnector,
    /// Whether the relay takes HTTP/2, as its last handshake has shown.
    is_http2: Mutex<Option<bool>>,
    /// One request finds out, the others wait for what it finds.
    probing: Semaphore,
}

impl Pool {
    pub(super) fn new(env: &Env, connector: HttpConnector, tls: bool) -> Self {
        let mut builder = Client::builder(env.clone());
        builder.timer(env.clone()).pool_timer(env.clone()).pool_idle_timeout(IDLE);
        let http1 = builder.build(connector.clone().http1_only());
        let build_http2 = |builder: &mut Builder| {
            let builder = builder.http2_only(true).http2_keep_alive_interval(KEEP_ALIVE);
            builder.http2_keep_alive_timeout(KEEP_ALIVE).build(connector.clone().http2_only())
        };
        let http2 = build_http2(&mut builder);
        let is_http2 = Mutex::new((!tls).then_some(false));
        Self { http1, http2, probe: connector, is_http2, probing: Semaphore::new(1) }
    }

    /// The client for a request to `uri`. Cancel-safe.
    pub(super) async fn client(&self, uri: &Uri) -> Result<&PooledClient> {
        if let Some(client) = self.known() {
            return Ok(client);
        }
        // The semaphore is never closed.
        let _turn = self.probing.acquire().await;
        if let Some(client) = self.known() {
            return Ok(client);
        }
        // The socket is the first that the client takes.
        let is_http2 = self.probe.probe(uri).await?;
        *self.is_http2.lock().unwrap_or_else(PoisonError::into_inner) = Some(is_http2);
        Ok(self.of(is_http2))
    }

    /// A dial has failed: what is behind the address may be another relay by now.
    pub(super) fn forget(&self, tls: bool) {
        if tls {
            *self.is_http2.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn known(&self) -> Option<&PooledClient> {
        self.is_http2.lock().unwrap_or_else(PoisonError::into_inner).map(|is_http2| self.of(is_http2))
    }

    fn of(&self, is_http2: bool) -> &PooledClient {
        if is_http2 { &self.http2 } else { &self.http1 }
    }
}
