//! The connections of one sender: which HTTP the relay speaks, and the pool for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use hyper_util::client::legacy::{Builder, Client};
use tokio::sync::Semaphore;

use crate::Result;
use crate::dial::HttpConnector;
use crate::env::Env;
use crate::http::Body;

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);

/// HTTP/2 connections with a request under way are asked for a sign of life after this long, and have as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The longest body of a request that [travels alone](Solo): no more than sockets and the relay take in at once.
const SOLO_BODY: u64 = 64 * 1024;

/// How long the relay may leave unacknowledged what travels alone. No slow listener is behind that: the relay takes it in by itself.
const SOLO_UNACKNOWLEDGED: Duration = Duration::from_secs(40);

pub(super) type PooledClient = Client<HttpConnector, Body>;

/// hyper's client, once for each version. One client for both would dial anew for every request that comes before the first handshake
/// has shown that HTTP/2 needs a single connection.
///
/// HTTP/2 is for requests that are under way at the same time: it spares them connections, and costs each of them a third more CPU than
/// HTTP/1.1. So small requests that follow one after the other have a connection of HTTP/1.1 to themselves.
pub(super) struct Pool {
    solo: PooledClient,
    /// Whether a request travels alone.
    is_solo: Arc<AtomicBool>,
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
        let solo = builder.build(connector.clone().http1_only().unacknowledged(SOLO_UNACKNOWLEDGED));
        let http1 = builder.build(connector.clone().http1_only());
        let build_http2 = |builder: &mut Builder| {
            let builder = builder.http2_only(true).http2_keep_alive_interval(KEEP_ALIVE);
            builder.http2_keep_alive_timeout(KEEP_ALIVE).build(connector.clone().http2_only())
        };
        let http2 = build_http2(&mut builder);
        let is_http2 = Mutex::new((!tls).then_some(false));
        let (is_solo, probing) = (Arc::default(), Semaphore::new(1));
        Self { solo, is_solo, http1, http2, probe: connector, is_http2, probing }
    }

    /// The client for a request that may travel alone, which it does until what is returned beside is dropped. Cancel-safe.
    pub(super) async fn client(&self, request: &Request<Body>) -> Result<(&PooledClient, Option<Solo>)> {
        let is_small = request.body().size_hint().exact().is_some_and(|len| len <= SOLO_BODY);
        match is_small.then(|| Solo::begin(&self.is_solo)).flatten() {
            Some(solo) => Ok((&self.solo, Some(solo))),
            None => Ok((self.shared(request).await?, None)),
        }
    }

    /// The client for a request beside others, or for a long time. Cancel-safe.
    pub(super) async fn shared(&self, request: &Request<Body>) -> Result<&PooledClient> {
        if let Some(client) = self.known() {
            return Ok(client);
        }
        // The semaphore is never closed.
        let _turn = self.probing.acquire().await;
        if let Some(client) = self.known() {
            return Ok(client);
        }
        // The socket is the first that the client takes.
        let is_http2 = self.probe.probe(request.uri()).await?;
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

/// A request that travels alone, until its response was read or dropped.
pub(in crate::http) struct Solo(Arc<AtomicBool>);

impl Solo {
    fn begin(is_solo: &Arc<AtomicBool>) -> Option<Self> {
        (!is_solo.swap(true, Ordering::AcqRel)).then(|| Self(is_solo.clone()))
    }
}

impl Drop for Solo {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
