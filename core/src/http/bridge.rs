//! Relayed WebSockets for servers that speak WebSocket on a socket of their own: an upgrade there, then frames for frames.

use std::future::poll_fn;

use http::{HeaderMap, Uri, header};

use super::traffic::Traffic;
use crate::dial::{DialError, upgrade_over};
use crate::env::{BoxSocket, Env};
use crate::link::{WebSocketLink, WebSocketSettings};
use crate::protocol::refusal;
use crate::{Connection, Error, IncomingConnect, Result};

/// A sender and a server that have both agreed.
pub(crate) struct Bridge {
    sender: Connection,
    server: Connection,
}

/// What a server said to a sender.
pub(crate) enum Bridged {
    Joined(Bridge),
    /// The sender was rejected with this status.
    Refused(u16),
    /// The server broke the handshake off; the sender was rejected with 502.
    Failed(Error),
}

/// Offers a sender to the server at the other end of `socket`. If the server does not upgrade, the sender is rejected with its status
/// and reason, and there is nothing to carry.
///
/// `uri` is where the server believes to be, with the path and query that it sees.
pub(crate) async fn bridge(
    env: &Env,
    connect: IncomingConnect,
    socket: BoxSocket,
    uri: &Uri,
    headers: HeaderMap,
    settings: WebSocketSettings,
) -> Result<Bridged> {
    let offered: Vec<String> = connect.subprotocols().map(str::to_owned).collect();
    let upgraded = match upgrade_over(env, socket, &uri.to_string(), headers, &offered).await {
        Ok(upgraded) => upgraded,
        Err(DialError::Refused(refused)) => {
            // Everything that is not the 101 that was asked for is a refusal, also a page.
            let status = if refused.status < 300 { 400 } else { refused.status };
            connect.reject(status, &refusal::sanitize_reason(&refused.reason)).await?;
            return Ok(Bridged::Refused(status));
        }
        Err(DialError::Failed(error)) => {
            connect.reject(502, &refusal::sanitize_reason(&error.to_string())).await?;
            return Ok(Bridged::Failed(error));
        }
    };
    let server = WebSocketLink::start(env, upgraded.socket, upgraded.read_buf, settings);
    let server = connect.joined_with(server, upgraded.subprotocol.clone());
    let sender = connect.accept().subprotocol(upgraded.subprotocol).await?;
    Ok(Bridged::Joined(Bridge { sender, server }))
}

impl Bridge {
    /// Carries everything both ways, closes with their codes and reasons included, until both have closed. What breaks one breaks the
    /// other.
    pub(crate) async fn carry(self, traffic: &Traffic) -> Result<()> {
        let Self { sender, server } = self;
        let carried = tokio::try_join!(
            carry(&sender, &server, |bytes| traffic.count_received(bytes)),
            carry(&server, &sender, |bytes| traffic.count_sent(bytes))
        );
        if carried.is_err() {
            sender.abort();
            server.abort();
        }
        carried.map(|((), ())| ())
    }
}

/// The sender's headers as a server gets them: those of the handshake itself are made anew.
pub(crate) fn handshake_headers(connect: &IncomingConnect) -> HeaderMap {
    let mut headers = connect.headers().clone();
    for name in [
        // The frames are opened on the way, so that nothing may be agreed on about them.
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    headers
}

async fn carry(from: &Connection, to: &Connection, count: impl Fn(usize)) -> Result<()> {
    let (from, to) = (from.link(), to.link());
    while let Some(piece) = poll_fn(|cx| from.poll_read(cx)).await? {
        poll_fn(|cx| to.poll_ready(cx)).await?;
        count(piece.data.len());
        to.start_write(piece)?;
    }
    poll_fn(|cx| to.poll_ready(cx)).await?;
    to.start_close(from.peer_close().flatten())?;
    poll_fn(|cx| to.poll_flush(cx)).await
}
