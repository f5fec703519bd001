//! The body of an answer: whole, or as it comes from a listener.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::gateway::RelayedBody;

/// What the relay answers with.
pub(crate) enum Body {
    /// Made by the relay itself.
    Own(Full<Bytes>),
    /// A listener's.
    Relayed(RelayedBody),
    /// Made by the relay as something happens.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// A body that ended before its end. The connection to the sender ends with it, so that nobody takes the part for the whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the listener's response was cut off")]
pub(crate) struct CutOff;

impl CutOff {
    /// In place of an answer: the connection to the sender ends without one.
    pub(crate) fn response() -> Response<Body> {
        let mut response = Response::default();
        response.extensions_mut().insert(Self);
        response
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Relayed(body) => Pin::new(body).poll_frame(cx),
            Self::Events(events) => {
                events.as_mut().poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Relayed(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Relayed(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Own(Full::default())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Own(Full::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Own(Full::from(text))
    }
}
