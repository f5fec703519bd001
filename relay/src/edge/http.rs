//! The two versions of HTTP that are spoken here (protocol.md 10, decisions 42 and 60).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;

use super::Body;
use crate::node::Node;

/// What hyper needs beside the header block for the request line and its own work.
const READ_BUFFER: usize = 64 * 1024;

/// Requests at once on one connection.
const STREAMS: u32 = 128;

/// The header fields of one request, before the relay's own limit is looked at.
const HEADER_LIST: u32 = 64 * 1024;

/// What is kept of one response that its sender does not take.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a connection may be silent before it is asked whether it is there, and how long the answer may take.
const PING_AFTER: Duration = Duration::from_secs(60);
const PONG_WITHIN: Duration = Duration::from_secs(30);

/// HTTP/1.1, the only one with WebSockets.
pub(super) fn http1(node: &Node) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(node.env.clone());
    // `answer` dates what it sends by the environment's clock.
    http.auto_date_header(false);
    http.header_read_timeout(node.config().timings.header_read);
    http.max_buf_size(READ_BUFFER.max(node.config().limits.header_block * 2));
    http
}

/// HTTP/2. The library's limits against floods of resets are on.
pub(super) fn http2(node: &Arc<Node>) -> http2::Builder<Tasks> {
    let mut http = http2::Builder::new(Tasks(node.clone()));
    http.timer(node.env.clone());
    http.auto_date_header(false);
    http.max_concurrent_streams(STREAMS);
    http.max_header_list_size(HEADER_LIST);
    http.max_send_buf_size(SEND_BUFFER);
    http.keep_alive_interval(PING_AFTER);
    http.keep_alive_timeout(PONG_WITHIN);
    http
}

/// A connection of either version.
pub(super) trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no further request.
    fn wind_down(self: std::pin::Pin<&mut Self>);
}

impl<I, S> Connection for http1::UpgradeableConnection<I, S>
where
    S: HttpService<hyper::body::Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin + Send + 'static,
{
    fn wind_down(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Connection for http2::Connection<I, S, Tasks>
where
    S: HttpService<hyper::body::Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    Tasks: hyper::rt::bounds::Http2ServerConnExec<S::Future, Body>,
{
    fn wind_down(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves a connection up to its end; `false` if `late` completed before. Once the relay drains, no further request is taken.
pub(super) async fn serve(
    node: &Node,
    connection: impl Connection,
    late: impl Future<Output = ()>,
) -> hyper::Result<bool> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        served = connection.as_mut() => served.map(|()| true),
        () = late => Ok(false),
        _ = node.draining() => {
            connection.as_mut().wind_down();
            connection.await.map(|()| true)
        }
    }
}

/// Runs what hyper wants to be run beside a connection: the relay's own tasks, which end with it.
#[derive(Clone)]
pub(super) struct Tasks(Arc<Node>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let node = self.0.clone();
        self.0.spawn(async move {
            tokio::select! {
                biased;
                () = node.stopped() => {}
                () = task => {}
            }
        });
    }
}
