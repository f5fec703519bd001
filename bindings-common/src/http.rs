//! Relayed HTTP in pieces: bodies that come, bodies that are written, and answers that come later.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use hybridrelay::{Body, Error, ErrorKind, ResponseWriter, Sender};
use tokio::sync::{MutexGuard, mpsc};

use crate::background::Background;
use crate::errors::{Failure, Result};
use crate::lock;
use crate::operation::Waiting;
use crate::returns::{Returns, Taken};
use crate::turns::Turns;

/// The SDK's vocabulary of HTTP.
pub use http::uri::PathAndQuery;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response};

/// A body that comes, for a host that takes it piece by piece. What is not taken slows its writer down.
pub struct BodyReader {
    reading: Turns<Reading>,
    /// What was read, and not for the host.
    returns: Returns<Bytes>,
}

struct Reading {
    body: Body,
    /// Of the chunk that was taken in part.
    rest: Bytes,
    /// How it ended, for every later read.
    end: Option<Result<(), Error>>,
}

impl BodyReader {
    /// Reads a body, and takes at once what is there: a short one is whole, and what it came by is free again.
    pub fn new(body: Body) -> Self {
        let mut reading = Reading { body, rest: Bytes::new(), end: None };
        if let Some(came) = reading.body.chunk().now_or_never() {
            reading.take(came);
        }
        Self { reading: Turns::new(reading), returns: Returns::default() }
    }

    /// The next bytes, at least one and at most `max`; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Why the body broke off, the same each time; `CLOSED` behind [`end`](Self::end).
    pub async fn next(&self, max: usize) -> Result<Option<Taken<Bytes>>> {
        let more = async {
            let mut reading = self.reading.turn().await;
            if reading.rest.is_empty() {
                if let Some(end) = &reading.end {
                    return end.clone().map(|()| None).map_err(Failure::Core);
                }
                let came = reading.body.chunk().await;
                reading.take(came);
                if let Some(end) = &reading.end {
                    return end.clone().map(|()| None).map_err(Failure::Core);
                }
            }
            let len = reading.rest.len().min(max);
            Ok(Some(reading.rest.split_to(len)))
        };
        let taken = self.reading.run(self.returns.next(more)).await?;
        Ok(taken.map(|taken| taken.at_most(max)))
    }

    /// Reads no more: whoever waits fails.
    pub fn end(&self) {
        self.reading.end();
    }
}

impl Reading {
    fn take(&mut self, came: Result<Option<Bytes>, Error>) {
        match came {
            Ok(Some(chunk)) => self.rest = chunk,
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error)),
        }
    }
}

/// A body that a host writes piece by piece: that of a response, or of a request. Dropping it before it was finished breaks it off,
/// which the other side sees.
pub struct BodyWriter {
    sink: Turns<Sink>,
}

enum Sink {
    Response(Box<ResponseWriter>),
    Upload(Upload),
    /// Whoever began to finish it has given up, and it goes on.
    Finishing(Background<()>),
    Finished(Result<()>),
    BrokenOff,
}

impl BodyWriter {
    /// Of a response that was begun.
    pub fn of_response(writer: ResponseWriter) -> Self {
        Self { sink: Turns::new(Sink::Response(Box::new(writer))) }
    }

    /// Of a request that is about to be sent with this body. At most two pieces wait for the network.
    pub fn of_request() -> (Body, Self) {
        let (body, upload) = Upload::new();
        (body, Self { sink: Turns::new(Sink::Upload(upload)) })
    }

    /// Writes a piece; a slow reader slows this down. Cancel-safe: a cancelled call has taken over the whole piece or none of it.
    ///
    /// # Errors
    ///
    /// `CONNECTION_LOST` if nobody takes the body any more, `CLOSED` behind [`finish`](Self::finish), [`break_off`](Self::break_off) and
    /// [`end`](Self::end).
    pub async fn write(&self, piece: Bytes) -> Result<()> {
        let writing = async {
            match &mut *self.sink.turn().await {
                Sink::Response(writer) => Ok(writer.write(piece).await?),
                Sink::Upload(upload) => upload.write(piece).await,
                Sink::Finishing(_) | Sink::Finished(_) | Sink::BrokenOff => Err(over()),
            }
        };
        self.sink.run(writing).await
    }

    /// Waits until everything written has left, and the head before it. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&self) -> Result<()> {
        let flushing = async {
            match &mut *self.sink.turn().await {
                Sink::Response(writer) => Ok(writer.flush().await?),
                Sink::Upload(upload) => upload.flush().await,
                Sink::Finishing(_) | Sink::Finished(_) | Sink::BrokenOff => Err(over()),
            }
        };
        self.sink.run(flushing).await
    }

    /// Ends the body in good order, and waits until that has left. Cancel-safe: it goes on, and the next call waits for the same end.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), the same each time.
    pub async fn finish(&self) -> Result<()> {
        let finishing = async {
            let mut sink = self.sink.turn().await;
            match std::mem::replace(&mut *sink, Sink::BrokenOff) {
                Sink::Response(writer) => Finishing::of(sink, async { Ok(writer.finish().await?) }).outcome().await,
                Sink::Upload(upload) => Finishing::of(sink, upload.finish()).outcome().await,
                Sink::Finishing(begun) => {
                    *sink = Sink::Finishing(begun.clone());
                    drop(sink);
                    begun.outcome().await
                }
                Sink::Finished(outcome) => {
                    *sink = Sink::Finished(outcome.clone());
                    outcome
                }
                Sink::BrokenOff => Err(over()),
            }
        };
        self.sink.run(finishing).await
    }

    /// Breaks the body off, behind a call that writes at this moment. One that was finished, or is being finished, stays so. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `CLOSED` behind [`end`](Self::end).
    pub async fn break_off(&self) -> Result<()> {
        let breaking = async {
            let mut sink = self.sink.turn().await;
            if matches!(*sink, Sink::Response(_) | Sink::Upload(_)) {
                *sink = Sink::BrokenOff;
            }
            Ok(())
        };
        self.sink.run(breaking).await
    }

    /// Whoever waits fails from now on. The body breaks off when this is dropped.
    pub fn end(&self) {
        self.sink.end();
    }
}

/// The end of a body, on its way. Dropped before that has left it goes on in the background.
struct Finishing<'a> {
    sink: MutexGuard<'a, Sink>,
    /// Until it has ended.
    rest: Option<Waiting<()>>,
}

impl<'a> Finishing<'a> {
    fn of(sink: MutexGuard<'a, Sink>, rest: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self { sink, rest: Some(Box::pin(rest)) }
    }

    async fn outcome(mut self) -> Result<()> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let outcome = rest.await;
        self.rest = None;
        *self.sink = Sink::Finished(outcome.clone());
        outcome
    }
}

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.rest.take().map(Background::start) {
            // Without a runtime there is nobody whom it could be told to.
            *self.sink = begun.map_or(Sink::BrokenOff, Sink::Finishing);
        }
    }
}

/// The body of a request, written at the pace at which it is taken. Dropped before its end it breaks off.
pub struct Upload {
    /// `None` behind the end.
    pieces: Mutex<Option<mpsc::Sender<Bytes>>>,
    finished: Arc<AtomicBool>,
}

impl Upload {
    /// For a request that is about to be sent with this body. At most two pieces wait for the network.
    pub fn new() -> (Body, Self) {
        let (sender, mut pieces) = mpsc::channel(1);
        let finished = Arc::new(AtomicBool::new(false));
        let ended = finished.clone();
        let chunks = stream::poll_fn(move |cx| {
            pieces.poll_recv(cx).map(|piece| match piece {
                Some(piece) => Some(Ok(piece)),
                None if ended.swap(true, Ordering::AcqRel) => None,
                None => Some(Err(Error::new(ErrorKind::ConnectionLost, "the program broke the request's body off"))),
            })
        });
        (Body::from_stream(chunks), Self { pieces: Mutex::new(Some(sender)), finished })
    }

    /// Writes a piece, when the one before was taken. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `CONNECTION_LOST` if nobody takes the body any more, `CLOSED` behind the end.
    pub async fn write(&self, piece: Bytes) -> Result<()> {
        let pieces = self.pieces()?;
        if !piece.is_empty() {
            pieces.reserve().await.map_err(|_| nobody_takes_it())?.send(piece);
        }
        Ok(())
    }

    /// Waits until all but the last piece was taken. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&self) -> Result<()> {
        // There is room again when the piece before was taken.
        self.pieces()?.reserve().await.map(drop).map_err(|_| nobody_takes_it())
    }

    /// Ends the body now, behind what was written: in good order if it is `finished`, else broken off.
    pub fn end(&self, finished: bool) {
        self.finished.fetch_or(finished, Ordering::AcqRel);
        drop(lock(&self.pieces).take());
    }

    async fn finish(self) -> Result<()> {
        self.flush().await?;
        self.end(true);
        Ok(())
    }

    fn pieces(&self) -> Result<mpsc::Sender<Bytes>> {
        lock(&self.pieces).clone().ok_or_else(over)
    }
}

/// A request that was sent: its answer comes, or has come. Dropping the last one withdraws the request.
#[derive(Clone)]
pub struct Reply {
    answer: Background<Arc<Answer>>,
    waiting: Arc<Turns<()>>,
}

/// An answer.
pub struct Answer {
    /// Status, headers, and the reason phrase among the extensions.
    pub parts: response::Parts,
    /// What follows.
    pub body: BodyReader,
}

impl Reply {
    /// Sends a request, in the background.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there is no runtime.
    pub fn begin(sender: Sender, request: Request<Body>) -> Result<Self> {
        let answer = Background::start(async move {
            let (parts, body) = sender.request(request).await?.into_parts();
            Ok(Arc::new(Answer { parts, body: BodyReader::new(body) }))
        })?;
        Ok(Self { answer, waiting: Arc::new(Turns::new(())) })
    }

    /// Waits for the answer. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`Sender::request`], the same each time; `CLOSED` behind [`end`](Self::end).
    pub async fn answer(&self) -> Result<Arc<Answer>> {
        self.waiting.run(self.answer.outcome()).await
    }

    /// The answer, if it has come.
    pub fn now(&self) -> Option<Result<Arc<Answer>>> {
        self.answer.now()
    }

    /// The next bytes of the answer's body, behind the answer itself, as [`BodyReader::next`] has them. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), and why the body broke off.
    pub async fn next(&self, max: usize) -> Result<Option<Taken<Bytes>>> {
        self.waiting.run(async { self.answer.outcome().await?.body.next(max).await }).await
    }

    /// Waits no more, and reads no more: whoever does fails.
    pub fn end(&self) {
        self.waiting.end();
    }
}

fn over() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "the body is complete, or was broken off"))
}

fn nobody_takes_it() -> Failure {
    let error = Error::new(ErrorKind::ConnectionLost, "nobody takes the request's body any more");
    Failure::Core(error.with_hint("the request has ended: its response or its error tells why"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_end_that_was_given_up_goes_on_and_comes_to_the_same_for_everybody() {
        let (mut body, writer) = BodyWriter::of_request();
        writer.write(Bytes::from_static(b"piece")).await.expect("room for one");
        assert!(writer.finish().now_or_never().is_none(), "it waits for room");
        assert_eq!(body.chunk().await.expect("no failure").expect("no end"), "piece");
        assert_eq!(body.chunk().await.expect("no failure"), None);
        for _ in 0..2 {
            writer.finish().await.expect("good order");
        }
        writer.break_off().await.expect("nothing to break off");
        let failure = writer.write(Bytes::new()).await.expect_err("it is over");
        assert_eq!(failure.core().map(Error::kind), Some(ErrorKind::Closed));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_has_no_end_in_good_order() {
        let (mut body, writer) = BodyWriter::of_request();
        writer.break_off().await.expect("nobody has ended it");
        let (mut other, upload) = Upload::new();
        upload.end(false);
        for body in [&mut body, &mut other] {
            let error = body.chunk().await.expect_err("it broke off");
            assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        }
        for failure in [writer.finish().await, upload.write(Bytes::new()).await] {
            let failure = failure.expect_err("it is over");
            assert_eq!(failure.core().map(Error::kind), Some(ErrorKind::Closed));
        }
    }

    #[tokio::test]
    async fn whoever_writes_learns_that_nobody_takes_it() {
        let (body, writer) = BodyWriter::of_request();
        drop(body);
        for failure in [writer.write(Bytes::from_static(b"piece")).await, writer.flush().await, writer.finish().await] {
            let failure = failure.expect_err("nobody takes it");
            assert_eq!(failure.core().map(Error::kind), Some(ErrorKind::ConnectionLost));
        }
    }
}
