//! One end of a relayed connection: the SDK's, or a program's of another stack.

use hybridrelay::{Connection, Message};
use hybridrelay_tests::payload::{self, Digested, Kind};
use hybridrelay_tests::program::{Events, Program, patiently};
use serde_json::{Value, json};

/// An end of a connection, whatever stack it belongs to.
pub(crate) enum End<'a> {
    Sdk(Connection),
    Other { program: &'a Program, id: String, events: Events },
}

impl<'a> End<'a> {
    /// A connection that a program has or is about to open under this id.
    pub(crate) fn of(program: &'a Program, id: &str) -> Self {
        Self::Other { program, id: id.to_owned(), events: program.events(id) }
    }

    /// Opens a connection from a program. Returns the end and the sub-protocol.
    pub(crate) async fn open(program: &'a Program, mut connect: Value) -> (Self, Option<String>) {
        let mut end = Self::dial(program, &mut connect).await;
        let opened = end.event("open").await;
        (end, opened["protocol"].as_str().map(str::to_owned))
    }

    /// Tries to open a connection from a program, which must fail. Returns what the program is told.
    pub(crate) async fn refused(program: &'a Program, mut connect: Value) -> Value {
        Self::dial(program, &mut connect).await.event("refused").await
    }

    /// The next connection that has come in at a program that listens. Returns the end and the sub-protocol.
    pub(crate) async fn accepted(program: &'a Program) -> (Self, Option<String>) {
        let accepted = loop {
            let event = program.next().await;
            // After a loss of the relay hyco-ws may come online several times over.
            if event["event"] != "listening" {
                break event;
            }
        };
        assert_eq!(accepted["event"], "accepted", "{accepted}");
        let id = accepted["accepted"].as_str().expect("an id");
        (Self::of(program, id), accepted["protocol"].as_str().map(str::to_owned))
    }

    async fn dial(program: &'a Program, connect: &mut Value) -> Self {
        connect["do"] = json!("connect");
        let id = connect["id"].as_str().unwrap_or("1").to_owned();
        connect["id"] = json!(id);
        let end = Self::of(program, &id);
        program.tell(connect.clone()).await;
        end
    }

    /// Sends the generated message of a kind and size.
    pub(crate) async fn send(&self, kind: Kind, size: usize) {
        match self {
            Self::Sdk(connection) => self.send_message(connection, payload::message(kind, size)).await,
            Self::Other { .. } => self.command(json!({"do": "send", "kind": kind, "size": size})).await,
        }
    }

    /// Sends a text.
    pub(crate) async fn send_text(&self, text: &str) {
        match self {
            Self::Sdk(connection) => self.send_message(connection, text.into()).await,
            Self::Other { .. } => self.command(json!({"do": "send", "kind": "text", "text": text})).await,
        }
    }

    /// What the next message is.
    pub(crate) async fn receive(&mut self) -> Digested {
        match self {
            Self::Sdk(connection) => {
                let received = patiently("a message", connection.receive()).await.expect("a message");
                payload::digested(&received.expect("a message and not the end"))
            }
            Self::Other { .. } => {
                serde_json::from_value(self.event("message").await).expect("an event about a message")
            }
        }
    }

    /// Begins to close. The SDK's end waits for the other one, which therefore must be asked at the same time.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        match self {
            Self::Sdk(connection) => {
                patiently("the peer's close", connection.close_with(code, reason)).await.expect("closed");
            }
            Self::Other { .. } => self.command(json!({"do": "close", "code": code, "reason": reason})).await,
        }
    }

    /// Waits for the other end's close, answers it, and returns its code and reason.
    pub(crate) async fn closed_by_peer(&mut self) -> (u16, String) {
        match self {
            Self::Sdk(connection) => {
                let received = patiently("the peer's close", connection.receive()).await.expect("a close");
                assert_eq!(received, None);
                let close = connection.peer_close().flatten().expect("a close with a code");
                connection.close().await.expect("closed");
                (close.code, close.reason)
            }
            Self::Other { .. } => {
                let closed = self.event("closed").await;
                let code = closed["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                (code.expect("a code"), closed["reason"].as_str().unwrap_or_default().to_owned())
            }
        }
    }

    /// Waits until an end that began to close is done with it.
    pub(crate) async fn until_closed(&mut self) {
        if let Self::Other { .. } = self {
            let closed = self.event("closed").await;
            assert_ne!(closed["code"], 1006, "a close in good order: {closed}");
        }
    }

    /// The next event of a program's end.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        match self {
            Self::Sdk(_) => panic!("the SDK's end has no events"),
            Self::Other { events, .. } => events.expect(name).await,
        }
    }

    /// Tells a program's end to do something.
    pub(crate) async fn command(&self, mut command: Value) {
        match self {
            Self::Sdk(_) => panic!("the SDK's end takes no commands"),
            Self::Other { program, id, .. } => {
                command["id"] = json!(id);
                program.tell(command).await;
            }
        }
    }

    async fn send_message(&self, connection: &Connection, message: Message) {
        patiently("room for a message", connection.send(message)).await.expect("sent");
    }
}
