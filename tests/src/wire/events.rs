//! Server-sent events as they stood on the wire.

use serde_json::Value;

use super::raw::{Ask, Door, Framing, RawHttp, RawResponse};

/// An answer of events that is being read.
#[derive(Debug)]
pub struct EventStream {
    /// The head of the answer.
    pub head: RawResponse,
    http: RawHttp,
    text: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: Value,
}

impl EventStream {
    /// Asks for events; panics if none are given.
    pub async fn open(door: &Door, ask: Ask) -> Self {
        let mut http = RawHttp::open(door).await;
        http.ask(door, &ask.header("Accept", "text/event-stream")).await;
        let head = http.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        assert_eq!(head.framing(), Framing::Chunked);
        Self { head, http, text: String::new() }
    }

    /// The next event; comments are passed over. `None` at an orderly end.
    pub async fn next(&mut self) -> Option<SeenEvent> {
        loop {
            let block = self.block().await?;
            if !block.starts_with(':') {
                return Some(SeenEvent::parse(&block));
            }
        }
    }

    /// The next event, of this name; panics at the end.
    pub async fn expect(&mut self, name: &str) -> SeenEvent {
        let event = self.next().await.unwrap_or_else(|| panic!("an end instead of {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next event or comment as it stands there, without the empty line behind it.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = self.http.chunk().await;
            if chunk.is_empty() {
                assert_eq!(self.text, "", "half an event");
                return None;
            }
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
    }
}

impl SeenEvent {
    fn parse(block: &str) -> Self {
        let mut lines = block.lines();
        let mut field = |name: &str| {
            let line = lines.next().unwrap_or_else(|| panic!("no {name} in {block:?}"));
            line.strip_prefix(&format!("{name}: ")).unwrap_or_else(|| panic!("no {name} in {block:?}")).to_owned()
        };
        let (id, name, data) = (field("id"), field("event"), field("data"));
        assert_eq!(lines.next(), None, "{block:?}");
        Self { id, name, data: serde_json::from_str(&data).expect("JSON") }
    }
}
