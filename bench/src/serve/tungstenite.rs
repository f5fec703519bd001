//! What a good programmer writes in an afternoon: a relay of two WebSockets with tokio-tungstenite.
//!
//! Two clients that ask for the same path are joined. Messages go from one to the other by `forward`, which batches:
//! it flushes only when nothing more has come. The library's buffers are left at their generous defaults.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::{Tls, announce};

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

type WebSocket<S> = WebSocketStream<S>;

/// Who came first and waits for the other one, by path.
type Waiting<S> = Arc<Mutex<HashMap<String, oneshot::Sender<WebSocket<S>>>>>;

pub(super) async fn start(tls: Tls) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(listener.local_addr()?, None)?;
    match tls.map(TlsAcceptor::from) {
        None => {
            let waiting = Waiting::default();
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let waiting = waiting.clone();
                    tokio::spawn(async move {
                        prepare(&socket)?;
                        serve(socket, waiting).await
                    });
                }
            });
        }
        Some(acceptor) => {
            let waiting = Waiting::default();
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let (waiting, acceptor) = (waiting.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        prepare(&socket)?;
                        serve(acceptor.accept(socket).await?, waiting).await
                    });
                }
            });
        }
    }
    Ok(())
}

fn prepare(socket: &TcpStream) -> Result<()> {
    Ok(socket.set_nodelay(true)?)
}

async fn serve<S: Socket>(socket: S, waiting: Waiting<S>) -> Result<()> {
    let mut path = String::new();
    // The library's callback has this signature.
    #[allow(clippy::result_large_err)]
    let read_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(socket, read_path).await?;
    let other = {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = waiting.remove(&path) {
            // One that has gone is simply not joined.
            let _ = first.send(socket);
            return Ok(());
        }
        let (here, other) = oneshot::channel();
        waiting.insert(path, here);
        other
    };
    join(socket, other.await?).await
}

async fn join<S: Socket>(first: WebSocket<S>, second: WebSocket<S>) -> Result<()> {
    let (first_sink, first_stream) = first.split();
    let (second_sink, second_stream) = second.split();
    let (there, back) = tokio::join!(first_stream.forward(second_sink), second_stream.forward(first_sink));
    there?;
    back?;
    Ok(())
}
