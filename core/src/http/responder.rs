//! What answers a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body as _;

use super::answer::{Answer, Route, Until};
use super::body::{Body, sender_gone};
use super::cancellation::Cancellation;
use super::head::ResponseHead;
use super::rendezvous::Rendezvous;
use crate::{Error, ErrorKind, Result};

/// The longest body that answers on the control channel (protocol.md 5.3).
const CONTROL_LIMIT: usize = 64 * 1024;

/// How long a body of unknown length may take to end before the answer moves to a rendezvous: a short answer whose end comes a moment
/// later need not cost a dial.
const PATIENCE: Duration = Duration::from_millis(10);

/// The same for a body that is known to be short.
const PATIENCE_WITH_SHORT: Duration = Duration::from_secs(1);

/// What answers one request. Dropping it unanswered answers 500; of a one-way request it may be dropped, since its answer goes nowhere.
pub struct Responder {
    answer: Option<Answer>,
    /// The status and text for a drop.
    unanswered: (u16, &'static str),
    /// Nobody waits for the answer.
    one_way: bool,
}

impl Responder {
    pub(super) fn new(answer: Answer, one_way: bool) -> Self {
        Self { answer: Some(answer), unanswered: (501, "The listener does not answer HTTP requests"), one_way }
    }

    /// The program has taken the request on.
    pub(super) fn taken(mut self) -> Self {
        self.unanswered = match self.one_way {
            true => (202, "The listener has taken the request"),
            false => (500, "The listener dropped the request unanswered"),
        };
        self
    }

    pub(super) fn listener_closes(&mut self) {
        self.unanswered = (503, "The listener closes");
    }

    /// Sends a response: status, reason phrase (extension [`ReasonPhrase`](crate::ReasonPhrase), else the standard one), headers and
    /// body.
    ///
    /// A short one travels on the control channel. One whose body is longer than 64 KiB, or is not complete at once, streams over a
    /// rendezvous, chunk by chunk; a slow sender then slows the body down. Headers of the connection (`Content-Length`,
    /// `Transfer-Encoding`, …) are the relay's to write, and trailers are dropped. Returns when everything was handed to the
    /// operating system.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` if the sender has gone or the way to the relay broke; the error of a body that broke off, which the sender
    /// sees as a broken response, or as 500 if nothing was sent yet; `InvalidArgument` for a status below 200. Cancelling is the same
    /// as a body that breaks off.
    pub async fn send<B: Into<Body>>(self, response: Response<B>) -> Result<()> {
        let (parts, body) = response.into_parts();
        self.start(Response::from_parts(parts, ()))?.copy(body.into()).await
    }

    /// The same for one who need not know that it has left: a short response is done with when the control channel has taken it, mostly
    /// at once. While sixteen answers wait there it waits for its turn, so a relay that takes nothing slows this down as well.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A channel that breaks behind the return is not told. Cancelled while it waits for its turn, the sender
    /// gets 500.
    pub async fn enqueue(self, response: Response<Bytes>) -> Result<()> {
        let (parts, body) = response.into_parts();
        let writer = self.start(Response::from_parts(parts, ()))?;
        if body.len() > CONTROL_LIMIT {
            return writer.copy(body.into()).await;
        }
        let body = if writer.head.may_have_body { body } else { Bytes::new() };
        writer.end(body, Until::Queued).await
    }

    /// Begins a response whose body is written piece by piece.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a status below 200; the sender gets 500.
    pub fn start(mut self, response: Response<()>) -> Result<ResponseWriter> {
        let (parts, ()) = response.into_parts();
        let answer = self.answer.as_ref().ok_or_else(answered)?;
        let head = ResponseHead::new(&parts, &answer.request_id, &answer.method, &answer.features)?;
        let answer = self.answer.take();
        Ok(ResponseWriter { answer, head, buffer: BytesMut::new(), rendezvous: None })
    }

    /// Whether the answer goes nowhere; see [`IncomingRequest::is_one_way`](crate::IncomingRequest::is_one_way).
    pub fn is_one_way(&self) -> bool {
        self.one_way
    }

    /// Answers in the background with a status and a text.
    pub(crate) fn answer_later(mut self, status: u16, text: &'static str) {
        if let Some(answer) = self.answer.take() {
            answer.refuse_later(status, text);
        }
    }

    /// Tells when the sender has gone.
    pub fn cancellation(&self) -> Cancellation {
        self.answer().fate.cancellation()
    }

    /// Waits until the sender has gone; see [`Cancellation`]. Cancel-safe.
    pub async fn cancelled(&self) {
        self.cancellation().cancelled().await;
    }

    /// The id under which the relay's logs know this request.
    pub fn tracking_id(&self) -> &str {
        &self.answer().request_id
    }

    fn answer(&self) -> &Answer {
        // Taken only by the methods that consume `self`.
        self.answer.as_ref().expect("an unanswered request has its answer")
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take().filter(|answer| !answer.fate.cancellation().is_cancelled()) {
            let (status, text) = self.unanswered;
            if status != 202 {
                tracing::warn!(tracking_id = answer.request_id, status, "a request was dropped unanswered");
            }
            answer.refuse_later(status, text);
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("tracking_id", &self.tracking_id()).finish_non_exhaustive()
    }
}

/// Writes the body of a response. Dropping it before [`finish`](Self::finish) breaks the response off: the sender sees that, or 500 if
/// nothing was sent yet.
pub struct ResponseWriter {
    answer: Option<Answer>,
    head: ResponseHead,
    /// What was written and not sent yet.
    buffer: BytesMut,
    /// Where the head was sent.
    rendezvous: Option<Arc<Rendezvous>>,
}

impl ResponseWriter {
    /// Writes a piece of the body. Up to 64 KiB are held back until the first [`flush`](Self::flush); behind it, and behind more than
    /// that, every piece leaves at once. A slow sender slows this down.
    ///
    /// Answers to HEAD, and 204 and 304, have no body: pieces are dropped.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` if the sender has gone or the way to the relay broke. Cancel-safe: a cancelled call has taken over the whole
    /// piece or none of it.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<()> {
        let data: Bytes = data.into();
        if data.is_empty() || !self.head.may_have_body {
            return Ok(());
        }
        if self.rendezvous.is_none() && self.buffer.len() + data.len() > CONTROL_LIMIT {
            self.stream().await?;
        }
        match &self.rendezvous {
            Some(rendezvous) => {
                rendezvous.ready().await?;
                rendezvous.start_body(data, false)
            }
            None => {
                self.buffer.extend_from_slice(&data);
                Ok(())
            }
        }
    }

    /// Sends what was written so far, the head included, and waits until the operating system has it. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&mut self) -> Result<()> {
        self.stream().await?.flush().await
    }

    /// Ends the response.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write). Cancelling breaks the response off.
    pub async fn finish(mut self) -> Result<()> {
        let Some(rendezvous) = self.rendezvous.clone() else {
            let body = std::mem::take(&mut self.buffer).freeze();
            return self.end(body, Until::Sent).await;
        };
        if self.head.may_have_body {
            rendezvous.ready().await?;
            rendezvous.start_body(Bytes::new(), true)?;
        }
        let finished = rendezvous.finish().await;
        self.rendezvous = None;
        self.answer = None;
        finished
    }

    /// Sends a response of which nothing was sent yet, with this body.
    async fn end(mut self, body: Bytes, until: Until) -> Result<()> {
        self.head.message.body = !body.is_empty();
        // It stays here: while it waits for its turn, a drop says 500.
        let answer = self.answer.as_mut().ok_or_else(answered)?;
        answer.send(&self.head.message, body, until).await
    }

    /// Tells when the sender has gone.
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.answer.as_ref().map(|answer| answer.fate.cancellation())
    }

    /// Writes a whole body, as it comes.
    pub(super) async fn copy(mut self, mut body: Body) -> Result<()> {
        let answer = self.answer.as_ref().ok_or_else(answered)?;
        let is_short = body.size_hint().exact().is_some_and(|len| len <= CONTROL_LIMIT as u64);
        let patience = if is_short { PATIENCE_WITH_SHORT } else { PATIENCE };
        let mut patience = match answer.route {
            Route::Control { .. } => answer.context.dialer.env().sleep(patience),
            Route::Rendezvous(_) => answer.context.dialer.env().sleep(Duration::ZERO),
        };
        let cancellation = answer.fate.cancellation();
        loop {
            let chunk = tokio::select! {
                biased;
                () = cancellation.cancelled() => return Err(sender_gone()),
                chunk = body.chunk() => chunk?,
                () = &mut patience, if self.rendezvous.is_none() => {
                    self.stream().await?;
                    continue;
                }
            };
            match chunk {
                Some(chunk) => self.write(chunk).await?,
                None => return self.finish().await,
            }
        }
    }

    /// Sends the head and what waits behind it, if that was not done yet. From then on the body streams.
    async fn stream(&mut self) -> Result<Arc<Rendezvous>> {
        let rendezvous = match &self.rendezvous {
            Some(rendezvous) => rendezvous.clone(),
            None => {
                let answer = self.answer.as_mut().ok_or_else(answered)?;
                let rendezvous = answer.rendezvous().await?;
                rendezvous.ready().await?;
                answer.said = true;
                rendezvous.start_head(self.head.message.to_json_for(&answer.features), !self.head.may_have_body)?;
                self.rendezvous = Some(rendezvous.clone());
                rendezvous
            }
        };
        if !self.buffer.is_empty() {
            rendezvous.ready().await?;
            rendezvous.start_body(self.buffer.split().freeze(), false)?;
        }
        Ok(rendezvous)
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        // Behind a head on a rendezvous the answer's end is the end of that.
        if !answer.said && !answer.fate.cancellation().is_cancelled() {
            answer.refuse_later(500, "The listener broke off its response");
        }
    }
}

impl fmt::Debug for ResponseWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseWriter").field("status", &self.head.message.status_code).finish_non_exhaustive()
    }
}

/// The answer was taken by a call that consumed its handle.
fn answered() -> Error {
    Error::new(ErrorKind::Internal, "a request was answered twice")
}
