//! Sends back whatever comes: `echo listen` in one place, `echo send TEXT` in any other.

use anyhow::{Context, bail};
use hybridrelay::{Incoming, IncomingConnect, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen"] => listen().await,
        ["send", text] => send(text).await,
        _ => bail!("usage: echo listen | echo send TEXT"),
    }
}

async fn listen() -> anyhow::Result<()> {
    // The connection string is the one in HYBRIDRELAY_CONNECTION_STRING. This returns when the relay knows of the listener.
    let listener = hybridrelay::listen(Target::from_environment()).await?;
    println!("online");
    // A lost network is no error here: the listener comes back by itself.
    while let Some(incoming) = listener.accept().await? {
        // HTTP requests, which this program does not serve, are refused by being dropped.
        if let Incoming::Connect(connect) = incoming {
            // A task for each sender, so that a slow one keeps nobody else waiting.
            tokio::spawn(async move {
                if let Err(error) = echo(connect).await {
                    eprintln!("a sender was lost: {error}");
                }
            });
        }
    }
    Ok(())
}

async fn echo(connect: IncomingConnect) -> hybridrelay::Result<()> {
    let connection = connect.accept().await?;
    // `None` is the sender's orderly end; a connection that breaks is an error instead.
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    connection.close().await
}

async fn send(text: &str) -> anyhow::Result<()> {
    let connection = hybridrelay::connect(Target::from_environment()).await?;
    connection.send(text).await?;
    let reply = connection.receive().await?.context("the listener has ended without an answer")?;
    println!("{}", reply.as_text().context("the answer is no text")?);
    // Dropped without this, the connection would be aborted, and the listener would see an error.
    connection.close().await?;
    Ok(())
}
