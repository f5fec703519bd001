//! Listeners and senders that the fault tests leave to their fate. Told what to do in lines of JSON, see
//! `hybridrelay_tests::program`; what takes time is done in the background, and the events that
//! answer a command carry its id.

// Real sockets and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hybridrelay::token::{SasToken, Token};
use hybridrelay::{Connection, Error, ErrorKind, Listener, Sender, Status, TokenProvider};
use hybridrelay_tests::faults::site::{KEY, RULE, Target};
use hybridrelay_tests::faults::{now, tell};
use hybridrelay_tests::payload::{self, Kind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

#[path = "fault-peer/echo.rs"]
mod echo;
#[path = "fault-peer/flood.rs"]
mod flood;

use echo::Echo;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Command {
    /// Gets online as a listener that sends everything back.
    Listen { listener: String, target: Target },
    /// Gets online as a listener that reads nothing until it is told to.
    ListenDeaf { listener: String, target: Target },
    /// Lets deaf listeners read.
    Hear,
    /// Waits until a listener is online, and tells since when.
    AwaitOnline { id: String, listener: String },
    /// Waits until a listener is offline with an error that says this, and tells since when.
    AwaitOffline { id: String, listener: String, saying: String },
    /// Sends a payload there and back over a new connection, again and again until it works.
    Echo { id: String, target: Target, size: usize },
    /// Tries to connect, once.
    Connect { id: String, target: Target },
    /// Opens a connection and keeps it, once one exchange has gone well.
    Keep { id: String, connection: String, target: Target },
    /// Sends a payload there and back over a connection that was kept.
    Exchange { id: String, connection: String },
    /// Lets go of it.
    Release { connection: String },
    /// Opens connections of which so many are always busy, and tells how they end.
    Hold { id: String, target: Target, count: usize, busy: usize },
    /// Sends bytes over many connections at once.
    Flood { id: String, target: Target, count: usize, size: usize },
    /// How the listeners' ends of connections have ended.
    Ends { id: String },
    /// Whether new tokens can be had.
    Tokens { available: bool },
    /// Tells how the process is.
    Vitals { id: String },
}

/// What the program keeps between commands.
#[derive(Default)]
struct Peer {
    listeners: HashMap<String, watch::Receiver<Seen>>,
    kept: HashMap<String, watch::Receiver<Option<Connection>>>,
    echo: Arc<Echo>,
    heard: watch::Sender<bool>,
    token_outage: Arc<AtomicBool>,
}

/// A listener's status, and since when.
#[derive(Clone)]
struct Seen {
    since: u64,
    status: Status,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut peer = Peer::default();
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            peer.obey(serde_json::from_str(&line)?)?;
        }
        Ok(())
    })
}

impl Peer {
    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Listen { listener, target } => {
                let echo = self.echo.clone();
                self.listen(listener, target, |listener| echo.serve(listener));
            }
            Command::ListenDeaf { listener, target } => {
                let (heard, id) = (self.heard.subscribe(), listener.clone());
                self.listen(listener, target, |listener| flood::hear(listener, id, heard));
            }
            Command::Hear => {
                self.heard.send_replace(true);
            }
            Command::AwaitOnline { id, listener } => {
                self.await_status(id, &listener, "online", |status| status.is_online())?;
            }
            Command::AwaitOffline { id, listener, saying } => {
                let says = move |error: &Error| format!("{error} {error:?}").contains(&saying);
                let offline = move |status: &Status| matches!(status, Status::Offline { error, .. } if says(error));
                self.await_status(id, &listener, "offline", offline)?;
            }
            Command::Echo { id, target, size } => {
                tokio::spawn(echo_until_it_works(id, target, size));
            }
            Command::Connect { id, target } => {
                tokio::spawn(connect_once(id, target));
            }
            Command::Keep { id, connection, target } => {
                let (keep, kept) = watch::channel(None);
                self.kept.insert(connection, kept);
                tokio::spawn(async move {
                    let event = match opened(&target).await {
                        Ok(connection) => {
                            keep.send_replace(Some(connection));
                            json!({"event": "kept", "id": id})
                        }
                        Err(error) => failed(&id, "refused", &error),
                    };
                    tell(&event);
                    keep.closed().await;
                });
            }
            Command::Exchange { id, connection } => {
                let connection = self.kept.get(&connection).context("nothing is kept")?.borrow().clone();
                let connection = connection.context("nothing was opened")?;
                tokio::spawn(async move {
                    tell(&match exchange(&connection, 10_000).await {
                        Ok(()) => json!({"event": "exchanged", "id": id, "at": now()}),
                        Err(error) => failed(&id, "lost", &error),
                    });
                });
            }
            Command::Release { connection } => {
                self.kept.remove(&connection);
            }
            Command::Hold { id, target, count, busy } => {
                tokio::spawn(echo::hold(id, target, count, busy));
            }
            Command::Flood { id, target, count, size } => {
                tokio::spawn(flood::flood(id, target, count, size));
            }
            Command::Ends { id } => tell(&self.echo.ends(&id)),
            Command::Tokens { available } => self.token_outage.store(!available, Ordering::Relaxed),
            Command::Vitals { id } => {
                let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
                tell(&json!({"event": "vitals", "id": id, "tasks": tasks}));
            }
        }
        Ok(())
    }

    /// Opens a listener, follows its status and lets `serve` take what comes.
    fn listen<F>(&mut self, name: String, target: Target, serve: impl FnOnce(Listener) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let (tell_status, seen) = watch::channel(Seen { since: now(), status: Status::Connecting });
        self.listeners.insert(name, seen);
        let tokens = tokens(target.token_life, self.token_outage.clone());
        tokio::spawn(async move {
            let listener = target.listener().wait(true).credential(tokens).open().await.expect("the options are right");
            let mut status = listener.status();
            tell_status.send_replace(Seen { since: now(), status: status.current() });
            tokio::spawn(async move {
                while let Some(status) = status.changed().await {
                    tell_status.send_replace(Seen { since: now(), status });
                }
            });
            serve(listener).await;
        });
    }

    fn await_status(
        &self,
        id: String,
        listener: &str,
        event: &'static str,
        wanted: impl Fn(&Status) -> bool + Send + Sync + 'static,
    ) -> Result<()> {
        let mut seen = self.listeners.get(listener).context("there is no such listener")?.clone();
        tokio::spawn(async move {
            if let Ok(seen) = seen.wait_for(|seen| wanted(&seen.status)).await {
                tell(&json!({"event": event, "id": id, "since": seen.since}));
            }
        });
        Ok(())
    }
}

/// Tokens of the tests' one rule, while there is no outage.
fn tokens(life: Duration, outage: Arc<AtomicBool>) -> TokenProvider {
    TokenProvider::from_fn(move |audience| {
        let outage = outage.clone();
        async move {
            if outage.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Network, "no token is to be had"));
            }
            let expires_at = std::time::SystemTime::now() + life;
            Ok(Token::new(SasToken::create(&audience, RULE, KEY, expires_at).to_text(), None))
        }
    })
}

/// A new connection over which an exchange has gone well.
async fn opened(target: &Target) -> Result<Connection, Error> {
    let sender: Sender = target.sender().build()?;
    let connection = sender.connect().await?;
    exchange(&connection, 1000).await?;
    Ok(connection)
}

/// Sends a payload there and back.
async fn exchange(connection: &Connection, size: usize) -> Result<(), Error> {
    let sent = payload::message(Kind::Binary, size);
    let expected = payload::digested(&sent);
    let (sending, received) = tokio::join!(connection.send(sent), connection.receive());
    sending?;
    let received = received?.ok_or_else(|| Error::new(ErrorKind::ConnectionLost, "the echo has closed"))?;
    assert_eq!(payload::digested(&received), expected, "something else came back");
    Ok(())
}

async fn echo_until_it_works(id: String, target: Target, size: usize) {
    let mut errors = Vec::new();
    loop {
        let begun = now();
        let echoed = async {
            let connection = target.sender().build()?.connect().await?;
            exchange(&connection, size).await?;
            connection.close().await
        };
        match echoed.await {
            Ok(()) => break,
            Err(error) => errors.push(format!("after {} ms: {error}", now() - begun)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tell(&json!({"event": "echoed", "id": id, "at": now(), "errors": errors}));
}

async fn connect_once(id: String, target: Target) {
    let begun = now();
    let mut event = match opened(&target).await {
        Ok(_) => json!({"event": "connected", "id": id}),
        Err(error) => failed(&id, "refused", &error),
    };
    event["took"] = json!(now() - begun);
    tell(&event);
}

fn failed(id: &str, event: &str, error: &Error) -> Value {
    let (kind, status) = (format!("{:?}", error.kind()), error.status());
    json!({"event": event, "id": id, "at": now(), "kind": kind, "status": status, "error": error.to_string()})
}
