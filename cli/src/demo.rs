//! `demo`: a relay, a listener and a sender at work on this machine.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{Connection, Error, ErrorKind, Incoming, IncomingConnect, Listener, Message, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_relay::units::parse_size;

use crate::console::{program, quote};
use crate::failure::Failure;
use crate::signals::Signals;

mod http;
mod transfer;

use transfer::Received;

/// The hybrid connection of the demonstration.
const ENTITY: &str = "demo";

/// Show a relay, a listener and a sender at work on this machine
///
/// Everything runs in this one process, but the three talk over TLS on loopback as they would across the world.
#[derive(Args)]
pub(crate) struct DemoArguments {
    /// How much to send after the conversation
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    size: u64,

    /// Stay, and print commands to try in another terminal
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let env = Env::system();
    tell(format_args!(
        "A program behind a firewall and a program elsewhere: both dial out to a relay and meet there.\n"
    ));

    let relay = LocalRelay::builder().tls(true).start().await?;
    say("relay", format_args!("serves at {} with TLS, its certificate made for this run", relay.address()));
    // With TLS there always is one.
    let ca = relay.ca_pem().unwrap_or_default().to_owned();
    let listener = Listener::builder(relay.connection_string(ENTITY)).extra_ca_pem(ca.as_str()).open().await?;
    say("listener", format_args!("dials out; online as '{ENTITY}', without an open port of its own"));

    let (answered, asked) = tokio::join!(answer(&listener), ask(&relay, &ca));
    asked?;
    answered?;

    tell(format_args!(""));
    http::show(&env, &relay, &ca, &listener).await?;

    let (received, sent) = tokio::join!(receive(&listener), transfer::send(&env, &relay, &ca, arguments.size));
    received?;
    let report = sent?;
    tell(format_args!("\n  sent      {:>11} bytes   SHA-256 {}", report.sent.bytes, report.sent.sha256));
    tell(format_args!("  received  {:>11} bytes   SHA-256 {}", report.received.bytes, report.received.sha256));
    if report.sent != report.received {
        return Err(Error::new(ErrorKind::Internal, "what came is not what was sent").into());
    }
    tell(format_args!(
        "  equal, {:.0} MiB/s through the relay, encrypted on both sides of it",
        report.mebibytes_per_second()
    ));

    if arguments.keep {
        keep(&relay, &ca, listener).await?;
    } else {
        listener.close().await;
        tell(format_args!("\nNext: {} serve --dev, and paste what it prints.", program()));
    }
    relay.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// The listener's side of the conversation.
async fn answer(listener: &Listener) -> Result<(), Error> {
    let incoming = next(listener).await?;
    let query = incoming.query().unwrap_or_default();
    say("listener", format_args!("sees someone ask for {} with {query}; accepts", incoming.path()));
    let connection = incoming.accept().await?;
    while let Some(message) = connection.receive().await? {
        say("listener", format_args!("hears  {}", message.as_text().unwrap_or("(bytes)")));
        reply(&connection, "I am, and nobody had to open a port.").await?;
    }
    say("listener", format_args!("sees the sender's end; its own direction is still open"));
    reply(&connection, "Then goodbye.").await?;
    connection.close().await
}

async fn reply(connection: &Connection, text: &str) -> Result<(), Error> {
    say("listener", format_args!("says   {text}"));
    connection.send(text).await
}

/// The sender's side of the conversation.
async fn ask(relay: &LocalRelay, ca: &str) -> Result<(), Error> {
    let sender = Sender::builder(relay.connection_string(ENTITY)).extra_ca_pem(ca).build()?;
    say("sender", format_args!("dials out; asks the relay for '{ENTITY}/hello?from=afar'"));
    let connection = sender.connect().path("/hello").query("from=afar").await?;
    say("sender", format_args!("is connected"));
    say("sender", format_args!("says   Is anybody there?"));
    connection.send("Is anybody there?").await?;
    hear(connection.receive().await?)?;
    say("sender", format_args!("ends its direction and goes on listening"));
    connection.shutdown().await?;
    hear(connection.receive().await?)?;
    while connection.receive().await?.is_some() {}
    say("sender", format_args!("sees the listener's end: the connection is closed in good order"));
    Ok(())
}

fn hear(message: Option<Message>) -> Result<(), Error> {
    let message = message.ok_or_else(|| Error::new(ErrorKind::Internal, "the listener ended without an answer"))?;
    say("sender", format_args!("hears  {}", message.as_text().unwrap_or("(bytes)")));
    Ok(())
}

/// The listener's side of the transfer: tells the sender what came.
async fn receive(listener: &Listener) -> Result<(), Error> {
    let connection = next(listener).await?.accept().await?;
    let received = Received::all_of(&connection).await?;
    connection.send(received.to_text()).await?;
    connection.close().await
}

async fn next(listener: &Listener) -> Result<IncomingConnect, Error> {
    loop {
        match listener.accept().await? {
            Some(Incoming::Connect(connect)) => return Ok(connect),
            Some(_) => {}
            None => return Err(Error::new(ErrorKind::Closed, "the listener was closed")),
        }
    }
}

/// Serves an echo until a signal.
async fn keep(relay: &LocalRelay, ca: &str, listener: Listener) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let unwritable = |error| Failure::io("the relay's certificate cannot be written", &error);
    let mut file =
        tempfile::Builder::new().prefix("hybridrelay-demo-").suffix(".pem").tempfile().map_err(unwritable)?;
    file.write_all(ca.as_bytes()).map_err(unwritable)?;

    let (connection_string, program) = (quote(&relay.connection_string(ENTITY)), program());
    tell(format_args!(
        "\nThe relay stays until Ctrl-C, and so does a listener that sends back what comes, also by HTTP. In another terminal:\n"
    ));
    tell(format_args!("export HYBRIDRELAY_CONNECTION_STRING={connection_string}"));
    tell(format_args!("export HYBRIDRELAY_EXTRA_CA={}", quote(&file.path().to_string_lossy())));
    tell(format_args!("{program} request -i /hello -d 'is anybody there?'"));
    tell(format_args!("{program} connect"));

    let env = Env::system();
    let echo = async {
        while let Some(incoming) = listener.accept().await? {
            env.spawn(async move {
                // What a sender breaks off is its own affair.
                let _ = echo(incoming).await;
            });
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        ended = echo => ended?,
        _ = signals.next() => {}
    }
    listener.close().await;
    Ok(())
}

/// Sends back what comes.
async fn echo(incoming: Incoming) -> Result<(), Error> {
    match incoming {
        Incoming::Connect(connect) => crate::listen::echo(&connect.accept().await?).await,
        Incoming::Request(request) => {
            let (request, responder) = request.into_parts();
            responder.send(::http::Response::new(request.into_body())).await
        }
        // A kind that is not known here is refused by being dropped.
        _ => Ok(()),
    }
}

/// One line of the story.
fn say(who: &str, what: std::fmt::Arguments<'_>) {
    tell(format_args!("  {who:<9} {what}"));
}

/// A line on standard output; nobody misses it when that is closed.
fn tell(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
