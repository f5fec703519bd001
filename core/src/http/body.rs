//! The body of a request or a response.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::client::Solo;
use crate::{Error, ErrorKind, Result};

/// What a request or a response carries: nothing, bytes, or chunks that come as they are made.
///
/// Made from bytes and text with [`From`], from any other body with [`new`](Self::new), from chunks with
/// [`from_stream`](Self::from_stream). Read it chunk by chunk or whole, or as the [`http_body::Body`] that it is. It is never stored
/// as a whole on the way: who reads slowly slows the writer down. Trailers are not relayed (they cannot be, protocol.md 5.5) and are
/// dropped.
pub struct Body(Inner);

enum Inner {
    Empty,
    Full(Bytes),
    /// What comes at a rendezvous. An empty chunk is the end; a channel that ends without one is a sender that has gone.
    Received(mpsc::Receiver<Bytes>),
    /// What hyper reads, and the request that travels alone until then.
    Incoming {
        body: Incoming,
        _solo: Option<Solo>,
    },
    /// Locked for one poll, and by its only owner: it makes a body that need not be `Sync` a part of things that are.
    Other(Mutex<BoxBody>),
}

type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>;

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// A body of another kind.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self(Inner::Other(Mutex::new(Box::pin(Foreign(Box::pin(body))))))
    }

    /// Chunks as they come. An error breaks the body off, which the other side sees as one.
    pub fn from_stream<S, D, E>(chunks: S) -> Self
    where
        S: Stream<Item = Result<D, E>> + Send + 'static,
        D: Into<Bytes> + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        Self(Inner::Other(Mutex::new(Box::pin(Chunks(Box::pin(chunks))))))
    }

    pub(super) fn received(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self(Inner::Received(chunks))
    }

    pub(super) fn incoming(body: Incoming, solo: Option<Solo>) -> Self {
        if body.is_end_stream() { Self::empty() } else { Self(Inner::Incoming { body, _solo: solo }) }
    }

    /// The next chunk, never an empty one; `None` at the end.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` when the body breaks off. Cancel-safe.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// `MessageTooLarge` for a longer one; as [`chunk`](Self::chunk).
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let first = self.chunk().await?.unwrap_or_default();
        let mut whole = BytesMut::new();
        let mut more = self.chunk().await?;
        if more.is_none() && first.len() <= limit {
            return Ok(first);
        }
        whole.extend_from_slice(&first);
        loop {
            if whole.len() + more.as_ref().map_or(0, Bytes::len) > limit {
                let text = format!("a body is longer than the limit of {limit} bytes");
                return Err(Error::new(ErrorKind::MessageTooLarge, text));
            }
            match more {
                Some(chunk) => whole.extend_from_slice(&chunk),
                None => return Ok(whole.freeze()),
            }
            more = self.chunk().await?;
        }
    }

    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            let chunk = match &mut self.0 {
                Inner::Empty => return Poll::Ready(Ok(None)),
                Inner::Full(_) => match std::mem::replace(&mut self.0, Inner::Empty) {
                    Inner::Full(bytes) => Some(Ok(bytes)),
                    _ => None,
                },
                Inner::Received(chunks) => match ready!(chunks.poll_recv(cx)) {
                    Some(end) if end.is_empty() => None,
                    Some(chunk) => Some(Ok(chunk)),
                    None => Some(Err(sender_gone())),
                },
                Inner::Incoming { body, .. } => match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        // The connection is free again, before anybody asks for more.
                        if body.is_end_stream() {
                            self.0 = Inner::Empty;
                        }
                        // Trailers are dropped.
                        Some(Ok(frame.into_data().unwrap_or_default()))
                    }
                    Some(Err(error)) => Some(Err(broken_off(error.into()))),
                    None => None,
                },
                Inner::Other(body) => {
                    let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match ready!(body.as_mut().poll_frame(cx)) {
                        // Trailers are dropped.
                        Some(Ok(frame)) => Some(Ok(frame.into_data().unwrap_or_default())),
                        Some(Err(error)) => Some(Err(error)),
                        None => None,
                    }
                }
            };
            match chunk {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                ended => {
                    self.0 = Inner::Empty;
                    return Poll::Ready(ended.transpose());
                }
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_chunk(cx).map(|chunk| chunk.transpose().map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Received(_) => false,
            Inner::Incoming { body, .. } => body.is_end_stream(),
            Inner::Other(body) => body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Received(_) => SizeHint::default(),
            Inner::Incoming { body, .. } => body.size_hint(),
            Inner::Other(body) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size_hint().exact() {
            Some(len) => write!(f, "Body({len} bytes)"),
            None => f.write_str("Body(stream)"),
        }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Full(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

/// A body of a foreign kind: its chunks become `Bytes`, its errors ours.
struct Foreign<B>(Pin<Box<B>>);

impl<B> HttpBody for Foreign<B>
where
    B: HttpBody,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(self.0.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
            Err(error) => Err(broken_off(error.into())),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A stream as a body.
struct Chunks<S>(Pin<Box<S>>);

impl<S, D, E> HttpBody for Chunks<S>
where
    S: Stream<Item = Result<D, E>>,
    D: Into<Bytes>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let chunk = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(chunk.map(|chunk| match chunk {
            Ok(chunk) => Ok(Frame::data(chunk.into())),
            Err(error) => Err(broken_off(error.into())),
        }))
    }
}

/// What a body that ends too early, or an answer that nobody waits for, means.
pub(super) fn sender_gone() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the sender of the request has gone")
}

fn broken_off(error: Box<dyn StdError + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => {
            Error::new(ErrorKind::ConnectionLost, "a body broke off").with_reason(other.to_string()).with_source(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn chunks_come_one_by_one_and_empty_ones_are_left_out() {
        let chunks = ["a", "", "bc"].map(|chunk| Ok::<_, Error>(Bytes::from(chunk)));
        let mut body = Body::from_stream(stream::iter(chunks));
        assert_eq!(body.chunk().await.unwrap().unwrap(), "a");
        assert_eq!(body.chunk().await.unwrap().unwrap(), "bc");
        assert_eq!(body.chunk().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_whole_body_is_bounded() {
        assert_eq!(Body::from("seven77").bytes(7).await.unwrap(), "seven77");
        assert_eq!(Body::empty().bytes(0).await.unwrap(), "");
        let error = Body::from("seven77").bytes(6).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        let chunks = [1, 2, 3].map(|n| Ok::<_, Error>(vec![n; 3]));
        assert_eq!(Body::from_stream(stream::iter(chunks)).bytes(9).await.unwrap().len(), 9);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_why() {
        let chunks = [Ok("a"), Err(std::io::Error::other("the disk is gone"))];
        let mut body = Body::new(http_body_util::StreamBody::new(stream::iter(
            chunks.map(|chunk| chunk.map(|chunk| Frame::data(Bytes::from(chunk)))),
        )));
        assert_eq!(body.chunk().await.unwrap().unwrap(), "a");
        let error = body.chunk().await.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::ConnectionLost, Some("the disk is gone")));
        assert_eq!(body.chunk().await.unwrap(), None);
    }
}
