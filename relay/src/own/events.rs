//! Answers without an end: server-sent events, as HTML describes them for `EventSource`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use serde::Serialize;

use super::{answer_with, text};
use crate::edge::Body;
use crate::limits::Permit;
use crate::node::Node;

/// The media type.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// Asks proxies of the nginx kind not to hold events back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// When nothing happens for this long, a comment shows that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is looked at by the wall clock is looked at this often, so that a clock that jumps is noticed.
const WALL_CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Where events come from.
pub(super) trait Source: Send + 'static {
    /// The next event as it is written, or comment; `None` ends the stream. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// What a reader that comes back has read last.
pub(super) fn last_id(fields: &HeaderMap) -> Option<&str> {
    text(fields, "last-event-id")
}

/// An event, as it is written.
pub(super) fn event(name: &str, id: &impl Display, data: &impl Serialize) -> Bytes {
    // JSON of our own types: it can be written, and holds no line break.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// A comment, which readers ignore.
pub(super) fn comment(text: &str) -> Bytes {
    format!(": {text}\n\n").into()
}

/// A stream of events that ends with the relay's, when the token ends by which it was opened, or by itself.
///
/// Nothing is written that the reader does not take: it reads from the source at its own pace.
pub(super) fn answer(
    node: &Arc<Node>,
    method: &Method,
    expires_at: Option<SystemTime>,
    place: Permit,
    source: impl Source,
) -> Response<Body> {
    let ends_at = expires_at.map(|expires_at| expires_at + node.config().timings.clock_skew);
    let open = Open { node: node.clone(), ends_at, source, _place: place };
    let body = match *method {
        Method::HEAD => Body::default(),
        _ => Body::Events(Box::pin(stream::unfold(open, |mut open| async move { Some((open.next().await?, open)) }))),
    };
    let mut response = answer_with(EVENT_STREAM, body);
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(UNBUFFERED, HeaderValue::from_static("no"));
    response
}

/// A stream that is being read.
struct Open<S> {
    node: Arc<Node>,
    ends_at: Option<SystemTime>,
    source: S,
    _place: Permit,
}

impl<S: Source> Open<S> {
    async fn next(&mut self) -> Option<Bytes> {
        let node = &self.node;
        tokio::select! {
            biased;
            _ = node.draining() => None,
            () = ended(node, self.ends_at) => None,
            next = self.source.next() => next,
            () = node.env.sleep(HEARTBEAT) => Some(comment("still here")),
        }
    }
}

async fn ended(node: &Node, ends_at: Option<SystemTime>) {
    let Some(ends_at) = ends_at else { return std::future::pending().await };
    while let Ok(left) = ends_at.duration_since(node.env.wall_clock())
        && !left.is_zero()
    {
        node.env.sleep(left.min(WALL_CLOCK_CHECK)).await;
    }
}
