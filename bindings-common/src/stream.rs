//! A relayed byte stream for hosts whose calls wait.

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use hybridrelay::{ByteStream, Connection, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::errors::{Failure, Result};
use crate::pump::to_core;
use crate::returns::{Came, Returns, Taken};
use crate::turns::Turns;

/// A byte stream: one call reads while another writes.
pub struct Stream {
    connection: Connection,
    reader: Turns<ReadHalf<ByteStream>>,
    /// What was read, and not for the host.
    returns: Returns<Bytes>,
    writer: Turns<WriteHalf<ByteStream>>,
    /// Our direction has ended in good order.
    shut: AtomicBool,
}

impl Stream {
    /// Turns a connection into bytes, once. Those of the messages that `received` tells come first.
    ///
    /// # Errors
    ///
    /// `STREAM_IN_USE` if it was converted before.
    pub fn new(connection: Connection, received: &Returns<Message>) -> Result<Self> {
        let (reader, writer) = tokio::io::split(connection.clone().into_stream()?);
        let (reader, writer) = (Turns::new(reader), Turns::new(writer));
        let first = received.left().into_iter().map(Message::into_bytes).filter(|bytes| !bytes.is_empty());
        Ok(Self { connection, reader, returns: Returns::new(first), writer, shut: AtomicBool::new(false) })
    }

    /// Reads what has come, as far as it fits; 0 once the peer has closed its direction. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `CONNECTION_LOST` after an abort, `CLOSED` behind [`close`](Self::close) and [`end`](Self::end).
    pub async fn read(&self, mut buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let reading = async {
            let _turn = self.returns.turn().await;
            let max = buffer.len();
            let more = async { self.reader.turn().await.read_buf(&mut buffer).await.map_err(failed) };
            let came = self.returns.first_or(more).await;
            match came {
                Came::More(read) => read,
                Came::Back(taken) => {
                    let bytes = taken.at_most(max).keep();
                    buffer.put_slice(&bytes);
                    Ok(bytes.len())
                }
            }
        };
        self.reader.run(reading).await
    }

    /// The next bytes, at least one and at most `max`; `None` once the peer has closed its direction. Cancel-safe. While nothing comes it
    /// holds no memory.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn next(&self, max: usize) -> Result<Option<Taken<Bytes>>> {
        let more = async {
            let mut reader = self.reader.turn().await;
            poll_fn(|cx| {
                let mut buffer = BytesMut::with_capacity(max).limit(max);
                let read = ready!(pin!(reader.read_buf(&mut buffer)).poll(cx)).map_err(failed);
                let bytes = buffer.into_inner();
                // Little is copied, so that it does not keep a large buffer alive.
                Poll::Ready(read.map(|len| match len {
                    0 => None,
                    _ if len < max / 2 => Some(Bytes::copy_from_slice(&bytes)),
                    _ => Some(bytes.freeze()),
                }))
            })
            .await
        };
        let taken = self.reader.run(self.returns.next(more)).await?;
        Ok(taken.map(|taken| taken.at_most(max)))
    }

    /// Writes what the connection takes, at least one byte and at most 64 KiB; as fast as the peer reads. Cancel-safe: a cancelled call
    /// has written nothing.
    ///
    /// # Errors
    ///
    /// `CLOSED` behind [`shutdown`](Self::shutdown), [`close`](Self::close) and [`end`](Self::end), `CONNECTION_LOST` after an abort.
    pub async fn write(&self, data: &[u8]) -> Result<usize> {
        let writing = async { self.writer.turn().await.write(data).await.map_err(failed) };
        self.writer.run(writing).await
    }

    /// Waits until everything written has left. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&self) -> Result<()> {
        let flushing = async { self.writer.turn().await.flush().await.map_err(failed) };
        self.writer.run(flushing).await
    }

    /// Closes our direction behind what was written; the peer's goes on. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn shutdown(&self) -> Result<()> {
        let shutting = async { self.writer.turn().await.shutdown().await.map_err(failed) };
        self.writer.run(shutting).await?;
        self.shut.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes both directions in good order. Whoever reads or writes at this moment fails. Cancel-safe: the next call goes on.
    ///
    /// # Errors
    ///
    /// As [`Connection::close`].
    pub async fn close(&self) -> Result<()> {
        self.reader.end();
        self.writer.end();
        self.connection.close().await?;
        self.shut.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends both directions at once: the peer sees an error, and so does whoever waits.
    pub fn abort(&self) {
        self.connection.abort();
    }

    /// The host uses it no more: whoever waits fails, and unless our direction was closed, the peer sees an error.
    pub fn end(&self) {
        self.reader.end();
        self.writer.end();
        if !self.shut.load(Ordering::Acquire) {
            self.connection.abort();
        }
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Core(to_core(error))
}
