//! A relayed stream of messages, convertible once into bytes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use crate::env::Env;
use crate::link::{Link, Piece};
use crate::ws::CloseFrame;
use crate::{Error, ErrorKind, Result};

mod assembly;
mod message;
mod stream;

use assembly::Assembly;
pub use message::Message;
pub use stream::ByteStream;

/// A bidirectional stream between a listener's program and a sender's, through the relay.
///
/// It carries messages, text or binary, and keeps their boundaries; [`into_stream`](Self::into_stream) turns it into bytes once.
/// All methods take `&self`: receiving never blocks sending. Clones are handles to the same connection.
///
/// # Ends
///
/// [`shutdown`](Self::shutdown) ends our direction only (half-close), [`close`](Self::close) both in good order,
/// [`abort`](Self::abort) both at once. Dropping the last handle of a connection whose sending direction was never closed is an
/// abort: the peer sees an error and not an end of stream.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    env: Env,
    link: Box<dyn Link>,
    settings: ConnectionSettings,
    subprotocol: Option<String>,
    tracking_id: String,
    /// Turns: one task reads and one writes at a time, others queue in order.
    reading: Semaphore,
    writing: Semaphore,
    /// The message that is being received. Locked for one poll.
    assembly: Mutex<Assembly>,
    stream_in_use: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) close_timeout: Duration,
    pub(crate) max_message_size: usize,
}

impl Connection {
    pub(crate) fn new(
        env: Env,
        link: impl Link,
        settings: ConnectionSettings,
        subprotocol: Option<String>,
        tracking_id: String,
    ) -> Self {
        Self(Arc::new(Inner {
            env,
            link: Box::new(link),
            assembly: Mutex::new(Assembly::new(settings.max_message_size)),
            settings,
            subprotocol,
            tracking_id,
            reading: Semaphore::new(1),
            writing: Semaphore::new(1),
            stream_in_use: AtomicBool::new(false),
        }))
    }

    /// What it sits on, for whoever carries pieces on as they come. Nobody else may use the connection then.
    pub(crate) fn link(&self) -> &dyn Link {
        &*self.0.link
    }

    /// The next message; `None` once the peer has closed its direction.
    ///
    /// The code and reason of the close are then known to [`peer_close`](Self::peer_close).
    ///
    /// # Errors
    ///
    /// `ConnectionLost` after an abort or a broken network, `MessageTooLarge` over the configured limit, `Protocol` for text that
    /// is not UTF-8, `StreamInUse` after [`into_stream`](Self::into_stream).
    ///
    /// Cancel-safe: nothing is lost, a message that has come in part is finished by the next call.
    pub async fn receive(&self) -> Result<Option<Message>> {
        let _turn = self.turn(&self.0.reading).await?;
        poll_fn(|cx| self.0.poll_message(cx)).await
    }

    /// Sends a message: it is taken over whole and leaves at once, as far as the network takes it.
    ///
    /// Completes when less than 64 KiB wait for the network, so a slow peer slows the caller down and costs no memory.
    ///
    /// # Errors
    ///
    /// `Closed` after [`shutdown`](Self::shutdown) or [`close`](Self::close), `ConnectionLost` on a broken connection,
    /// `StreamInUse` after [`into_stream`](Self::into_stream).
    ///
    /// Cancel-safe: a cancelled call has either taken over the whole message or none of it.
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        let _turn = self.take_over(message.into()).await?;
        poll_fn(|cx| self.0.link.poll_ready(cx)).await
    }

    /// The same for one who must know whether a call that was cancelled has sent something: it completes as soon as the message is taken
    /// over, which it is when less than 64 KiB wait for the network.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// Cancel-safe: a cancelled call has taken over nothing.
    pub async fn enqueue(&self, message: impl Into<Message>) -> Result<()> {
        self.take_over(message.into()).await.map(drop)
    }

    /// Waits until everything sent has been handed to the operating system. Cancel-safe.
    pub async fn flush(&self) -> Result<()> {
        let _turn = self.turn(&self.0.writing).await?;
        poll_fn(|cx| self.0.link.poll_flush(cx)).await
    }

    /// Ends our direction behind everything sent; the peer's direction goes on (half-close, protocol.md 6.3).
    ///
    /// The code is 1000, or the peer's own if it has closed first: that is what browsers then show to it (RFC 6455 5.5.1).
    /// Without effect if our direction has ended already. Cancel-safe.
    pub async fn shutdown(&self) -> Result<()> {
        let _turn = self.turn(&self.0.writing).await?;
        self.0.shut(None).await
    }

    /// Closes the connection in good order: sends everything, then Close with the code of [`shutdown`](Self::shutdown), and waits
    /// for the peer's Close, discarding what still comes.
    ///
    /// # Errors
    ///
    /// `Timeout` when nothing has moved for the configured `close_timeout` (60 s by default); the connection is then aborted.
    /// `ConnectionLost` if it broke before the peer closed.
    ///
    /// Idempotent. Cancel-safe; a cancelled close goes on with the next call, or in the background when the connection is dropped.
    pub async fn close(&self) -> Result<()> {
        self.0.close(None).await
    }

    /// [`close`](Self::close) with a code and a reason, which the peer sees.
    ///
    /// # Errors
    ///
    /// Beside those of `close`: `InvalidArgument` for a code that may not travel (below 1000, 1004 to 1006, 1015, 1016 to 2999,
    /// above 4999) or a reason over 123 bytes.
    pub async fn close_with(&self, code: u16, reason: &str) -> Result<()> {
        if !crate::ws::close_code_is_valid(code) {
            return Err(Error::invalid(format!("close code {code} may not be sent; use 1000 or 3000 to 4999")));
        }
        if reason.len() > 123 {
            return Err(Error::invalid(format!("a close reason has at most 123 bytes, this one has {}", reason.len())));
        }
        self.0.close(Some(CloseFrame { code, reason: reason.to_owned() })).await
    }

    /// Ends both directions at once. Unsent data is discarded, waiting calls fail with `Closed`, the peer sees an error.
    pub fn abort(&self) {
        self.0.link.abort();
    }

    /// How the peer closed: `None` while it has not, `Some(None)` if it gave no code.
    pub fn peer_close(&self) -> Option<Option<CloseFrame>> {
        self.0.link.peer_close()
    }

    /// The sub-protocol that both sides agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol.as_deref()
    }

    /// The id under which the relay's logs know this connection.
    pub fn tracking_id(&self) -> &str {
        &self.0.tracking_id
    }

    /// Turns the connection into a byte stream, once. Written bytes travel as binary messages; of what comes, message
    /// boundaries and kinds are dropped. Bytes of a message that was received in part come first.
    ///
    /// # Errors
    ///
    /// `StreamInUse` if it was converted before.
    pub fn into_stream(self) -> Result<ByteStream> {
        if self.0.stream_in_use.swap(true, Ordering::AcqRel) {
            return Err(stream_in_use());
        }
        let begun = self.0.assembly.lock().unwrap_or_else(PoisonError::into_inner).take_begun();
        Ok(ByteStream::new(self, begun))
    }

    /// Splits into the two directions, for programs that hand them to different owners. The connection ends as described above
    /// when both are dropped.
    pub fn split(self) -> (ConnectionReader, ConnectionWriter) {
        (ConnectionReader(self.clone()), ConnectionWriter(self))
    }

    /// Reads to the peer's end, keeping nothing, for a program that only sends.
    pub(crate) async fn discard(&self) -> Result<()> {
        self.0.discard().await
    }

    /// Returns the turn in which the message was taken over.
    async fn take_over(&self, message: Message) -> Result<SemaphorePermit<'_>> {
        let (kind, data) = message.into_parts();
        let turn = self.turn(&self.0.writing).await?;
        let link = &self.0.link;
        poll_fn(|cx| link.poll_ready(cx)).await?;
        link.start_write(Piece { kind, data, end: true })?;
        Ok(turn)
    }

    async fn turn<'a>(&self, queue: &'a Semaphore) -> Result<SemaphorePermit<'a>> {
        let turn = acquire(queue).await?;
        if self.0.stream_in_use.load(Ordering::Acquire) { Err(stream_in_use()) } else { Ok(turn) }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("tracking_id", &self.0.tracking_id)
            .field("subprotocol", &self.0.subprotocol)
            .field("peer_close", &self.peer_close())
            .finish()
    }
}

/// The receiving direction of a [`Connection`].
#[derive(Clone, Debug)]
pub struct ConnectionReader(Connection);

impl ConnectionReader {
    /// See [`Connection::receive`].
    pub async fn receive(&self) -> Result<Option<Message>> {
        self.0.receive().await
    }

    /// See [`Connection::peer_close`].
    pub fn peer_close(&self) -> Option<Option<CloseFrame>> {
        self.0.peer_close()
    }
}

/// The sending direction of a [`Connection`].
#[derive(Clone, Debug)]
pub struct ConnectionWriter(Connection);

impl ConnectionWriter {
    /// See [`Connection::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.0.send(message).await
    }

    /// See [`Connection::enqueue`].
    pub async fn enqueue(&self, message: impl Into<Message>) -> Result<()> {
        self.0.enqueue(message).await
    }

    /// See [`Connection::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    /// See [`Connection::shutdown`].
    pub async fn shutdown(&self) -> Result<()> {
        self.0.shutdown().await
    }
}

impl Inner {
    fn poll_message(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            let Some(piece) = ready!(self.link.poll_read(cx))? else { return Poll::Ready(Ok(None)) };
            let added = self.assembly.lock().unwrap_or_else(PoisonError::into_inner).add(piece);
            match added {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                Err((error, close)) => {
                    self.link.fail(error.clone(), close);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    async fn close(&self, frame: Option<CloseFrame>) -> Result<()> {
        let finished = self.while_it_moves(async {
            let turn = acquire(&self.writing).await?;
            self.shut(frame).await?;
            drop(turn);
            self.discard().await
        });
        finished.await.unwrap_or_else(|| {
            self.link.abort();
            let limit = self.settings.close_timeout.as_secs_f32();
            Err(Error::new(ErrorKind::Timeout, format!("the peer did not close the connection within {limit} s")))
        })
    }

    /// Reads to the peer's end and keeps nothing.
    async fn discard(&self) -> Result<()> {
        let _turn = acquire(&self.reading).await?;
        while poll_fn(|cx| self.link.poll_read(cx)).await?.is_some() {}
        Ok(())
    }

    /// Sends `frame`, or the answer to the peer's Close, or Close 1000.
    async fn shut(&self, frame: Option<CloseFrame>) -> Result<()> {
        poll_fn(|cx| self.link.poll_ready(cx)).await?;
        let answer = || match self.link.peer_close() {
            Some(theirs) => theirs.map(|theirs| CloseFrame { code: theirs.code, reason: String::new() }),
            None => Some(CloseFrame { code: 1000, reason: String::new() }),
        };
        self.link.start_close(frame.or_else(answer))?;
        poll_fn(|cx| self.link.poll_flush(cx)).await
    }

    /// Runs `future` as long as bytes move; `None` when none have for the close timeout.
    async fn while_it_moves<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            let before = self.link.progress();
            let sleep = self.env.sleep(self.settings.close_timeout);
            tokio::select! {
                biased;
                value = &mut future => return Some(value),
                () = sleep => if self.link.progress() == before { return None },
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.release();
    }
}

async fn acquire(queue: &Semaphore) -> Result<SemaphorePermit<'_>> {
    let turn = match queue.try_acquire() {
        // Mostly there is nobody to wait for, and to ask is cheaper than to wait. Whoever waits already comes first all the same.
        Err(TryAcquireError::NoPermits) => queue.acquire().await.ok(),
        turn => turn.ok(),
    };
    turn.ok_or_else(|| Error::new(ErrorKind::Closed, "the connection was closed"))
}

fn stream_in_use() -> Error {
    Error::new(ErrorKind::StreamInUse, "the connection was converted into a byte stream")
        .with_hint("use the stream, or do not convert the connection")
}
