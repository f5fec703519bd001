//! Our own SDK behind our own relay: a listener that answers by itself, or forwards to a server.

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use http::{Request, Response};
use hybridrelay::{Body, Error, Listener, Target};
use tower_service::Service;

use super::{announce, answers};

/// Listens where the environment says; trusts the certificate if there is one.
pub(super) async fn start(certificate: Option<&Path>, to: Option<SocketAddr>) -> Result<()> {
    let mut builder = Listener::builder(Target::from_environment());
    if let Some(file) = certificate {
        builder = builder.extra_ca_pem(std::fs::read(file)?);
    }
    let listener = builder.open().await?;
    match to {
        Some(server) => {
            tokio::spawn(listener.forward(format!("http://{server}")).into_future());
        }
        None => {
            tokio::spawn(listener.serve(Answers).into_future());
        }
    }
    announce(to.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()), None)
}

/// The answers as a tower service, which is how programs serve.
#[derive(Clone)]
struct Answers;

impl Service<Request<Body>> for Answers {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(answers::answer(request))
    }
}
