//! What happens while something is exposed, line by line.

use std::sync::atomic::{AtomicBool, Ordering};

use hybridrelay::{Error, ForwardEvent, Forwarded};
use serde_json::json;
use tokio::sync::watch;

use crate::console::Console;
use crate::failure::describe;

/// Tells what a forwarder does, and counts the connections that are open.
pub(super) struct Report {
    console: Console,
    server: String,
    down: AtomicBool,
    connections: watch::Sender<usize>,
}

impl Report {
    pub(super) fn new(console: Console, server: &str) -> Self {
        Self { console, server: server.to_owned(), down: AtomicBool::new(false), connections: watch::Sender::new(0) }
    }

    /// How many connections are open.
    pub(super) fn connections(&self) -> watch::Receiver<usize> {
        self.connections.subscribe()
    }

    pub(super) fn take(&self, event: ForwardEvent) {
        match event {
            ForwardEvent::ServerAnswered => self.server_answered(),
            ForwardEvent::ServerFailed(error) => self.server_failed(&error),
            ForwardEvent::Connected => self.connections.send_modify(|open| *open += 1),
            ForwardEvent::Ended(forwarded) => {
                if is_connection(&forwarded) {
                    self.connections.send_modify(|open| *open -= 1);
                }
                self.ended(&forwarded);
            }
            _ => {}
        }
    }

    /// Only the first answer behind a failure is told.
    fn server_answered(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            let server = &self.server;
            self.console.event("serverUp", json!({"server": server}), &format!("{server} answers again"));
        }
    }

    /// Only the first failure behind an answer is told.
    fn server_failed(&self, error: &Error) {
        if !self.down.swap(true, Ordering::Relaxed) {
            let (server, reason) = (&self.server, describe(error));
            let text = format!("{server} does not answer, senders get 502: {reason}");
            self.console.event("serverDown", json!({"server": server, "reason": reason}), &text);
        }
    }

    fn ended(&self, forwarded: &Forwarded) {
        let Forwarded { tracking_id, method, path, remote_addr, status, received, sent, took, error, .. } = forwarded;
        let method = method.as_ref().map_or("CONNECT", |method| method.as_str());
        let reason = error.as_ref().map(describe);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let fields = json!({
            "method": method,
            "path": path,
            "status": status.map(|status| status.as_u16()),
            "received": received,
            "sent": sent,
            "ms": ms,
            "remote": remote_addr.map(|address| address.to_string()),
            "trackingId": tracking_id,
            "reason": reason,
        });
        let status = status.map_or_else(|| "gone".to_owned(), |status| status.as_str().to_owned());
        let why = reason.map_or(String::new(), |reason| format!("  ({reason})"));
        self.console.event("request", fields, &format!("{method} {path} {status}  {sent} bytes  {ms} ms{why}"));
    }
}

/// Whether it was told as connected before.
fn is_connection(forwarded: &Forwarded) -> bool {
    forwarded.method.is_none() && forwarded.status.is_some_and(|status| status.as_u16() == 101)
}
