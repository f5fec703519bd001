//! `send`: an HTTP request for whose answer nobody waits.

use clap::Args;
use http::Method;
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::relay::RelayArguments;
use crate::request::{Data, Prepared};

const EXAMPLES: &str = "\
Examples:
  hybridrelay send jobs/resize -d '{\"photo\":7}' -H 'Content-Type: application/json'
  hybridrelay send PUT jobs/7/state -d @state.json
  date | hybridrelay send log -d @-

One listener has got all of it when this ends with 0; what it makes of it is not known. Nothing is kept by the relay: with nobody online it \
fails. A body may be 64 KiB long unless the relay allows more for the hybrid connection. Relays other than this program's own know no \
one-way requests.";

/// Hand an HTTP request to a listener without waiting for its answer
#[derive(Args)]
#[command(after_help = EXAMPLES, override_usage = "hybridrelay send [OPTIONS] [METHOD] <ENTITY[/path][?query]>")]
pub(crate) struct SendArguments {
    /// Hybrid connection, path and query behind it, and in front of them the method
    ///
    /// They pass byte for byte; characters that may not stand in a URL are encoded. What begins with '/' or '?' is put behind the
    /// EntityPath of the connection string. The method is POST where none is named.
    #[arg(value_name = "[METHOD] ENTITY[/path][?query]", num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Send this as the body, or what is in a file (@FILE), or standard input (@-), byte for byte
    #[arg(short, long, visible_alias = "data-binary", value_name = "DATA")]
    data: Option<Data>,

    /// Say nothing when it was sent
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: SendArguments, console: Console) -> Result<(), Failure> {
    let SendArguments { what, data, quiet, relay } = arguments;
    let Prepared { route, destination, request } = Prepared::new(&what, data.as_ref(), Method::POST, &relay).await?;
    let sender = route.sender(&destination.entity).build()?;
    let sent = sender.send_one_way(request).await;
    let sent = sent.map_err(|error| route.failure(error, &destination.entity, true))?;
    if !quiet {
        let (id, listeners) = (sent.tracking_id(), sent.listeners());
        let fields = json!({"trackingId": id, "listeners": listeners});
        let to = if listeners == 1 { String::new() } else { format!(" to {listeners} listeners") };
        console.event("sent", fields, &format!("sent{to} (TrackingId {id})"));
    }
    Ok(())
}
