//! `subscribe`: what publishers say, on standard output.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{Event, Events};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncWriteExt, Stdout, stdout};

use crate::console::Console;
use crate::failure::Failure;
use crate::online;
use crate::relay::{RelayArguments, SubprotocolArguments};
use crate::signals::{self, Signals};

const EXAMPLES: &str = "\
Examples:
  hybridrelay subscribe events/doors
  hybridrelay subscribe events/log | grep error
  hybridrelay subscribe events --json | jq .text

Each event is written as it is, with a line break behind it. With --json it is an object in one line: \"publisher\" (its tracking id), \
\"path\" (behind the hybrid connection's name), \"kind\" (text, binary or request; then \"method\"), and \"text\", or \"data\" in base64 \
where it is not text. Events that were missed, because they came faster than they were read, are told on standard error. SIGINT and \
SIGTERM end it behind what has come; a second one ends at once.";

/// Write what publishers say on standard output
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubscribeArguments {
    /// Hybrid connection to be online under [default: the EntityPath of the connection string]
    entity: Option<String>,

    /// Wait for a relay that cannot be reached yet, and for an endpoint that does not exist yet
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    subprotocols: SubprotocolArguments,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: SubscribeArguments, console: Console) -> Result<(), Failure> {
    let (route, entity) = arguments.relay.resolve_for(arguments.entity.as_deref())?;
    let builder = route.listener(&entity).subprotocols(&arguments.subprotocols.subprotocol);
    // Caught before the listener is online, so that whoever waits for that can already send one.
    let mut signals = Signals::catch()?;
    let listener = online::open(builder, arguments.wait, &route, &entity, console).await?;
    let events = listener.events();
    let authority = route.authority();
    let text =
        format!("subscribed to '{entity}' at {authority}; tell it something with: hybridrelay publish {entity} …");
    Env::system().spawn(online::report(listener.status(), console, entity.clone(), authority, text));
    let mut printing = std::pin::pin!(print_all(&events, console));
    let printed = tokio::select! {
        printed = &mut printing => printed,
        _ = signals.next() => {
            listener.close().await;
            tokio::select! {
                printed = &mut printing => printed,
                signal = signals.next() => signals::exit_by(signal),
            }
        }
    };
    match printed {
        Ok(()) => Ok(()),
        Err(Unprinted::Listener(error)) => Err(route.failure(error, &entity, false)),
        // Nobody reads our standard output any more, as with `| head -1`: nothing is wrong.
        Err(Unprinted::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Unprinted::Output(error)) => Err(Failure::io("standard output failed", &error)),
    }
}

/// Why no more is printed.
enum Unprinted {
    Listener(hybridrelay::Error),
    Output(io::Error),
}

/// Prints every event up to the end.
async fn print_all(events: &Events, console: Console) -> Result<(), Unprinted> {
    let mut output = stdout();
    while let Some(event) = events.next().await.map_err(Unprinted::Listener)? {
        let line = match &event {
            Event::Missed { origin, count } => {
                let id = origin.tracking_id();
                let these = if *count == 1 { "event was" } else { "events were" };
                let fields = json!({"publisher": id, "path": origin.path(), "count": count});
                console.event("missed", fields, &format!("{count} {these} missed of publisher {id}"));
                continue;
            }
            event if console.is_json() => json_line(event),
            event => [event.payload(), b"\n"].concat(),
        };
        print(&mut output, &line).await.map_err(Unprinted::Output)?;
    }
    Ok(())
}

/// Writes at once: who reads it may act upon it.
async fn print(output: &mut Stdout, line: &[u8]) -> io::Result<()> {
    output.write_all(line).await?;
    output.flush().await
}

fn json_line(event: &Event) -> Vec<u8> {
    let origin = event.origin();
    let mut object = Map::new();
    object.insert("publisher".into(), origin.tracking_id().into());
    object.insert("path".into(), origin.path().into());
    let text = match event {
        Event::Message { message, .. } => {
            object.insert("kind".into(), if message.as_text().is_some() { "text" } else { "binary" }.into());
            message.as_text()
        }
        Event::Request { method, body, .. } => {
            object.insert("kind".into(), "request".into());
            object.insert("method".into(), method.as_str().into());
            std::str::from_utf8(body).ok()
        }
        _ => None,
    };
    match text {
        Some(text) => object.insert("text".into(), text.into()),
        None => object.insert("data".into(), STANDARD.encode(event.payload()).into()),
    };
    let mut line = Value::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}
