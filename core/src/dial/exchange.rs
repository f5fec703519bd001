//! One HTTP/1.1 request on a fresh socket, which may be taken back afterwards: WebSocket handshakes and CONNECT.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use crate::env::BoxSocket;
use crate::{Error, ErrorKind, Result};

/// Sends `request` and lets `finish` take what it needs of the answer.
///
/// The exchange and the connection that carries it are one future: nothing is left behind when it is dropped.
pub(super) async fn exchange<T, F>(
    socket: BoxSocket,
    request: Request<Empty<Bytes>>,
    finish: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, hyper::Error>
where
    F: Future<Output = Result<T, hyper::Error>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let mut connection = pin!(connection.with_upgrades());
    let mut connection_error = None;
    let mut connection_done = false;
    let mut exchange = pin!(async move { finish(sender.send_request(request).await?).await });
    let outcome = poll_fn(|cx| {
        if !connection_done && let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            connection_done = true;
            connection_error = outcome.err();
        }
        exchange.as_mut().poll(cx)
    })
    .await;
    // The connection knows better than the exchange why it ended.
    outcome.map_err(|error| connection_error.unwrap_or(error))
}

/// The socket that an exchange has given free, and the bytes that came behind the answer.
pub(super) fn take_socket(upgraded: Upgraded) -> Result<(BoxSocket, Bytes)> {
    let parts = upgraded
        .downcast::<TokioIo<BoxSocket>>()
        .map_err(|_| Error::new(ErrorKind::Internal, "the upgraded socket is of a foreign type"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
