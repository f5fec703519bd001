//! `publish`: events for everybody who listens.

use clap::Args;
use http::{Method, Request};
use hybridrelay::{Body, Message, Publisher};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin, stdin};

use crate::console::Console;
use crate::destination::{Destination, nothing_named};
use crate::failure::Failure;
use crate::relay::{RelayArguments, Route, SubprotocolArguments, refuse_connection_string};
use crate::request;

/// The longest line that is read as an event; relays take less.
const LONGEST: u64 = 64 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  hybridrelay publish events/doors 'front door opened'
  tail -f access.log | hybridrelay publish events/log     each line is an event
  date | hybridrelay publish                              at the connection string's EntityPath
  hybridrelay publish --http events/orders/7 '{\"state\":\"paid\"}'

Everybody gets everything where the relay is told so for the hybrid connection (distribution = \"all\" in its file, 'serve --dev \
--events events/*'); elsewhere one listener does. What is published while nobody listens is gone. When this ends with 0 the relay has \
taken all of it.";

/// Publish events to everybody who listens
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublishArguments {
    /// Hybrid connection, and what subscribers may see behind it
    ///
    /// The relay gives the events to the hybrid connection with the longest name that fits. What begins with '/' or '?' is put behind the
    /// EntityPath of the connection string. Default: that EntityPath.
    #[arg(value_name = "ENTITY[/suffix][?query]")]
    destination: Option<String>,

    /// Events, one for each; without any, each line of standard input is one, as it comes
    #[arg(value_name = "MESSAGE")]
    messages: Vec<String>,

    /// Publish bytes instead of text, so that they need not be UTF-8
    #[arg(long)]
    binary: bool,

    /// Publish one HTTP request: its body is MESSAGE, or all of standard input
    #[arg(long, conflicts_with_all = ["binary", "subprotocol"])]
    http: bool,

    #[command(flatten)]
    subprotocols: SubprotocolArguments,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: PublishArguments, console: Console) -> Result<(), Failure> {
    if let Some(destination) = &arguments.destination {
        refuse_connection_string(destination)?;
        // A variable that is not set must not become the connection string's own.
        if destination.is_empty() {
            return Err(nothing_named().into());
        }
    }
    let route = arguments.relay.resolve()?;
    if arguments.http {
        by_http(arguments, &route, console).await
    } else {
        by_websocket(arguments, &route, console).await
    }
}

async fn by_websocket(arguments: PublishArguments, route: &Route, console: Console) -> Result<(), Failure> {
    let named = arguments.destination.as_deref().unwrap_or_default();
    let Destination { entity, path, query } = Destination::parse(named, route.relay.address().entity())?;
    let failed = |error| route.failure(error, &entity, true);
    let mut publisher = route.sender(&entity).build()?.publisher().path(path).query(query);
    for name in &arguments.subprotocols.subprotocol {
        publisher = publisher.subprotocol(name);
    }
    let publisher = publisher.open().await.map_err(failed)?;
    tracing::info!(entity = %entity, tracking_id = publisher.tracking_id(), "connected");
    let events = Events { given: arguments.messages, binary: arguments.binary };
    let count = tokio::select! {
        published = events.publish(&publisher) => published.map_err(|broken| match broken {
            Broken::Publisher(error) => failed(error),
            Broken::Input(failure) => failure,
        })?,
        error = publisher.ended() => return Err(failed(error)),
    };
    publisher.close().await.map_err(failed)?;
    let fields = json!({"entity": entity.as_str(), "events": count, "trackingId": publisher.tracking_id()});
    console.quiet_event("published", fields);
    Ok(())
}

/// Why not all was published.
enum Broken {
    Publisher(hybridrelay::Error),
    Input(Failure),
}

/// What is to be published.
struct Events {
    given: Vec<String>,
    binary: bool,
}

impl Events {
    /// Publishes everything, and returns how much that was.
    async fn publish(self, publisher: &Publisher) -> Result<u64, Broken> {
        let mut count = 0;
        if self.given.is_empty() {
            let mut input = BufReader::new(stdin());
            while let Some(line) = next_line(&mut input).await.map_err(Broken::Input)? {
                let event = self.event(line).map_err(Broken::Input)?;
                publisher.publish(event).await.map_err(Broken::Publisher)?;
                count += 1;
            }
        }
        for text in &self.given {
            let event = self.event(text.clone().into_bytes()).map_err(Broken::Input)?;
            publisher.publish(event).await.map_err(Broken::Publisher)?;
            count += 1;
        }
        Ok(count)
    }

    fn event(&self, bytes: Vec<u8>) -> Result<Message, Failure> {
        if self.binary {
            return Ok(bytes.into());
        }
        let text = String::from_utf8(bytes);
        text.map(Message::from)
            .map_err(|_| Failure::usage("a line is not UTF-8").with_advice("publish it with --binary"))
    }
}

/// The next line of standard input without its end; `None` at the end of all.
async fn next_line(input: &mut BufReader<Stdin>) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = input.take(LONGEST + 2).read_until(b'\n', &mut line).await;
    if read.map_err(|error| Failure::io("standard input failed", &error))? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() as u64 > LONGEST {
        return Err(Failure::usage(format!("a line is longer than {LONGEST} bytes")));
    }
    Ok(Some(line))
}

async fn by_http(arguments: PublishArguments, route: &Route, console: Console) -> Result<(), Failure> {
    let named = arguments.destination.as_deref().unwrap_or_default();
    let destination = Destination::parse_for_request(named, route.relay.address().entity())?;
    let body = match arguments.messages.as_slice() {
        [] => request::streamed(stdin()),
        [message] => Body::from(message.clone()),
        _ => return Err(Failure::usage("one HTTP request carries one MESSAGE")),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = request::target(&destination)?;
    let sender = route.sender(&destination.entity).build()?;
    let handed = sender.send_one_way(request).await.map_err(|error| route.failure(error, &destination.entity, true))?;
    let fields = json!({
        "entity": destination.entity.as_str(), "events": 1, "trackingId": handed.tracking_id(),
        "subscribers": handed.listeners(),
    });
    console.quiet_event("published", fields);
    Ok(())
}
