//! `expose`: senders reach a server near this machine.

use std::fs;
use std::future::IntoFuture;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hybridrelay::env::Env;
use hybridrelay::{EntityPath, Forwarder};
use hybridrelay_relay::units::parse_duration;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use crate::console::Console;
use crate::failure::Failure;
use crate::listen::connections;
use crate::online;
use crate::relay::{RelayArguments, refuse_connection_string};
use crate::signals::{self, Signals};

mod access;
mod name;
mod report;

use access::Access;
use report::Report;

/// How long what is under way may take before it is told that it is waited for.
const SOON: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  hybridrelay expose web http://localhost:8080   requests and WebSockets
  hybridrelay expose 8080                        the same, under a name made up for it
  hybridrelay expose db tcp://localhost:5432     what 'hybridrelay connect db' sends
  hybridrelay expose docker unix:/run/x.sock

An HTTP server gets requests as requests and WebSockets as WebSockets, as the sender wrote them: method, path, query, headers and bodies, \
which stream both ways. No redirect is followed. It sees the sender's Host; the name of the hybrid connection is taken off the path. A server \
of bytes gets relayed connections. Whatever the server, each sender is told on one line when it has ended.

SIGINT and SIGTERM let what is under way end first; a second one ends at once.";

/// Let senders reach a server near here, by HTTP or as a stream
///
/// Prints where it is reached from then on. Nothing listens on this machine: it dials out to the relay.
#[derive(Args)]
#[command(after_help = EXAMPLES, override_usage = "hybridrelay expose [OPTIONS] [ENTITY] <SERVER>")]
pub(crate) struct ExposeArguments {
    /// The server, and in front of it the hybrid connection to be online under
    ///
    /// A server is http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or unix:/PATH; PORT alone is http://localhost:PORT. Without
    /// ENTITY it is the EntityPath of the connection string, else a random name.
    #[arg(value_name = "[ENTITY] SERVER", num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Insist that senders need no token
    ///
    /// Only the relay can let them in without one; where it does not, this says which line to add to its configuration, and ends.
    #[arg(long)]
    public: bool,

    /// Print a link that needs no token for an hour, also where no terminal is
    #[arg(long)]
    link: bool,

    /// Take the name of the hybrid connection off the path: /web/orders becomes /orders [default]
    #[arg(long, overrides_with = "no_strip")]
    strip: bool,

    /// Leave the name of the hybrid connection in the path
    #[arg(long, overrides_with = "strip")]
    no_strip: bool,

    /// Put the name of the hybrid connection in front of the server's own redirects and cookie paths
    #[arg(long, conflicts_with = "no_strip")]
    rewrite: bool,

    /// Tell the server who asks, by X-Forwarded-For, -Host, -Proto and -Prefix
    #[arg(long)]
    forwarded_headers: bool,

    /// Trust the certificates in this PEM file for an https:// server, beside the system's [repeatable]
    #[arg(long, value_name = "FILE")]
    server_ca: Vec<PathBuf>,

    /// Accept any certificate of an https:// server
    #[arg(long)]
    server_skip_verify: bool,

    /// How long what is under way may go on after SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    drain: Duration,

    /// Wait for a relay that cannot be reached yet, and for an endpoint that does not exist yet
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: ExposeArguments, console: Console) -> Result<(), Failure> {
    let (named, server) = match &arguments.what[..] {
        [server] => (None, server),
        [entity, server] => (Some(entity), server),
        _ => return Err(Failure::usage("give one server, and at most one hybrid connection in front of it")),
    };
    for word in &arguments.what {
        refuse_connection_string(word)?;
    }
    let server = complete(server);
    Forwarder::check(&server)?;
    let server_ca = arguments.server_ca.iter().map(|file| {
        fs::read(file).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))
    });
    let server_ca: Vec<_> = server_ca.collect::<Result<_, _>>()?;
    let route = arguments.relay.resolve()?;
    let env = Env::system();
    let entity: EntityPath = match (named, route.relay.address().entity()) {
        (Some(name), _) => name.parse()?,
        (None, Some(own)) => own.clone(),
        (None, None) => name::readable(&env),
    };
    // Caught before the listener is online, so that whoever waits for that can already send one.
    let signals = Signals::catch()?;
    let listener = online::open(route.listener(&entity), arguments.wait, &route, &entity, console).await?;
    let text = format!("online as '{entity}' at {}", route.authority());
    env.spawn(online::report(listener.status(), console, entity.clone(), route.authority(), text));

    let access = Access::find(&route, &entity).await;
    if arguments.public
        && let Err(failure) = access.must_be_public()
    {
        listener.close().await;
        return Err(failure);
    }
    access.tell(&server, arguments.link || io::stderr().is_terminal(), console);

    let report = Arc::new(Report::new(console, &server));
    let open = report.connections();
    let mut forwarder = listener
        .forward(&server)
        .strip(!arguments.no_strip)
        .rewrite(arguments.rewrite)
        .forwarded_headers(arguments.forwarded_headers)
        .insecure_skip_verify(arguments.server_skip_verify)
        .observe(move |event| report.take(event));
    for pem in server_ca {
        forwarder = forwarder.extra_ca_pem(pem);
    }
    let forwarded = forward(&env, forwarder, signals, open, arguments.drain, console).await;
    forwarded.map_err(|error| route.failure(error, &entity, false))
}

/// Forwards until a signal, and then until everything has ended that was under way, or it takes too long.
async fn forward(
    env: &Env,
    forwarder: Forwarder,
    mut signals: Signals,
    mut open: watch::Receiver<usize>,
    limit: Duration,
    console: Console,
) -> hybridrelay::Result<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let mut forwarding = pin!(forwarder.with_graceful_shutdown(async { _ = stopped.await }).into_future());
    tokio::select! {
        ended = &mut forwarding => return ended,
        _ = signals.next() => drop(stop),
    }
    let connected = open.clone();
    let mut draining = pin!(async {
        let stopped = forwarding.await;
        // The report lives as long as its forwarder does.
        let _ = open.wait_for(|open| *open == 0).await;
        stopped
    });
    if let Some(stopped) = env.timeout(SOON.min(limit), &mut draining).await {
        return stopped;
    }
    let left = *connected.borrow();
    let what = if left == 0 { "what is under way".to_owned() } else { connections(left) };
    let text = format!("waiting for {what} to end; another signal ends at once");
    console.event("draining", json!({"connections": left}), &text);
    tokio::select! {
        stopped = env.timeout(limit.saturating_sub(SOON), &mut draining) => stopped.unwrap_or(Ok(())),
        signal = signals.next() => signals::exit_by(signal),
    }
}

/// What may be left out of a server's address.
fn complete(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("http://localhost:{text}")
    } else if text.contains("://") || text.starts_with("unix:") {
        text.to_owned()
    } else {
        format!("http://{text}")
    }
}
