//! A listener and a sender without the SDK.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hybridrelay::token::SasToken;
use hybridrelay::{Connection, Listener};
use hybridrelay_relay::LocalRelay;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;

use super::Soon;
use super::raw::{Answer, Ask, Door, RawWebSocket, binary, path_and_query};
use super::setup::{HYCO, incoming, sender};

/// A token for this audience that is good for an hour.
pub fn token(audience: &str, rule: &str, key: &str) -> String {
    SasToken::create(audience, rule, key, SystemTime::now() + Duration::from_secs(3600)).to_text()
}

/// A token of the local relay's rule for its namespace.
pub fn token_of(relay: &LocalRelay) -> String {
    token("http://localhost/", relay.key_name(), relay.key())
}

/// A control channel.
#[derive(Debug)]
pub struct RawListener {
    /// The channel itself.
    pub ws: RawWebSocket,
    door: Door,
}

impl RawListener {
    /// Gets online under `HYCO`.
    pub async fn open(relay: &LocalRelay) -> Self {
        Self::open_on(relay, HYCO).await
    }

    /// Gets online under an entity.
    pub async fn open_on(relay: &LocalRelay, entity: &str) -> Self {
        let door = Door::from(relay);
        let ask = Ask::websocket(format!("/$hc/{entity}?sb-hc-action=listen")).token(&token_of(relay));
        Self::new(&door, ask.send(&door).await)
    }

    /// Gets online under `HYCO` with features of this project's own (protocol.md 3.10).
    pub async fn open_with(relay: &LocalRelay, features: &str) -> Self {
        let door = Door::from(relay);
        let ask = Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen")).token(&token_of(relay));
        let answer = ask.header("Relay-Features", features).send(&door).await;
        Self::new(&door, answer)
    }

    /// The same listener, by another way to the relay.
    pub fn by(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// Takes the answer to a handshake over.
    pub fn new(door: &Door, answer: Answer) -> Self {
        Self { ws: answer.websocket(), door: door.clone() }
    }

    /// The way to the relay that it is online at.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The next sender; whatever else is said fails the test.
    pub async fn invitation(&mut self) -> Invitation {
        let message: Value = serde_json::from_str(&self.ws.text().await).expect("a control message is JSON");
        let message = message.as_object().expect("an object");
        assert_eq!(message.keys().collect::<Vec<_>>(), ["accept"], "one key, and nothing but accept");
        let accept = message["accept"].as_object().expect("an object").clone();
        Invitation { accept, door: self.door.clone() }
    }

    /// Takes the next sender in.
    pub async fn accept(&mut self) -> RawWebSocket {
        self.invitation().await.dial().await.websocket()
    }
}

/// An `accept` message.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its fields.
    pub accept: Map<String, Value>,
    door: Door,
}

impl Invitation {
    /// A field that is a string.
    pub fn field(&self, name: &str) -> &str {
        self.accept[name].as_str().unwrap_or_else(|| panic!("{name} is no string"))
    }

    /// A header of the sender.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.accept["connectHeaders"].get(name).map(|value| value.as_str().expect("header values are strings"))
    }

    /// The sender's address.
    pub fn remote(&self) -> SocketAddr {
        let remote = &self.accept["remoteEndpoint"];
        let address = remote["address"].as_str().expect("an address").parse().expect("an IP literal");
        let port = remote["port"].as_u64().expect("a number");
        SocketAddr::new(address, u16::try_from(port).expect("a port"))
    }

    /// A handshake with the address, and `more` behind it.
    pub fn ask(&self, more: &str) -> Ask {
        Ask::websocket(path_and_query(self.field("address")) + more)
    }

    /// Dials the address as it is.
    pub async fn dial(&self) -> Answer {
        self.dial_with("").await
    }

    /// Dials the address with `more` behind it.
    pub async fn dial_with(&self, more: &str) -> Answer {
        self.ask(more).send(&self.door).await
    }
}

/// A sender's handshake with the local relay, authorised; `rest` is what follows the entity.
pub fn connect(relay: &LocalRelay, rest: &str) -> Ask {
    Ask::websocket(format!("/$hc/{HYCO}{rest}")).token(&token_of(relay))
}

/// A raw sender and the SDK's end of its connection.
pub async fn raw_sender(relay: &LocalRelay, listener: &Listener) -> (RawWebSocket, Connection) {
    let door = Door::from(relay);
    let accepting = async { incoming(listener).await.accept().soon().await.expect("the rendezvous is open") };
    let (sender, accepted) = tokio::join!(connect(relay, "").send(&door), accepting);
    (sender.websocket(), accepted)
}

/// The SDK's sender and a raw listener's end of its connection.
pub async fn raw_accepted(relay: &LocalRelay) -> (Connection, RawWebSocket, RawListener) {
    let mut control = RawListener::open(relay).await;
    let sender = sender(relay, HYCO).build().expect("the options are right");
    let (sender, accepted) = tokio::join!(sender.connect().soon(), control.accept());
    (sender.expect("the sender is let in"), accepted, control)
}

/// Two raw peers of one connection, and the listener that took it.
#[derive(Debug)]
pub struct RawEnds {
    /// The sender's end.
    pub sender: RawWebSocket,
    /// The listener's end.
    pub accepted: RawWebSocket,
    /// The control channel.
    pub control: RawListener,
}

/// Joins two raw peers.
pub async fn raw_ends(relay: &LocalRelay) -> RawEnds {
    let door = Door::from(relay);
    let mut control = RawListener::open(relay).await;
    let (sender, accepted) = tokio::join!(connect(relay, "").send(&door), control.accept());
    RawEnds { sender: sender.websocket(), accepted, control }
}

/// Pushes into both ends of all pairs, of which nobody reads, until the relay takes nothing more.
pub async fn stall(pairs: impl IntoIterator<Item = (RawWebSocket, RawWebSocket)>) -> Vec<(RawWebSocket, RawWebSocket)> {
    let push = |mut ws: RawWebSocket| async {
        let message = binary(&vec![7; 32 * 1024]);
        let mut pushed = 0;
        // Loopback moves a message in a fraction of this.
        while let Ok(sent) = tokio::time::timeout(Duration::from_millis(1500), ws.socket().write_all(&message)).await {
            sent.expect("the relay is there");
            pushed += message.len();
            assert!(pushed < 256 << 20, "nothing slows the sender down");
        }
        ws
    };
    futures_util::future::join_all(pairs.into_iter().map(|(one, other)| async { tokio::join!(push(one), push(other)) }))
        .await
}
