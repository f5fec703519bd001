//! Following what the relay tells, over the loss of connections: events, each once and in order (protocol.md 7.4 and 7.5).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::env::Env;
use crate::http::{Body, HttpClient, Question};
use crate::listener::Backoff;
use crate::{Error, ErrorKind, Result};

mod parser;

pub(crate) use parser::{Event, Parser};

/// The longest answer that comes whole.
const LONGEST_ANSWER: usize = 16 << 20;

/// The relay is heard every 15 s; after this long it is gone.
const SILENCE: Duration = Duration::from_secs(45);

/// A stream that lived this long starts the delays between attempts over.
const PROVEN: Duration = Duration::from_secs(30);

/// What a follower hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Event),
    /// The stream was lost, and is asked for again after `retry_in`.
    Lost {
        error: Error,
        retry_in: Duration,
    },
    /// The stream is there again. What was missed follows.
    Back,
}

/// Follows one of the relay's own addresses.
pub(crate) struct Follower {
    client: Arc<HttpClient>,
    path: String,
    feature: &'static str,
    last_id: Option<String>,
    state: State,
    backoff: Backoff,
    /// Whether there has been a stream.
    was_open: bool,
}

enum State {
    /// A stream is asked for then.
    Closed {
        at: Instant,
    },
    Open(Box<Stream>),
}

/// A stream that is being read.
struct Stream {
    since: Instant,
    body: Body,
    parser: Parser,
    rest: Bytes,
}

impl Follower {
    pub(crate) fn new(client: Arc<HttpClient>, path: String, feature: &'static str) -> Self {
        let state = State::Closed { at: client.reach().dialer.env().now() };
        Self { client, path, feature, last_id: None, state, backoff: Backoff::default(), was_open: false }
    }

    fn env(&self) -> &Env {
        self.client.reach().dialer.env()
    }

    /// What is heard next. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Why the first stream cannot be had. The loss of a later one is heard.
    pub(crate) async fn next(&mut self) -> Result<Heard> {
        loop {
            match &mut self.state {
                State::Open(stream) => match stream.next(self.client.reach().dialer.env()).await {
                    Ok(event) => {
                        if event.id.is_some() {
                            self.last_id.clone_from(&event.id);
                        }
                        return Ok(Heard::Event(event));
                    }
                    Err(error) => {
                        let (since, now) = (stream.since, self.env().now());
                        if now.saturating_duration_since(since) >= PROVEN {
                            self.backoff.reset();
                        }
                        return Ok(self.lost(error, now));
                    }
                },
                State::Closed { at } => {
                    let at = *at;
                    self.env().sleep_until(at).await;
                    let begun = self.env().now();
                    match self.open().await {
                        Ok(stream) => {
                            self.state = State::Open(Box::new(stream));
                            if std::mem::replace(&mut self.was_open, true) {
                                return Ok(Heard::Back);
                            }
                        }
                        Err(error) if self.was_open => return Ok(self.lost(error, begun)),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn lost(&mut self, error: Error, begun: Instant) -> Heard {
        let env = self.env().clone();
        let retry_in = self.backoff.next(&env, &error, begun);
        self.state = State::Closed { at: env.now() + retry_in };
        tracing::debug!(path = self.path, %error, ?retry_in, "a stream of events was lost");
        Heard::Lost { error, retry_in }
    }

    async fn open(&self) -> Result<Stream> {
        let (path, last_id) = (self.path.as_str(), self.last_id.as_deref());
        let question = Question { path, feature: self.feature, accept: "text/event-stream", last_id };
        let body = self.client.ask_relay(&question).await?.into_body();
        Ok(Stream { since: self.env().now(), body, parser: Parser::default(), rest: Bytes::new() })
    }
}

impl Stream {
    /// Cancel-safe.
    async fn next(&mut self, env: &Env) -> Result<Event> {
        loop {
            let mut unread = &self.rest[..];
            let event = self.parser.next(&mut unread)?;
            let read = self.rest.len() - unread.len();
            let _ = self.rest.split_to(read);
            if let Some(event) = event {
                return Ok(event);
            }
            let lost = |what: &str| Error::new(ErrorKind::ConnectionLost, what);
            self.rest = match env.timeout(SILENCE, self.body.chunk()).await {
                Some(Ok(Some(chunk))) => chunk,
                Some(Ok(None)) => return Err(lost("the relay ended the stream of events")),
                Some(Err(error)) => return Err(error),
                None => return Err(lost("the relay gave no sign of life")),
            };
        }
    }
}

/// Asks once, for an answer in JSON.
pub(crate) async fn ask<T: DeserializeOwned>(client: &HttpClient, path: &str, feature: &'static str) -> Result<T> {
    let question = Question { path, feature, accept: "application/json", last_id: None };
    let response = client.ask_relay(&question).await?;
    let reach = client.reach();
    let reading = response.into_body().bytes(LONGEST_ANSWER);
    let body = reach.dialer.env().timeout(reach.connect_timeout, reading).await;
    let body = body.unwrap_or_else(|| Err(Error::new(ErrorKind::Timeout, "the relay's answer did not end in time")))?;
    read(&body)
}

/// Reads what the relay said.
pub(crate) fn read<T: DeserializeOwned>(json: impl AsRef<[u8]>) -> Result<T> {
    serde_json::from_slice(json.as_ref()).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the relay's answer cannot be read").with_reason(error.to_string())
    })
}

/// A time in RFC 3339, as a field of JSON; `None` for what is none.
pub(crate) fn time(text: Option<&str>) -> Option<SystemTime> {
    OffsetDateTime::parse(text?, &Rfc3339).ok().map(SystemTime::from)
}
