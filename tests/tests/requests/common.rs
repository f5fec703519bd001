//! A listener in front of a foreign relay, whose every message is the test's.

use bytes::Bytes;
use http::Request;
use hybridrelay::{Body, Incoming, IncomingRequest, Listener, Responder};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::{Admitted, FakeRelay};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Every feature that the SDK knows.
pub(crate) const FEATURES: &str = "cancel, header-arrays, raw-target";

/// More than any body here has.
pub(crate) const LIMIT: usize = 64 << 20;

pub(crate) struct Stage {
    pub(crate) fake: FakeRelay,
    pub(crate) listener: Listener,
    pub(crate) control: Admitted,
}

impl Stage {
    /// A listener that is online at a relay with these features.
    pub(crate) async fn set(features: &str) -> Self {
        Self::set_with(features, |builder| builder).await
    }

    pub(crate) async fn set_with(
        features: &str,
        options: impl FnOnce(hybridrelay::ListenerBuilder) -> hybridrelay::ListenerBuilder,
    ) -> Self {
        let fake = FakeRelay::start().await;
        let builder = options(Listener::builder(fake.connection_string()));
        let admitting = async { fake.visitor().await.admit(&[("Relay-Features", features)]).await };
        let (listener, control) = tokio::join!(builder.soon(), admitting);
        Self { listener: listener.expect("the listener gets online"), control, fake }
    }

    /// The address at which a request waits, or its answer is awaited.
    pub(crate) fn address(&self) -> String {
        address(&self.fake)
    }

    /// Delivers a request without a body on the control channel.
    pub(crate) async fn ask(&mut self, method: &str, target: &str) {
        let message = message(&self.address(), method, target, false);
        self.control.command(message).await;
    }

    /// Delivers a request with a body on the control channel.
    pub(crate) async fn ask_with(&mut self, target: &str, body: &[u8]) {
        let message = message(&self.address(), "POST", target, true);
        self.control.command(message).await;
        self.control.send(Message::binary(body.to_vec())).await;
    }

    /// Lets the listener fetch a request from a rendezvous.
    pub(crate) async fn invite(&mut self, target: &str) -> Admitted {
        self.control.command(json!({"request": {"address": self.address()}})).await;
        let mut rendezvous = self.fake.admit().await;
        rendezvous.command(message(&self.address(), "POST", target, true)).await;
        rendezvous
    }

    /// The next request that the program gets.
    pub(crate) async fn incoming(&self) -> IncomingRequest {
        incoming(&self.listener).await
    }

    /// The next request, taken apart.
    pub(crate) async fn taken(&self) -> (Request<Body>, Responder) {
        self.incoming().await.into_parts()
    }
}

pub(crate) const ID: &str = "b1f3c0de-0000-4000-8000-000000000000_G7";

pub(crate) fn address(fake: &FakeRelay) -> String {
    format!("ws://{}/$hc/hyco?sb-hc-action=request&sb-hc-id={ID}&sb-hc-ticket=s3cret", fake.authority())
}

/// A request in its full form.
pub(crate) fn message(address: &str, method: &str, target: &str, body: bool) -> Value {
    json!({"request": {
        "address": address, "id": ID, "requestTarget": target, "method": method,
        "remoteEndpoint": {"address": "203.0.113.7", "port": 4711},
        "requestHeaders": {"Host": "relay.example.net", "Via": "1.1 relay.example.net", "X-Own": "1"}, "body": body,
    }})
}

/// The next request of a listener.
pub(crate) async fn incoming(listener: &Listener) -> IncomingRequest {
    match listener.accept().soon().await {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("no request came: {other:?}"),
    }
}

/// A response as the relay sees it, with the body behind it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Value,
    pub(crate) body: Option<Bytes>,
}

impl Seen {
    pub(crate) fn status(&self) -> u64 {
        self.head["statusCode"].as_u64().expect("a number")
    }

    pub(crate) fn header(&self, name: &str) -> &Value {
        &self.head["responseHeaders"][name]
    }
}

/// The next response on a socket.
pub(crate) async fn response(socket: &mut Admitted) -> Seen {
    let text = socket.message().await;
    let message: Value = serde_json::from_str(text.to_text().expect("a text message")).expect("JSON");
    let head = message["response"].clone();
    assert_eq!(head["requestId"], ID);
    let body = match head["body"].as_bool().expect("it says whether a body follows") {
        true => Some(socket.message().await.into_data()),
        false => None,
    };
    Seen { head, body }
}

/// Waits for the end of a rendezvous; false for an abort.
pub(crate) async fn ends_well(socket: &mut Admitted) -> bool {
    use futures_util::StreamExt;
    match socket.ws.next().soon().await {
        Some(Ok(Message::Close(Some(frame)))) => u16::from(frame.code) == 1000,
        Some(Ok(other)) => panic!("something else than the end: {other:?}"),
        Some(Err(_)) | None => false,
    }
}
