//! From a bound address to an HTTP connection: sockets, their limits, and TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hybridrelay::env::{Acceptor, BoxSocket};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;

use super::linger::Lingering;
use super::{CutOff, RequestBody, SocketPermit, answer, http, proxy};
use crate::limits::{Admission, are_exhausted};
use crate::node::{Counted, Node};
use crate::refusal::Reason;
use crate::tls;

/// How long accepting pauses when the system has no socket to give, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts sockets until the relay drains.
pub(crate) async fn accept(
    node: Arc<Node>,
    mut acceptor: Box<dyn Acceptor>,
    tls: Option<Arc<ServerConfig>>,
    _busy: Counted,
) {
    let mut pause = PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = node.draining() => return,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                pause = PAUSE;
                let address = proxy::address_of_peer(&node, socket.peer_addr());
                match Admission::enter(&node.quotas, address) {
                    Ok(permit) => {
                        node.spawn(serve_until_stopped(node.clone(), socket, tls.clone(), permit));
                    }
                    Err(exceeded) => {
                        node.observer.metrics.refused("", Reason::Limit(exceeded.limit));
                        tracing::debug!(peer = %socket.peer_addr(), reason = exceeded.limit, "a socket was closed unanswered");
                    }
                }
            }
            Err(error) => {
                tokio::select! {
                    biased;
                    _ = node.draining() => return,
                    () = rest(&node, &error, &mut pause) => {}
                }
            }
        }
    }
}

/// After a socket that could not be accepted. Without descriptors another try at once would spin: it comes when one of ours has
/// been closed, or after a while, since others may have closed theirs.
async fn rest(node: &Node, error: &io::Error, pause: &mut Duration) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return tracing::debug!(%error, "a connection ended before it was accepted");
    }
    let metrics = &node.observer.metrics;
    if are_exhausted(error) {
        metrics.descriptors_exhausted.inc();
    }
    metrics.accept_pauses.inc();
    tracing::warn!(%error, "no connection can be accepted for the moment");
    let freed = node.quotas.socket_freed();
    tokio::select! {
        biased;
        () = freed => {}
        () = node.env.sleep(*pause) => {}
    }
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

async fn serve_until_stopped(node: Arc<Node>, socket: BoxSocket, tls: Option<Arc<ServerConfig>>, permit: Admission) {
    tokio::select! {
        biased;
        () = node.stopped() => {}
        () = serve(node.clone(), socket, tls, Arc::new(permit)) => {}
    }
}

/// Serves one socket until it is upgraded or ends.
async fn serve(node: Arc<Node>, socket: BoxSocket, tls: Option<Arc<ServerConfig>>, permit: SocketPermit) {
    let peer = socket.peer_addr();
    let secure = tls.is_some();
    let limit = node.config().timings.handshake;
    let late = |what: &str| {
        node.observer.metrics.refused("", Reason::HandshakeTimeout);
        tracing::debug!(%peer, "{what} took too long");
    };
    if node.env.timeout(limit, permit.begin_handshake(&node.quotas)).await.is_none() {
        return late("waiting for a handshake");
    }
    let deadline = node.env.now() + limit;
    let (socket, http2) = match tls {
        Some(config) => match node.env.timeout(limit, tls::accept(config, socket)).await {
            Some(Ok(shaken)) => shaken,
            Some(Err(error)) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
            None => return late("a TLS handshake"),
        },
        None => (socket, false),
    };
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (node, asked) = (node.clone(), asked.clone());
        move |request| {
            asked.store(true, Ordering::Relaxed);
            let (node, permit) = (node.clone(), permit.clone());
            let busy = node.busy.enter();
            async move {
                let _busy = busy;
                let response = answer(&node, RequestBody::of(&node, request), peer, secure, permit.clone()).await;
                permit.answered();
                match response.extensions().get::<CutOff>() {
                    Some(cut) => Err(*cut),
                    None => Ok(response),
                }
            }
        }
    });
    let late_request = async {
        node.env.sleep_until(deadline).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    };
    let served = if http2 {
        let connection = http::http2(&node).serve_connection(TokioIo::new(socket), service);
        http::serve(&node, connection, late_request).await
    } else {
        let socket = Lingering::new(node.env.clone(), socket);
        let connection = http::http1(&node).serve_connection(socket, service).with_upgrades();
        http::serve(&node, connection, late_request).await
    };
    match served {
        Ok(true) => {}
        Ok(false) => late("the first request"),
        Err(error) => tracing::debug!(%peer, %error, "a connection ended with an error"),
    }
}
