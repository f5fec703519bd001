//! The connection that small requests have to themselves, one after the other.
//!
//! HTTP/2 spares requests that are under way at the same time a connection each, and costs every one of them a third more CPU than
//! HTTP/1.1. So what follows one after the other goes by HTTP/1.1, and by one connection that needs no pool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};

use super::pool::IDLE;
use crate::Error;
use crate::dial::HttpConnector;
use crate::env::Env;
use crate::http::Body;

/// The longest body of a request that travels alone: no more than sockets and the relay take in at once.
const LONGEST_BODY: u64 = 64 * 1024;

/// How long the relay may leave unacknowledged what travels alone, for HTTP/1.1 has no Ping of its own. No slow listener is behind that: the
/// relay takes it in by itself.
const UNACKNOWLEDGED: Duration = Duration::from_secs(40);

/// Where one request at a time travels.
pub(super) struct SoloLine {
    env: Env,
    connector: HttpConnector,
    /// What `Host` says.
    host: HeaderValue,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    /// Whether a request is under way.
    is_taken: bool,
    /// The connection, and since when nobody uses it.
    idle: Option<(SendRequest<Body>, Instant)>,
    /// How many connections there have been.
    dialled: u64,
}

/// A request that travels alone, until its response was read or dropped.
pub(in crate::http) struct Solo {
    env: Env,
    line: Arc<Mutex<Line>>,
    connection: Option<SendRequest<Body>>,
}

/// Why a request that travelled alone has no response.
pub(super) enum Failed {
    /// There is no connection.
    Dial(Error),
    /// It broke off.
    Underway(hyper::Error),
}

impl SoloLine {
    pub(super) fn new(env: &Env, connector: &HttpConnector, host: HeaderValue) -> Self {
        let connector = connector.clone().http1_only().unacknowledged(UNACKNOWLEDGED);
        Self { env: env.clone(), connector, host, line: Arc::default() }
    }

    /// The line, if it is free and fit for the request.
    pub(super) fn take(&self, request: &Request<Body>) -> Option<Solo> {
        let is_small = request.body().size_hint().exact().is_some_and(|len| len <= LONGEST_BODY);
        let mut line = lock(&self.line);
        if !is_small || line.is_taken {
            return None;
        }
        line.is_taken = true;
        let connection = line.idle.take().filter(|(_, since)| self.env.now() < *since + IDLE);
        let connection = connection.map(|(connection, _)| connection);
        Some(Solo { env: self.env.clone(), line: self.line.clone(), connection })
    }

    /// Sends a request. Dropping the future ends the connection, which tells the relay.
    pub(super) async fn request(&self, mut solo: Solo, mut request: Request<Body>) -> Result<Response<Body>, Failed> {
        let place = request.uri().clone();
        *request.uri_mut() = place.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into();
        request.headers_mut().insert(header::HOST, self.host.clone());
        let mut kept = solo.connection.take();
        loop {
            let is_new = kept.is_none();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.dial(&place).await?,
            };
            // A connection that was kept may have ended, and what it has not begun to send goes by a new one.
            let error = match connection.ready().await {
                Err(error) => error,
                Ok(()) => match connection.try_send_request(request).await {
                    Ok(response) => {
                        solo.connection = Some(connection);
                        return Ok(response.map(|body| Body::incoming(body, Some(solo))));
                    }
                    Err(mut failed) => match failed.take_message() {
                        None => return Err(Failed::Underway(failed.into_error())),
                        Some(unsent) => {
                            request = unsent;
                            failed.into_error()
                        }
                    },
                },
            };
            if is_new {
                return Err(Failed::Underway(error));
            }
        }
    }

    async fn dial(&self, place: &Uri) -> Result<SendRequest<Body>, Failed> {
        let socket = self.connector.clone().dial(place).await.map_err(Failed::Dial)?;
        let (sender, connection) = http1::handshake(socket).await.map_err(Failed::Underway)?;
        // How it ends is told to whoever uses it.
        self.env.spawn(async move { drop(connection.await) });
        let number = {
            let mut line = lock(&self.line);
            line.dialled += 1;
            line.dialled
        };
        self.env.spawn(expire(self.env.clone(), Arc::downgrade(&self.line), number));
        Ok(sender)
    }
}

/// Ends a connection that nobody has used for a while.
async fn expire(env: Env, line: Weak<Mutex<Line>>, number: u64) {
    let mut look_at = env.now() + IDLE;
    loop {
        env.sleep_until(look_at).await;
        let Some(line) = line.upgrade() else { return };
        let mut line = lock(&line);
        if line.dialled != number {
            return;
        }
        look_at = match &line.idle {
            Some((_, since)) if *since + IDLE <= env.now() => {
                line.idle = None;
                return;
            }
            Some((_, since)) => *since + IDLE,
            None if line.is_taken => env.now() + IDLE,
            None => return,
        };
    }
}

impl Drop for Solo {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|connection| !connection.is_closed());
        let mut line = lock(&self.line);
        line.is_taken = false;
        line.idle = connection.map(|connection| (connection, self.env.now()));
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}
