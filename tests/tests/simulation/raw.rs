//! Peers that are not our SDK and not our relay: an independent WebSocket library over simulated sockets, told what to do step
//! by step.

use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use http::Uri;
use hybridrelay::env::{Acceptor, BoxSocket, Env};
use hybridrelay::token::SasToken;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::world::{ENTITY, KEY, LISTENER, RELAY, RULE, World};

/// A WebSocket whose every step is the test's.
pub(crate) type Raw = WebSocketStream<BoxSocket>;

/// Opens a WebSocket; a refusal is its status.
pub(crate) async fn open(env: &Env, uri: &str, token: Option<&str>) -> Result<Raw, u16> {
    let target: Uri = uri.parse().expect("a valid URI");
    let mut request = uri.into_client_request().expect("a valid request");
    if let Some(token) = token {
        let token = token.parse().expect("a token is header text");
        request.headers_mut().insert("ServiceBusAuthorization", token);
    }
    let host = target.host().expect("a host");
    let addresses = env.resolve(host, target.port_u16().unwrap_or(80)).await.expect("a known host");
    let socket = env.dial(addresses[0]).await.expect("the host listens");
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((raw, _)) => Ok(raw),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("no answer to a handshake: {error}"),
    }
}

/// A token with a rule's key for the hybrid connection, good until then.
pub(crate) fn token(expires_at: SystemTime) -> String {
    token_by(RULE, KEY, expires_at)
}

pub(crate) fn token_by(rule: &str, key: &str, expires_at: SystemTime) -> String {
    SasToken::create(&format!("http://{RELAY}/{ENTITY}/"), rule, key, expires_at).to_text()
}

/// A listener that does only what it is told, except that its library answers Pings and Closes while it is read.
pub(crate) struct RawListener {
    pub(crate) control: Raw,
    env: Env,
}

impl RawListener {
    /// Gets online with a token that lives for `life` from now, by the relay's clock.
    pub(crate) async fn open(world: &World, life: Duration) -> Self {
        let expires_at = world.sim.env(RELAY).wall_clock() + life;
        Self::with_token(world, &token(expires_at)).await.expect("the token is good")
    }

    pub(crate) async fn with_token(world: &World, token: &str) -> Result<Self, u16> {
        let env = world.sim.env(LISTENER);
        let control = open(&env, &format!("ws://{RELAY}/$hc/{ENTITY}?sb-hc-action=listen"), Some(token)).await?;
        Ok(Self { control, env })
    }

    pub(crate) async fn renew(&mut self, token: &str) {
        let message = serde_json::json!({"renewToken": {"token": token}}).to_string();
        self.control.send(Message::text(message)).await.expect("the control channel is open");
    }

    /// Waits for a sender and returns the rendezvous address.
    pub(crate) async fn accept_address(&mut self) -> String {
        loop {
            match self.control.next().await {
                Some(Ok(Message::Text(text))) => {
                    let command: Value = serde_json::from_str(&text).expect("a control message is JSON");
                    return command["accept"]["address"].as_str().expect("an accept has an address").to_owned();
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("an accept was expected, not {other:?}"),
            }
        }
    }

    /// Dials a rendezvous address.
    pub(crate) async fn dial(&self, address: &str) -> Result<Raw, u16> {
        open(&self.env, address, None).await
    }

    /// Reads until the relay closes the channel, and returns the code and the reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        close_of(&mut self.control).await
    }
}

/// Reads until the peer closes, and returns the code and the reason.
pub(crate) async fn close_of(raw: &mut Raw) -> (u16, String) {
    loop {
        match raw.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Binary(_))) => {}
            other => panic!("a Close was expected, not {other:?}"),
        }
    }
}

/// Reads on, so that Pings are answered, until the transport ends.
pub(crate) async fn keep_reading(raw: &mut Raw) {
    while let Some(Ok(_)) = raw.next().await {}
}

/// A relay that takes what comes and answers as it is told.
pub(crate) struct ScriptedRelay(Box<dyn Acceptor>);

impl ScriptedRelay {
    pub(crate) async fn start(env: &Env) -> Self {
        Self(env.bind(([0, 0, 0, 0], 80).into()).await.expect("port 80 is free"))
    }

    /// Takes the next WebSocket.
    pub(crate) async fn take(&mut self) -> Raw {
        let socket = self.0.accept().await.expect("the simulated network works");
        tokio_tungstenite::accept_async(socket).await.expect("the peer speaks WebSocket")
    }

    /// Takes the next connection and ends it without a word.
    pub(crate) async fn hang_up(&mut self) {
        drop(self.0.accept().await.expect("the simulated network works"));
    }

    /// Answers the next request with these lines of a head, and closes.
    pub(crate) async fn refuse(&mut self, head: &str) {
        let mut socket = self.0.accept().await.expect("the simulated network works");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.expect("the peer sends a request"));
        }
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.expect("the peer reads the answer");
        socket.shutdown().await.expect("the peer reads the end");
        // Its end, so that ours is no reset.
        let _ = socket.read_to_end(&mut request).await;
    }
}
