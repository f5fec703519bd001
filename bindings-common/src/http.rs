//! Relayed HTTP in pieces: bodies that come, bodies that are written, and answers that come later.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use hybridrelay::{Body, Error, ErrorKind, ResponseWriter, Sender};
use tokio::sync::mpsc;

use crate::background::Background;
use crate::errors::{Failure, Result};
use crate::lock;
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
    /// Reads a body.
    pub fn new(body: Body) -> Self {
        let reading = Turns::new(Reading { body, rest: Bytes::new(), end: None });
        Self { reading, returns: Returns::default() }
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
                match reading.body.chunk().await {
                    Ok(Some(chunk)) => reading.rest = chunk,
                    Ok(None) => reading.end = Some(Ok(())),
                    Err(error) => reading.end = Some(Err(error)),
                }
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

/// A body that a host writes piece by piece: that of a response, or of a request. Dropping it before it was finished breaks it off,
/// which the other side sees.
pub struct BodyWriter {
    sink: Turns<Option<Sink>>,
    finishing: Mutex<Option<Background<()>>>,
}

enum Sink {
    Response(Box<ResponseWriter>),
    /// `None` is the end; a channel that ends without it is a body that broke off.
    Upload(mpsc::Sender<Option<Bytes>>),
}

impl BodyWriter {
    /// Of a response that was begun.
    pub fn of_response(writer: ResponseWriter) -> Self {
        Self { sink: Turns::new(Some(Sink::Response(Box::new(writer)))), finishing: Mutex::default() }
    }

    /// Of a request that is about to be sent with this body. At most two pieces wait for the network.
    pub fn of_request() -> (Body, Self) {
        let (sender, mut pieces) = mpsc::channel::<Option<Bytes>>(1);
        let mut ended = false;
        let chunks = stream::poll_fn(move |cx| {
            if ended {
                return std::task::Poll::Ready(None);
            }
            pieces.poll_recv(cx).map(|piece| {
                ended = !matches!(piece, Some(Some(_)));
                match piece {
                    Some(piece) => piece.map(Ok),
                    None => {
                        Some(Err(Error::new(ErrorKind::ConnectionLost, "the program broke the request's body off")))
                    }
                }
            })
        });
        let writer = Self { sink: Turns::new(Some(Sink::Upload(sender))), finishing: Mutex::default() };
        (Body::from_stream(chunks), writer)
    }

    /// Writes a piece; a slow reader slows this down. Cancel-safe: a cancelled call has taken over the whole piece or none of it.
    ///
    /// # Errors
    ///
    /// `CONNECTION_LOST` if nobody takes the body any more, `CLOSED` behind [`finish`](Self::finish) and [`end`](Self::end).
    pub async fn write(&self, piece: Bytes) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let writing = async {
            match &mut *self.sink.turn().await {
                Some(Sink::Response(writer)) => Ok(writer.write(piece).await?),
                Some(Sink::Upload(pieces)) => {
                    pieces.reserve().await.map_err(|_| nobody_takes_it())?.send(Some(piece));
                    Ok(())
                }
                None => Err(finished()),
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
                Some(Sink::Response(writer)) => Ok(writer.flush().await?),
                // There is room again when the piece before was taken.
                Some(Sink::Upload(pieces)) => pieces.reserve().await.map(drop).map_err(|_| nobody_takes_it()),
                None => Err(finished()),
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
            let finishing = self.begin_to_finish(&mut sink)?;
            drop(sink);
            finishing.outcome().await
        };
        self.sink.run(finishing).await
    }

    fn begin_to_finish(&self, sink: &mut Option<Sink>) -> Result<Background<()>> {
        let mut finishing = lock(&self.finishing);
        match (sink.take(), &*finishing) {
            (Some(sink), _) => Ok(finishing.insert(Background::start(sink.finish())?).clone()),
            (None, Some(begun)) => Ok(begun.clone()),
            (None, None) => Err(finished()),
        }
    }

    /// Whoever waits fails from now on. The body breaks off when this is dropped.
    pub fn end(&self) {
        self.sink.end();
    }
}

impl Sink {
    async fn finish(self) -> Result<()> {
        match self {
            Self::Response(writer) => Ok(writer.finish().await?),
            Self::Upload(pieces) => pieces.send(None).await.map_err(|_| nobody_takes_it()),
        }
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

    /// Waits no more, and reads no more: whoever does fails.
    pub fn end(&self) {
        self.waiting.end();
        if let Some(Ok(answer)) = self.now() {
            answer.body.end();
        }
    }
}

fn finished() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "the body was finished"))
}

fn nobody_takes_it() -> Failure {
    let error = Error::new(ErrorKind::ConnectionLost, "nobody takes the request's body any more");
    Failure::Core(error.with_hint("the request has ended: its response or its error tells why"))
}
