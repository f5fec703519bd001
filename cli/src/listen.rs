//! `listen`: online under a hybrid connection, serving who connects.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{Connection, ErrorKind, Incoming, IncomingConnect, Listener};
use serde_json::json;
use tokio::task::JoinSet;

use crate::console::Console;
use crate::failure::Failure;
use crate::online;
use crate::relay::{RelayArguments, Route, SubprotocolArguments};
use crate::signals::{self, Signals};
use crate::stdio::{Broken, Payload, Stdio};

mod exec;

use exec::Visitor;

/// How long connections may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  hybridrelay listen hello                one sender, joined to this terminal
  hybridrelay listen hello --echo         send back what comes, to any number
  hybridrelay listen clock --exec date    run a command for each sender
  hybridrelay listen ssh --exec 'nc localhost 22'
  hybridrelay listen backup > photos.tar < /dev/null

With --exec the command's standard input and output are the connection; each one's end is passed on by itself. A command that \
is killed aborts the connection, and a connection that breaks terminates the command. It finds in its environment \
HYBRIDRELAY_PATH, HYBRIDRELAY_QUERY, HYBRIDRELAY_REMOTE_ADDR and HYBRIDRELAY_TRACKING_ID, but no connection string.";

/// Be online under a hybrid connection and serve who connects
///
/// Without --echo and --exec the first sender is joined to standard input and output, like netcat, and its end is the end.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenArguments {
    /// Hybrid connection to be online under [default: the EntityPath of the connection string]
    entity: Option<String>,

    /// Send back every message
    #[arg(long, conflicts_with_all = ["exec", "keep", "text"])]
    echo: bool,

    /// Run a shell command for each sender
    #[arg(long, value_name = "CMD", conflicts_with_all = ["keep", "text"])]
    exec: Option<OsString>,

    /// Go on with the next sender, one after the other
    #[arg(short, long)]
    keep: bool,

    /// Talk in text messages: one for each line of input, one line for each message that comes
    #[arg(long)]
    text: bool,

    /// Wait for a relay that cannot be reached yet, and for an endpoint that does not exist yet
    #[arg(long)]
    wait: bool,

    /// Say something of this listener to who may manage: 'hybridrelay status' shows it [repeatable]
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,

    #[command(flatten)]
    subprotocols: SubprotocolArguments,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: ListenArguments, console: Console) -> Result<(), Failure> {
    let (route, entity) = arguments.relay.resolve_for(arguments.entity.as_deref())?;
    let builder = route.listener(&entity).subprotocols(&arguments.subprotocols.subprotocol);
    let builder = arguments.label.iter().fold(builder, |builder, (key, value)| builder.label(key, value));
    let work = match (arguments.echo, &arguments.exec) {
        (true, _) => Some(Work::Echo),
        (false, Some(command)) => Some(Work::Exec(command.as_os_str().into())),
        (false, None) => None,
    };
    // Caught before the listener is online, so that whoever waits for that can already send one. A conversation at standard
    // input and output ends by a signal as every program does.
    let signals = work.is_some().then(Signals::catch).transpose()?;
    let listener = online::open(builder, arguments.wait, &route, &entity, console).await?;
    let authority = route.authority();
    let text = format!("listening as '{entity}' at {authority}; reach it with: hybridrelay connect {entity}");
    Env::system().spawn(online::report(listener.status(), console, entity.clone(), authority, text));
    let lost = |error| route.failure(error, &entity, false);
    match (work, signals) {
        (Some(work), Some(signals)) => serve(&listener, work, signals, console).await.map_err(lost),
        _ => {
            let payload = if arguments.text { Payload::Lines } else { Payload::Bytes };
            converse(&listener, payload, arguments.keep, console, &route).await
        }
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as zone=eu")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Joins standard input and output with one sender, or with one after the other.
async fn converse(
    listener: &Listener,
    payload: Payload,
    keep: bool,
    console: Console,
    route: &Route,
) -> Result<(), Failure> {
    let lost = |error| route.failure(error, listener.entity(), false);
    let mut stdio = Stdio::new(!keep);
    while let Some(incoming) = listener.accept().await.map_err(lost)? {
        // Kinds of senders that are not known here are refused by being dropped.
        let Incoming::Connect(connect) = incoming else { continue };
        let Some(connection) = accept(connect, console).await else { continue };
        let joined = if keep {
            stdio.join(connection, payload).await
        } else {
            // The next sender learns at once that nobody is here for it.
            tokio::join!(stdio.join(connection, payload), listener.close()).0
        };
        match joined {
            Ok(()) => {}
            Err(Broken::NoReader) => return Ok(()),
            Err(Broken::Local(what, error)) => return Err(Failure::io(format!("{what} failed"), &error)),
            Err(Broken::Connection(error)) if keep => tracing::warn!(%error, "a connection broke"),
            Err(Broken::Connection(error)) => return Err(lost(error)),
        }
        if !keep {
            break;
        }
    }
    Ok(())
}

/// Accepts a sender; one that has gone is no failure of ours.
async fn accept(connect: IncomingConnect, console: Console) -> Option<Connection> {
    let (path, remote) = (connect.path().to_owned(), connect.remote_addr());
    let remote = remote.map(|address| address.to_string());
    match connect.accept().await {
        Ok(connection) => {
            let fields = json!({"path": path, "remote": remote, "trackingId": connection.tracking_id()});
            console.quiet_event("connected", fields);
            tracing::info!(path, remote, tracking_id = connection.tracking_id(), "a sender is connected");
            Some(connection)
        }
        Err(error) => {
            tracing::warn!(%error, "a sender could not be accepted");
            None
        }
    }
}

/// What is done for each sender.
#[derive(Clone)]
enum Work {
    Echo,
    Exec(Arc<std::ffi::OsStr>),
}

/// Serves any number of senders at once, until a signal.
async fn serve(listener: &Listener, work: Work, mut signals: Signals, console: Console) -> hybridrelay::Result<()> {
    let mut senders = JoinSet::new();
    loop {
        tokio::select! {
            incoming = listener.accept() => match incoming? {
                Some(Incoming::Connect(connect)) => {
                    senders.spawn(work.clone().run(connect, console));
                }
                Some(_) => {}
                None => break,
            },
            Some(_) = senders.join_next() => {}
            _ = signals.next() => break,
        }
    }
    listener.close().await;
    if !senders.is_empty() {
        let text = format!("waiting for {} to end; another signal ends at once", connections(senders.len()));
        console.event("draining", json!({"connections": senders.len()}), &text);
    }
    let env = Env::system();
    let signal = tokio::select! {
        _ = env.timeout(DRAIN, async { while senders.join_next().await.is_some() {} }) => None,
        signal = signals.next() => Some(signal),
    };
    // Aborts the connections that are left and kills their commands.
    senders.shutdown().await;
    if let Some(signal) = signal {
        signals::exit_by(signal);
    }
    Ok(())
}

impl Work {
    async fn run(self, connect: IncomingConnect, console: Console) {
        let visitor = Visitor::of(&connect);
        let Some(connection) = accept(connect, console).await else { return };
        let id = connection.tracking_id().to_owned();
        let outcome = match self {
            Self::Echo => echo(&connection).await,
            Self::Exec(command) => exec::run(&Env::system(), connection, &command, &visitor).await,
        };
        let reason = outcome.as_ref().err().map(ToString::to_string);
        console.quiet_event("disconnected", json!({"trackingId": id, "reason": reason}));
        match outcome {
            Ok(()) => tracing::info!(tracking_id = id, "a sender has ended"),
            // A sender that goes without a word, as ssh ends its ProxyCommand, is nothing to worry about.
            Err(error) if error.kind() == ErrorKind::ConnectionLost => {
                tracing::info!(tracking_id = id, %error, "a sender has gone");
            }
            Err(error) => tracing::warn!(tracking_id = id, %error, "a connection ended early"),
        }
    }
}

pub(crate) async fn echo(connection: &Connection) -> hybridrelay::Result<()> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    connection.close().await
}

pub(crate) fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}
