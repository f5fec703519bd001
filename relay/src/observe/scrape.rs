//! The metrics on a socket of their own: `GET /metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hybridrelay::env::{Acceptor, BoxSocket};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use crate::node::Node;

/// Scrapers at once; more wait in the system's queue.
const CONNECTIONS: usize = 16;

/// What a scraper may take for its request, and between two of them.
const HEADER_READ: Duration = Duration::from_secs(30);

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves the metrics until the relay has stopped, drain time included.
pub(crate) async fn scrape(node: Arc<Node>, mut acceptor: Box<dyn Acceptor>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match acceptor.accept().await {
                Ok(socket) => {
                    let serving = serve(node.clone(), socket);
                    node.spawn(async move {
                        let _permit = permit;
                        serving.await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a scraper could not be accepted");
                    node.env.sleep(Duration::from_secs(1)).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = node.stopped() => {}
        () = accepting => {}
    }
}

async fn serve(node: Arc<Node>, socket: BoxSocket) {
    let mut http = http1::Builder::new();
    http.timer(node.env.clone());
    http.auto_date_header(false);
    http.header_read_timeout(HEADER_READ);
    let service = service_fn(|request| {
        let response = answer(&node, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let serving = http.serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        biased;
        () = node.stopped() => {}
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a scraper's connection ended with an error");
        }
    }
}

fn answer(node: &Node, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "The metrics can be read with GET\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(Full::from(node.metrics_text()));
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}
