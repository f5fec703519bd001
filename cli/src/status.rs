//! `status`: who listens on a hybrid connection, on standard output.

use std::collections::BTreeMap;
use std::time::SystemTime;

use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{EntityPath, Presence, PresenceEvent, PresentListener, Sender};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::{Failure, describe};
use crate::relay::{RelayArguments, Route};
use crate::table::{Reader, plain, print_line, table};
use crate::units::{format_duration, format_time, rfc3339};

const EXAMPLES: &str = "\
Examples:
  hybridrelay status web
  hybridrelay status web --watch
  hybridrelay status web --json | jq .count

Who may listen or send is told how many listeners there are; who they are, only who may manage. With --json the answer is one JSON \
object on standard output, with --watch as well one for each change. Azure Relay does not tell.";

/// Tell who listens on a hybrid connection
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArguments {
    /// Hybrid connection [default: the EntityPath of the connection string]
    entity: Option<String>,

    /// Go on, and print a line for each listener that comes or goes
    #[arg(short, long)]
    watch: bool,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: StatusArguments, console: Console) -> Result<(), Failure> {
    let (route, entity) = arguments.relay.resolve_for(arguments.entity.as_deref())?;
    let sender = route.sender(&entity).build()?;
    let asked = Asked { route: &route, entity: &entity, console };
    if arguments.watch {
        return asked.watch(&sender).await;
    }
    let presence = sender.presence_now().await.map_err(|error| asked.failure(error))?;
    let line = if console.is_json() { asked.json(&presence).to_string() } else { asked.text(&presence) };
    print_line(&line).map(|_| ())
}

/// What was asked about.
struct Asked<'a> {
    route: &'a Route,
    entity: &'a EntityPath,
    console: Console,
}

impl Asked<'_> {
    fn failure(&self, error: hybridrelay::Error) -> Failure {
        self.route.failure(error, self.entity, true)
    }

    /// Prints the present state, and a line for each change, until nobody reads it.
    async fn watch(&self, sender: &Sender) -> Result<(), Failure> {
        let mut events = sender.presence_events();
        // What was said of those who come, to be said again as they go.
        let mut known = BTreeMap::new();
        loop {
            let event = events.next().await.map_err(|error| self.failure(error))?;
            if let PresenceEvent::Present(presence) = &event {
                let listeners = presence.listeners.iter().flatten();
                known = listeners.map(|listener| (listener.id.clone(), name(listener))).collect();
            }
            if let PresenceEvent::Connected { id, listener: Some(listener), .. } = &event {
                known.insert(id.clone(), name(listener));
            }
            let line = if self.console.is_json() { self.json_of(&event) } else { self.line_of(&event, &known) };
            if let PresenceEvent::Disconnected { id, .. } = &event {
                known.remove(id);
            }
            if let Some(line) = line
                && print_line(&line)? == Reader::Gone
            {
                return Ok(());
            }
        }
    }

    fn line_of(&self, event: &PresenceEvent, known: &BTreeMap<String, String>) -> Option<String> {
        let who = |id: &str| plain(known.get(id).map_or(id, String::as_str));
        match event {
            PresenceEvent::Present(presence) => Some(self.text(presence)),
            PresenceEvent::Connected { id, count, at, .. } => {
                Some(format!("{}  {count} online  + {}", time(*at), who(id)))
            }
            PresenceEvent::Disconnected { id, count, at } => {
                Some(format!("{}  {count} online  - {}", time(*at), who(id)))
            }
            PresenceEvent::Interrupted { error, retry_in } => {
                let text = format!(
                    "the relay is not heard: {}; trying again in {}",
                    describe(error),
                    format_duration(*retry_in)
                );
                self.console.event("interrupted", json!({"reason": describe(error)}), &text);
                None
            }
            PresenceEvent::Restored => {
                self.console.event("restored", json!({}), "the relay is heard again");
                None
            }
            _ => None,
        }
    }

    fn json_of(&self, event: &PresenceEvent) -> Option<String> {
        let value = match event {
            PresenceEvent::Present(presence) => {
                let mut value = self.json(presence);
                value["event"] = "present".into();
                value
            }
            PresenceEvent::Connected { id, count, at, listener } => {
                let listener = listener.as_deref().map(listener_json);
                json!({"event": "connected", "id": id, "count": count, "at": at.and_then(rfc3339), "listener": listener})
            }
            PresenceEvent::Disconnected { id, count, at } => {
                json!({"event": "disconnected", "id": id, "count": count, "at": at.and_then(rfc3339)})
            }
            other => {
                self.line_of(other, &BTreeMap::new());
                return None;
            }
        };
        Some(value.to_string())
    }

    fn text(&self, presence: &Presence) -> String {
        let Self { route, entity, .. } = self;
        let since = presence.since.map(|since| format!(" since {}", format_time(since))).unwrap_or_default();
        let count = match presence.count {
            0 => "no listener is online".to_owned(),
            1 => format!("1 listener is online{since}"),
            count => format!("{count} listeners are online{since}"),
        };
        let head = format!("{entity} at {}: {count}", route.authority());
        let listeners = presence.listeners.as_deref().unwrap_or_default();
        if listeners.is_empty() {
            return head;
        }
        let now = Env::system().wall_clock();
        let heading = ["SINCE", "ADDRESS", "AGENT", "RULE", "IN FLIGHT", "HEARD", "FEATURES", "LABELS", "ID"];
        let rows = listeners.iter().map(|listener| row(listener, now)).collect::<Vec<_>>();
        format!("{head}\n\n{}", table(heading, &rows))
    }

    fn json(&self, presence: &Presence) -> Value {
        let listeners = presence.listeners.as_ref();
        json!({
            "endpoint": self.entity.as_str(),
            "relay": self.route.authority(),
            "count": presence.count,
            "since": presence.since.and_then(rfc3339),
            "listeners": listeners.map(|listeners| listeners.iter().map(listener_json).collect::<Vec<_>>()),
        })
    }
}

fn row(listener: &PresentListener, now: SystemTime) -> [String; 9] {
    let ago = |time: Option<SystemTime>| {
        let ago = time.map(|time| now.duration_since(time).unwrap_or_default());
        ago.map(|ago| format!("{} ago", format_duration(ago))).unwrap_or_default()
    };
    [
        ago(listener.since),
        listener.address.map(|address| address.to_string()).unwrap_or_default(),
        listener.agent.clone().unwrap_or_default(),
        listener.rule.clone(),
        listener.in_flight.to_string(),
        ago(listener.last_heard),
        listener.features.join(" "),
        labels(listener),
        listener.tracking_id.clone(),
    ]
}

/// A listener in a few words.
fn name(listener: &PresentListener) -> String {
    let address = listener.address.map(|address| address.to_string());
    let parts = [address, listener.agent.clone(), Some(labels(listener))];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn labels(listener: &PresentListener) -> String {
    listener.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn listener_json(listener: &PresentListener) -> Value {
    json!({
        "id": listener.id,
        "trackingId": listener.tracking_id,
        "since": listener.since.and_then(rfc3339),
        "address": listener.address.map(|address| address.to_string()),
        "agent": listener.agent,
        "rule": listener.rule,
        "features": listener.features,
        "labels": listener.labels,
        "inFlight": listener.in_flight,
        "lastHeard": listener.last_heard.and_then(rfc3339),
    })
}

fn time(at: Option<SystemTime>) -> String {
    format_time(at.unwrap_or_else(|| Env::system().wall_clock()))
}
