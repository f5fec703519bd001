//! `connect`: standard input and output, joined to a listener.

use clap::Args;
use serde_json::json;

use crate::console::Console;
use crate::destination::{Destination, nothing_named};
use crate::failure::Failure;
use crate::relay::{RelayArguments, SubprotocolArguments, refuse_connection_string};
use crate::stdio::{Broken, Payload, Stdio};

const EXAMPLES: &str = "\
Examples:
  hybridrelay connect hello                   type, and read what comes back
  hybridrelay connect 'orders/7?verbose=1'    the listener sees what is behind 'orders'
  tar c photos | hybridrelay connect backup   send a stream, and wait for its end
  ssh -o ProxyCommand='hybridrelay connect ssh' me@there

The end of standard input closes this direction only; what the listener still sends is read to its end. Nothing is written to \
standard error unless something fails.";

/// Connect standard input and output to a listener, like netcat
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConnectArguments {
    /// Hybrid connection, and what the listener may see behind it
    ///
    /// The relay gives the connection to the listener with the longest name that fits. What begins with '/' or '?' is put behind the
    /// EntityPath of the connection string. Default: that EntityPath.
    #[arg(value_name = "ENTITY[/suffix][?query]")]
    destination: Option<String>,

    /// Path behind the entity, such as /orders/7, where ENTITY alone must not tell it
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,

    /// Query for the listener, without '?'
    #[arg(long, value_name = "QUERY", default_value = "", hide_default_value = true)]
    query: String,

    /// Talk in text messages: one for each line of input, one line for each message that comes
    #[arg(long)]
    text: bool,

    #[command(flatten)]
    subprotocols: SubprotocolArguments,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: ConnectArguments, console: Console) -> Result<(), Failure> {
    if let Some(entity) = &arguments.destination {
        refuse_connection_string(entity)?;
    }
    let route = arguments.relay.resolve()?;
    let own = route.relay.address().entity();
    let named = match (&arguments.destination, own) {
        (None, None) => return Err(nothing_named().into()),
        (destination, own) => Destination::parse(destination.as_deref().unwrap_or_default(), own)?,
    };
    let Destination { entity, path, query } = named.with_path(&arguments.path).with_query(&arguments.query);

    let sender = route.sender(&entity).build()?;
    let mut connect = sender.connect().path(path).query(query);
    for name in &arguments.subprotocols.subprotocol {
        connect = connect.subprotocol(name);
    }
    let connection = connect.open().await.map_err(|error| route.failure(error, &entity, true))?;
    let connected = json!({
        "entity": entity.as_str(),
        "relay": route.authority(),
        "trackingId": connection.tracking_id(),
        "subprotocol": connection.subprotocol(),
    });
    console.quiet_event("connected", connected);
    tracing::info!(entity = %entity, tracking_id = connection.tracking_id(), "connected");

    let payload = if arguments.text { Payload::Lines } else { Payload::Bytes };
    match Stdio::new(true).join(connection, payload).await {
        Ok(()) | Err(Broken::NoReader) => Ok(()),
        Err(Broken::Connection(error)) => Err(route.failure(error, &entity, true)),
        Err(Broken::Local(what, error)) => Err(Failure::io(format!("{what} failed"), &error)),
    }
}
