//! The body of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::linger::{MOST, PATIENCE};
use crate::node::Node;

/// The body of a request, as it comes from the sender.
///
/// What is left of it when it is dropped by HTTP/1.1 is read in the background and dropped as well, so that the sender, which may look for
/// its answer only after it, finds a connection that is as good as new (protocol.md 10, decision 76).
pub(crate) struct RequestBody {
    /// `None` only while it is dropped.
    body: Option<Incoming>,
    node: Arc<Node>,
    /// HTTP/2 has a word by which a sender stops.
    is_http1: bool,
    /// The sender does not wait to be asked for it, or has been.
    is_awaited: bool,
}

impl RequestBody {
    pub(super) fn of(node: &Arc<Node>, request: Request<Incoming>) -> Request<Self> {
        let is_http1 = request.version() < Version::HTTP_2;
        let is_awaited = !request.headers().contains_key(EXPECT);
        request.map(|body| Self { body: Some(body), node: node.clone(), is_http1, is_awaited })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.is_awaited = true;
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.is_end_stream() || !self.is_http1 || !self.is_awaited {
            return;
        }
        let (node, Some(body)) = (self.node.clone(), self.body.take()) else { return };
        self.node.spawn(async move {
            tokio::select! {
                biased;
                () = node.stopped() => {}
                _ = node.env.timeout(PATIENCE, discard(body)) => {}
            }
        });
    }
}

async fn discard(mut body: Incoming) {
    let mut dropped = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > MOST {
            break;
        }
    }
}
