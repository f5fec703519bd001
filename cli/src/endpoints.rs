//! `endpoints`: what of a namespace is online, on standard output.

use std::time::SystemTime;

use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{Endpoint, EndpointEvent, Namespace};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::{Failure, Place, describe};
use crate::relay::{RelayArguments, Route};
use crate::table::{Reader, plain, print_line, table};
use crate::units::{format_duration, format_time, rfc3339};

const EXAMPLES: &str = "\
Examples:
  hybridrelay endpoints
  hybridrelay endpoints --watch
  hybridrelay endpoints --json | jq -r '.endpoints[].url'

Endpoints are told of where the relay's configuration wants it: 'discovery = true' for the namespace, 'discoverable' for each hybrid \
connection. With --json the answer is one JSON object on standard output, with --watch as well one for each change.";

/// Tell which endpoints of a namespace are online
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EndpointsArguments {
    /// Go on, and print a line for each endpoint that comes online or goes offline
    #[arg(short, long)]
    watch: bool,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: EndpointsArguments, console: Console) -> Result<(), Failure> {
    let route = arguments.relay.resolve()?;
    let namespace = route.namespace().build()?;
    if arguments.watch {
        return watch(&route, &namespace, console).await;
    }
    let endpoints = namespace.endpoints().await.map_err(|error| failure(&route, error))?;
    let line = if console.is_json() { json_of(&endpoints).to_string() } else { text_of(&route, &endpoints) };
    print_line(&line).map(|_| ())
}

fn failure(route: &Route, error: hybridrelay::Error) -> Failure {
    let authority = route.authority();
    Failure::relay(error, &Place { authority: &authority, local: route.relay.is_local(), ..Place::default() })
}

/// Prints what is online, and a line for each change, until nobody reads it.
async fn watch(route: &Route, namespace: &Namespace, console: Console) -> Result<(), Failure> {
    let mut events = namespace.watch();
    loop {
        let event = events.next().await.map_err(|error| failure(route, error))?;
        let (text, value) = match event {
            EndpointEvent::Present(endpoints) => {
                let mut value = json_of(&endpoints);
                value["event"] = "present".into();
                (text_of(route, &endpoints), value)
            }
            EndpointEvent::Online(endpoint) => {
                let text = format!("{}  + {}  {}", time(endpoint.since), endpoint.path, plain(&endpoint.title));
                (text, json!({"event": "online", "endpoint": endpoint_json(&endpoint)}))
            }
            EndpointEvent::Offline { path, at } => {
                let text = format!("{}  - {path}", time(at));
                (text, json!({"event": "offline", "path": path.as_str(), "at": at.and_then(rfc3339)}))
            }
            EndpointEvent::Interrupted { error, retry_in } => {
                let (reason, wait) = (describe(&error), format_duration(retry_in));
                let text = format!("the relay is not heard: {reason}; trying again in {wait}");
                console.event("interrupted", json!({"reason": reason}), &text);
                continue;
            }
            EndpointEvent::Restored => {
                console.event("restored", json!({}), "the relay is heard again");
                continue;
            }
            _ => continue,
        };
        if print_line(&if console.is_json() { value.to_string() } else { text })? == Reader::Gone {
            return Ok(());
        }
    }
}

fn text_of(route: &Route, endpoints: &[Endpoint]) -> String {
    if endpoints.is_empty() {
        return format!("no endpoint at {} is online", route.authority());
    }
    let now = Env::system().wall_clock();
    let rows = endpoints.iter().map(|endpoint| {
        let ago = endpoint.since.map(|since| format_duration(now.duration_since(since).unwrap_or_default()));
        [
            endpoint.path.to_string(),
            endpoint.title.clone(),
            ago.map(|ago| format!("{ago} ago")).unwrap_or_default(),
            if endpoint.requires_authorization { "token" } else { "anybody" }.to_owned(),
            endpoint.tags.join(" "),
            endpoint.summary.clone(),
        ]
    });
    table(["PATH", "TITLE", "SINCE", "SENDERS", "TAGS", "SUMMARY"], &rows.collect::<Vec<_>>())
}

fn json_of(endpoints: &[Endpoint]) -> Value {
    json!({"endpoints": endpoints.iter().map(endpoint_json).collect::<Vec<_>>()})
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    json!({
        "path": endpoint.path.as_str(),
        "title": endpoint.title,
        "summary": endpoint.summary,
        "tags": endpoint.tags,
        "url": endpoint.url,
        "webSocketUrl": endpoint.web_socket_url,
        "requiresAuthorization": endpoint.requires_authorization,
        "since": endpoint.since.and_then(rfc3339),
    })
}

fn time(at: Option<SystemTime>) -> String {
    format_time(at.unwrap_or_else(|| Env::system().wall_clock()))
}
