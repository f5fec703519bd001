//! Many events from several publishers to many subscribers in processes of their own, of which one is stopped for a while.
//!
//! Publishers pace themselves by the slowest of those that run, so that nobody who reads is too slow for the relay.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use hybridrelay::{Event, Listener, Publisher, SenderBuilder, Target};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};

use crate::program::Program;
use crate::wire::process::RelayProcess;

/// So many events of one publisher may be ahead of a subscriber that runs: far less than the relay keeps for it.
const AHEAD: u64 = 200;

/// How often a subscriber tells how far it is, in events of one publisher.
const TOLD_EVERY: u64 = AHEAD / 4;

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How many publish.
    pub publishers: usize,
    /// What each of them publishes.
    pub events: u64,
    /// The length of an event in bytes, at least 8.
    pub size: usize,
    /// Processes of subscribers, the one that is stopped included.
    pub processes: usize,
    /// Subscribers in each of them.
    pub subscribers: usize,
}

/// The programs, which only tests and binaries know the way to.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `relay_process`.
    pub relay: PathBuf,
    /// `event-peer`.
    pub peer: PathBuf,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Events that were handed to subscribers.
    pub delivered: u64,
    /// Events that the stopped ones missed.
    pub missed: u64,
    /// Resident memory of the relay in KiB: with everybody connected, and the most behind that.
    pub resident: (u64, u64),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, most) = self.resident;
        writeln!(f, "events delivered, in order and once        {}", self.delivered)?;
        writeln!(f, "missed by those that were stopped, and told {}", self.missed)?;
        write!(f, "memory of the relay, idle and at most      {before} KiB, {most} KiB")
    }
}

/// Plays it. Whatever goes wrong is a panic: a subscriber that ran and missed an event, one that got an event twice or out of order, or
/// one whose events and misses do not add up.
pub async fn play(programs: &Programs, scale: Scale) -> Outcome {
    let mut relay = RelayProcess::start_for_events(&programs.relay, false).await;
    let mut peers = Vec::new();
    for _ in 0..scale.processes {
        let peer = peer(&programs.peer, &relay, scale);
        peer.expect("online").await;
        peers.push(peer);
    }
    let sender = relay.sender();
    let mut publishers = Vec::new();
    for number in 0..scale.publishers {
        publishers.push(publisher(&sender, number).await);
    }
    for peer in &peers {
        peer.expect("heard").await;
    }
    let idle = relay.vitals().await.resident;
    let stopped = peers.pop().expect("one is to be stopped");
    stopped.signal(Signal::SIGSTOP);

    let everybody = Progress::new(peers.len(), scale.publishers);
    let publishing: Vec<_> = publishers
        .into_iter()
        .enumerate()
        .map(|(number, publisher)| tokio::spawn(publish(publisher, scale, everybody[number].subscribe())))
        .collect();
    let mut most = idle;
    let mut delivered = 0;
    let (news, mut told) = mpsc::unbounded_channel();
    for (index, peer) in peers.into_iter().enumerate() {
        let news = news.clone();
        tokio::spawn(async move {
            loop {
                let event = peer.next().await;
                let finished = event["event"] == "finished";
                let _ = news.send((index, event));
                if finished {
                    return peer.finish().await;
                }
            }
        });
    }
    drop(news);
    while let Some((index, event)) = told.recv().await {
        match event["event"].as_str() {
            Some("got") => {
                let number = |name: &str| event[name].as_u64().expect("a number");
                let publisher = usize::try_from(number("publisher")).expect("a small one");
                everybody[publisher].send_modify(|progress| progress.of[index] = number("count"));
                most = most.max(relay.vitals().await.resident);
            }
            Some("finished") => {
                assert_eq!(event["missed"], 0, "who reads misses nothing");
                delivered += event["got"].as_u64().expect("a number");
            }
            _ => panic!("a subscriber said {event}"),
        }
    }
    stopped.signal(Signal::SIGCONT);
    for publishing in publishing {
        publishing.await.expect("the publisher goes on");
    }
    let finished = loop {
        let event = stopped.next().await;
        if event["event"] == "finished" {
            break event;
        }
    };
    stopped.finish().await;
    let missed = finished["missed"].as_u64().expect("a number");
    delivered += finished["got"].as_u64().expect("a number");
    Outcome { delivered, missed, resident: (idle, most) }
}

/// How far each of the processes that run is with one publisher.
#[derive(Clone, Debug)]
struct Progress {
    of: Vec<u64>,
}

impl Progress {
    fn new(processes: usize, publishers: usize) -> Vec<watch::Sender<Self>> {
        (0..publishers).map(|_| watch::Sender::new(Self { of: vec![0; processes] })).collect()
    }

    fn least(&self) -> u64 {
        self.of.iter().copied().min().unwrap_or(u64::MAX)
    }
}

async fn publisher(sender: &SenderBuilder, number: usize) -> Publisher {
    let sender = sender.clone().build().expect("the options are right");
    let publisher = sender.publisher().path(format!("/{number}")).await.expect("the publisher is let in");
    publisher.publish("hello").await.expect("it is taken");
    publisher
}

async fn publish(publisher: Publisher, scale: Scale, mut progress: watch::Receiver<Progress>) {
    for number in 0..scale.events {
        progress.wait_for(|progress| progress.least() + AHEAD > number).await.expect("it is watched");
        let mut event = number.to_be_bytes().to_vec();
        event.resize(scale.size, 7);
        publisher.publish(event).await.expect("it is taken");
    }
    publisher.close().await.expect("all is taken");
}

fn peer(path: &Path, relay: &RelayProcess, scale: Scale) -> Program {
    let mut command = Command::new(path);
    let numbers = [scale.subscribers.to_string(), scale.publishers.to_string(), scale.events.to_string()];
    command.args(numbers).env("HYBRIDRELAY_CONNECTION_STRING", relay.connection_string());
    Program::start("event-peer", &mut command)
}

/// What `event-peer` does: many subscribers, which tell together how far the last of them is.
///
/// # Errors
///
/// A relay that cannot be reached, or an event that comes twice, out of order, or not at all.
pub async fn subscribe(subscribers: usize, publishers: usize, events: u64) -> Result<()> {
    let (news, mut told) = mpsc::unbounded_channel();
    let mut hearing = tokio::task::JoinSet::new();
    for index in 0..subscribers {
        let listener = Arc::new(Listener::builder(Target::from_environment()).open().await?);
        hearing.spawn(hear(listener, index, publishers, events, news.clone()));
    }
    drop(news);
    say(&json!({"event": "online"}));
    let mut of_each = vec![vec![0; subscribers]; publishers];
    let mut last = vec![0; publishers];
    let (mut got, mut missed, mut greeted) = (0, 0, 0);
    while let Some((index, publisher, news)) = told.recv().await {
        match news {
            News::Greeted => {
                greeted += 1;
                if greeted == subscribers * publishers {
                    say(&json!({"event": "heard"}));
                }
            }
            News::Got(count) => {
                of_each[publisher][index] = count;
                let least = of_each[publisher].iter().copied().min().unwrap_or_default();
                if least > last[publisher] {
                    last[publisher] = least;
                    say(&json!({"event": "got", "publisher": publisher, "count": least}));
                }
            }
        }
    }
    while let Some(heard) = hearing.join_next().await {
        let heard = heard??;
        (got, missed) = (got + heard.0, missed + heard.1);
    }
    say(&json!({"event": "finished", "got": got, "missed": missed}));
    Ok(())
}

/// What one subscriber tells of a publisher.
enum News {
    /// It has said hello.
    Greeted,
    /// So many of its events are over.
    Got(u64),
}

/// Hears all publishers up to their last events. Returns how many events there were, and how many were missed.
async fn hear(
    listener: Arc<Listener>,
    index: usize,
    publishers: usize,
    events: u64,
    news: mpsc::UnboundedSender<(usize, usize, News)>,
) -> Result<(u64, u64)> {
    let heard = listener.events();
    // The number of the next event of each, if none is missing.
    let mut expected = vec![0; publishers];
    let (mut got, mut missing, mut missed) = (0, 0, 0);
    while expected.iter().any(|next| *next < events) || missed < missing {
        let event = heard.next().await?.context("the listener was closed")?;
        let publisher: usize = event.origin().path().trim_start_matches('/').parse()?;
        match event {
            Event::Missed { count, .. } => missed += count,
            Event::Message { message, .. } if message.as_text() == Some("hello") => {
                let _ = news.send((index, publisher, News::Greeted));
            }
            event => {
                let number = u64::from_be_bytes(*event.payload().first_chunk().context("an event has a number")?);
                let next = &mut expected[publisher];
                anyhow::ensure!(number >= *next, "event {number} of {publisher} where {next} was to come");
                missing += number - *next;
                *next = number + 1;
                got += 1;
                if next.is_multiple_of(TOLD_EVERY) || *next == events {
                    let _ = news.send((index, publisher, News::Got(*next)));
                }
            }
        }
    }
    anyhow::ensure!(missed == missing, "{missed} events are said to be missed and {missing} are");
    listener.close().await;
    Ok((got, missed))
}

fn say(event: &Value) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // Whoever started it has gone.
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}
