//! What stands opposite to the Autobahn test suite: `cargo xtask autobahn` starts it.
//!
//! - `autobahn_peer listener` runs a relay and a listener of ours that echoes messages, writes the relay's port as a line, and ends
//!   with its standard input. The suite is the sender.
//! - `autobahn_peer sender PORT` goes through all cases of the suite's server there with a sender of ours that echoes messages.

// Real sockets and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hybridrelay::{Connection, Incoming, Message, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::anywhere::anywhere;

/// The name of the hybrid connection.
const ENTITY: &str = "echo";

/// How the suite's reports name us.
const AGENT: &str = "hybridrelay";

/// The longest that one case may take. The suite gives up earlier by itself.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listener"] => listen().await,
        ["sender", port] => send(port.parse().context("the port is a number")?).await,
        _ => bail!("autobahn_peer listener, or autobahn_peer sender PORT"),
    }
}

/// A relay and a listener.
async fn listen() -> Result<()> {
    let relay = LocalRelay::builder().anonymous(true).start().await?;
    let listener = hybridrelay::listen(relay.connection_string(ENTITY)).await?;
    let serving = async {
        while let Some(Incoming::Connect(connect)) = listener.accept().await? {
            tokio::spawn(async move {
                // A violation is what most cases are about: it ends the connection, and the suite judges how.
                if let Ok(connection) = connect.accept().await {
                    let _ = echo(&connection).await;
                }
            });
        }
        bail!("the listener has ended")
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", relay.local_addr().port())?;
    stdout.flush()?;
    tokio::select! {
        ended = serving => ended,
        end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())) => {
            end??;
            Ok(())
        }
    }
}

/// A sender, for case after case.
async fn send(port: u16) -> Result<()> {
    let to = |path: &str| {
        let target = format!("http://127.0.0.1:{port}/{path}");
        Sender::builder(target.as_str()).env(anywhere()).build()
    };
    let count = to("getCaseCount")?.connect().await?;
    let Some(Message::Text(cases)) = count.receive().await? else {
        bail!("the suite did not say how many cases there are")
    };
    count.close().await?;
    let runner = to("runCase")?;
    for case in 1..=cases.parse::<u32>()? {
        let connection = runner.connect().query(format!("case={case}&agent={AGENT}")).open().await?;
        // As above.
        let echoed = tokio::time::timeout(PATIENCE, echo(&connection)).await;
        let _ = echoed.with_context(|| format!("case {case} does not end"))?;
    }
    let reports = to("updateReports")?.connect().query(format!("agent={AGENT}")).open().await?;
    let end = reports.receive().await?;
    if end.is_some() {
        bail!("the suite said something else than goodbye");
    }
    reports.close().await?;
    Ok(())
}

async fn echo(connection: &Connection) -> hybridrelay::Result<()> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    connection.close().await
}
