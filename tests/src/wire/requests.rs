//! HTTP requests as a listener without the SDK gets and answers them.

use serde_json::{Map, Value, json};

use super::peers::RawListener;
use super::raw::{Answer, Ask, Door, RawWebSocket, Seen, binary, op, path_and_query, text};

/// A `request` message.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its fields.
    pub fields: Map<String, Value>,
    /// The binary message that came with it.
    pub body: Option<Vec<u8>>,
    door: Door,
}

impl RawListener {
    /// The next request, with its body if one was announced; whatever else is said fails the test.
    pub async fn request(&mut self) -> Asked {
        let (message, body) = take(&mut self.ws).await;
        Asked { fields: fields(&message), body, door: self.door().clone() }
    }

    /// Answers on the control channel.
    pub async fn respond(&mut self, response: Value, body: Option<&[u8]>) {
        respond(&mut self.ws, response, body).await;
    }
}

/// Sends a response and its body, if it has one.
pub async fn respond(ws: &mut RawWebSocket, response: Value, body: Option<&[u8]>) {
    let message = text(&json!({ "response": response }).to_string());
    ws.send(&[message, body.map(binary).unwrap_or_default()].concat()).await;
}

impl Asked {
    /// Whether this only tells where to fetch the request: then there is nothing but the address.
    pub fn is_marker(&self) -> bool {
        let marker = !self.fields.contains_key("method");
        assert_eq!(marker, self.fields.keys().eq(["address"]), "half a marker: {:?}", self.fields.keys());
        assert_eq!(marker, !self.fields.contains_key("body"), "half a marker");
        marker
    }

    /// A field that is a string.
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_else(|| panic!("{name} is no string"))
    }

    /// The id that the response repeats.
    pub fn id(&self) -> &str {
        self.field("id")
    }

    /// A header of the sender.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.fields["requestHeaders"].get(name)
    }

    /// The names of the headers.
    pub fn header_names(&self) -> Vec<&str> {
        self.fields["requestHeaders"].as_object().expect("an object").keys().map(String::as_str).collect()
    }

    /// A response to this with a status, and whether a body follows.
    pub fn response(&self, status: u16, body: bool) -> Value {
        json!({"requestId": self.id(), "statusCode": status, "responseHeaders": {}, "body": body})
    }

    /// A handshake with the address.
    pub fn ask(&self) -> Ask {
        Ask::websocket(path_and_query(self.field("address")))
    }

    /// Dials the address and returns whatever is answered.
    pub async fn dial(&self) -> Answer {
        self.ask().send(&self.door).await
    }

    /// Dials the address; nothing is to be fetched.
    pub async fn upgrade(&self) -> RawWebSocket {
        self.dial().await.websocket()
    }

    /// Fetches what waits at the address, without its body.
    pub async fn fetch_head(&self) -> (RawWebSocket, Asked) {
        let mut ws = self.upgrade().await;
        let message = ws.text().await;
        let asked = Asked { fields: fields(&message), body: None, door: self.door.clone() };
        assert!(!asked.is_marker(), "a marker at the rendezvous");
        (ws, asked)
    }

    /// Fetches what waits at the address, with its body.
    pub async fn fetch(&self) -> (RawWebSocket, Asked) {
        let (mut ws, mut asked) = self.fetch_head().await;
        if asked.fields["body"] == true {
            let (opcode, body) = ws.message().await;
            assert_eq!(opcode, op::BINARY);
            asked.body = Some(body);
        }
        (ws, asked)
    }
}

/// Reads a Close of this code, answers it, and reads to the end of the transport.
pub async fn closed(ws: &mut RawWebSocket, code: u16) {
    assert_eq!(ws.close().await.0, Some(code));
    ws.send_close(Some(code), "").await;
    assert_eq!(ws.end().await, Seen::Eof);
}

/// A text message, and the one binary frame that an announced body is.
async fn take(ws: &mut RawWebSocket) -> (String, Option<Vec<u8>>) {
    let message = ws.text().await;
    let announced = fields(&message).get("body") == Some(&Value::Bool(true));
    if !announced {
        return (message, None);
    }
    // Exactly one binary message in one frame, and nothing in between (protocol.md 5.3).
    let frame = ws.frame().await;
    assert!(frame.fin && frame.opcode == op::BINARY, "{frame:?}");
    (message, Some(frame.payload))
}

fn fields(message: &str) -> Map<String, Value> {
    let message: Value = serde_json::from_str(message).expect("a control message is JSON");
    let message = message.as_object().expect("an object");
    assert_eq!(message.keys().collect::<Vec<_>>(), ["request"], "one key, and nothing but request");
    message["request"].as_object().expect("an object").clone()
}
