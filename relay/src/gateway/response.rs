//! A listener's response on its way to the sender (protocol.md 5.5).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hybridrelay::protocol;
use hybridrelay::protocol::refusal::sanitize_reason;
use hyper::body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use tokio::sync::mpsc;

use super::fields;
use super::record::{Outcome, Record};
use crate::directory::Reply;
use crate::edge::{Body, CutOff};
use crate::refusal::{Reason, Refusal, set_reason};

/// A response, and where its body is.
pub(super) struct Head {
    pub(super) response: protocol::Response,
    pub(super) body: Source,
}

/// From the control channel.
impl From<Reply> for Head {
    fn from(reply: Reply) -> Self {
        Self { response: reply.response, body: Source::Whole(reply.body.unwrap_or_default()) }
    }
}

/// Where the body of a response comes from.
pub(super) enum Source {
    /// It is here, or there is none.
    Whole(Bytes),
    /// From a rendezvous, as it comes.
    Streamed(mpsc::Receiver<Chunk>),
}

/// A part of a streamed body. One that breaks off has no end.
pub(super) enum Chunk {
    Data(Bytes),
    End,
}

/// Whether a sender gets no body, whatever the listener sends (protocol.md 10, decision 29).
pub(super) fn is_bodyless(method: &Method, status: u16) -> bool {
    method == Method::HEAD || matches!(status, 204 | 304)
}

/// The answer for the sender; `host` is what it takes the relay for.
pub(super) fn answer(mut record: Record, method: &Method, host: &str, head: Head) -> Result<Response<Body>, Refusal> {
    let Head { response, body } = head;
    let status = match StatusCode::from_u16(response.status_code) {
        Ok(status) if !status.is_informational() => status,
        _ => {
            record.ended(Outcome::Refused);
            let text = "The listener's response has a status that is none";
            return Err(Refusal::bad_gateway(Reason::BadResponse, text));
        }
    };
    record.answered(status.as_u16());
    let bodyless = is_bodyless(method, status.as_u16());
    let source = if bodyless { Source::Whole(Bytes::new()) } else { body };
    let mut answer = Response::new(Body::Relayed(RelayedBody::new(source, record)));
    *answer.status_mut() = status;
    match &response.status_description {
        Some(text) => set_reason(&mut answer, &sanitize_reason(text)),
        // Without a standard phrase there is none; HTTP libraries would invent one.
        None if status.canonical_reason().is_none() => {
            answer.extensions_mut().insert(ReasonPhrase::from_static(b""));
        }
        None => {}
    }
    *answer.headers_mut() = fields::to_sender(response.response_headers, method == Method::HEAD, host);
    Ok(answer)
}

/// The body of a response, with the record of its request: that ends with it.
pub(crate) struct RelayedBody {
    /// `None` when everything was handed on.
    source: Option<Source>,
    record: Box<Record>,
    /// A test cuts it, behind what was handed on.
    is_cut: bool,
}

impl RelayedBody {
    fn new(source: Source, mut record: Record) -> Self {
        let source = match source {
            Source::Whole(bytes) if bytes.is_empty() => {
                record.ended(Outcome::Completed);
                None
            }
            source => Some(source),
        };
        Self { source, record: Box::new(record), is_cut: false }
    }

    pub(crate) fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Self { source, record, is_cut } = self.get_mut();
        let mut left = u64::MAX;
        if let (Some(_), Some(tap)) = (&source, record.tap()) {
            left = ready!(tap.poll_down(cx));
            if left == 0 {
                if !std::mem::replace(is_cut, true) {
                    // hyper sends what it has before it asks again.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                *source = None;
                record.ended(Outcome::ListenerGone);
                return Poll::Ready(Some(Err(CutOff)));
            }
        }
        let frame = ready!(Self::poll_source(source, record, cx));
        Poll::Ready(match (frame, record.tap()) {
            (Some(Ok(bytes)), Some(tap)) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                tap.moved_down(most);
                if most < bytes.len() {
                    // A stream that nobody goes on with: it is cut next.
                    *source = Some(Source::Streamed(mpsc::channel(1).1));
                }
                Some(Ok(Frame::data(bytes.slice(..most))))
            }
            (frame, _) => frame.map(|frame| frame.map(Frame::data)),
        })
    }

    fn poll_source(
        source: &mut Option<Source>,
        record: &mut Record,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, CutOff>>> {
        match source {
            None => Poll::Ready(None),
            Some(Source::Whole(bytes)) => {
                let bytes = std::mem::take(bytes);
                *source = None;
                record.ended(Outcome::Completed);
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Source::Streamed(chunks)) => match ready!(chunks.poll_recv(cx)) {
                Some(Chunk::Data(bytes)) => Poll::Ready(Some(Ok(bytes))),
                Some(Chunk::End) => {
                    *source = None;
                    record.ended(Outcome::Completed);
                    Poll::Ready(None)
                }
                None => {
                    *source = None;
                    record.ended(Outcome::ListenerGone);
                    Poll::Ready(Some(Err(CutOff)))
                }
            },
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.source {
            None => SizeHint::with_exact(0),
            Some(Source::Whole(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Source::Streamed(_)) => SizeHint::default(),
        }
    }
}
