//! A server that answers HTTP requests with hyper: what stands behind the proxies.

use std::net::Ipv4Addr;

use anyhow::Result;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Tls, announce, answers};

pub(super) async fn start(tls: Tls) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(listener.local_addr()?, None)?;
    let acceptor = tls.map(TlsAcceptor::from);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true)?;
                match acceptor {
                    Some(acceptor) => serve(acceptor.accept(socket).await?).await,
                    None => serve(socket).await,
                }
            });
        }
    });
    Ok(())
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<()> {
    let service = service_fn(|request: Request<Incoming>| answers::answer(request));
    Ok(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await?)
}
