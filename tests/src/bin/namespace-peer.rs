//! A program for machines behind a firewall. The connection string is in `HYBRIDRELAY_CONNECTION_STRING`; what happens is told in
//! lines of JSON.
//!
//! - `round-trip`: listens, connects to itself, sends a payload there and back, and tells `ok` or the error.
//! - `echo`: listens without keep-alive, tells `online`, and sends everything back until it is killed.
//!
//! Options: `--proxy URL` or `--proxy none`, `--ca FILE`.

// A program of its own: no simulated environment reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hybridrelay::{Connection, Incoming, Listener, ListenerBuilder, Message, Proxy, Sender, SenderBuilder, Target};
use serde_json::json;

/// Longer than any proxy's buffer.
const PAYLOAD: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().context("round-trip or echo?")?;
    let mut options = Options::default();
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} wants a value"))?;
        match (option.as_str(), value.as_str()) {
            ("--proxy", "none") => options.proxy = Some(Proxy::none()),
            ("--proxy", url) => options.proxy = Some(Proxy::url(url)?),
            ("--ca", file) => options.ca_pem = Some(fs::read(file)?),
            _ => bail!("{option} is not known"),
        }
    }
    match task.as_str() {
        "round-trip" => round_trip(&options).await,
        "echo" => echo(&options).await,
        _ => bail!("{task} is not known"),
    }
}

#[derive(Default)]
struct Options {
    proxy: Option<Proxy>,
    ca_pem: Option<Vec<u8>>,
}

impl Options {
    fn listener(&self) -> ListenerBuilder {
        let builder = Listener::builder(Target::from_environment()).proxy(self.proxy.clone().unwrap_or_default());
        match &self.ca_pem {
            Some(pem) => builder.extra_ca_pem(pem.clone()),
            None => builder,
        }
    }

    fn sender(&self) -> SenderBuilder {
        let builder = Sender::builder(Target::from_environment()).proxy(self.proxy.clone().unwrap_or_default());
        match &self.ca_pem {
            Some(pem) => builder.extra_ca_pem(pem.clone()),
            None => builder,
        }
    }
}

async fn round_trip(options: &Options) -> Result<()> {
    let listener = match options.listener().open().await {
        Ok(listener) => listener,
        Err(error) => return tell_error("listen", &error),
    };
    let echoing = tokio::spawn(echo_senders(listener.clone()));
    let sender = options.sender().build()?;
    match exchange(&sender).await {
        Ok(()) => println!("{}", json!({ "event": "ok" })),
        Err(error) => match error.downcast_ref::<hybridrelay::Error>() {
            Some(error) => tell_error("connect", error)?,
            None => return Err(error),
        },
    }
    listener.close().await;
    echoing.await?
}

/// Sends the payload through the relay and back.
async fn exchange(sender: &Sender) -> Result<()> {
    let connection = sender.connect().await?;
    let payload: Bytes = (0..PAYLOAD).map(|index| (index % 251) as u8).collect();
    let (sent, received) = tokio::join!(connection.send(payload.clone()), connection.receive());
    sent?;
    ensure!(received? == Some(Message::Binary(payload)), "something else came back");
    connection.close().await?;
    Ok(())
}

async fn echo(options: &Options) -> Result<()> {
    let listener = options.listener().keep_alive(None).open().await?;
    println!("{}", json!({ "event": "online" }));
    echo_senders(listener).await
}

async fn echo_senders(listener: Listener) -> Result<()> {
    while let Some(incoming) = listener.accept().await? {
        if let Incoming::Connect(connect) = incoming {
            let connection = connect.accept().await?;
            tokio::spawn(echo_messages(connection));
        }
    }
    Ok(())
}

async fn echo_messages(connection: Connection) -> Result<()> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    connection.close().await?;
    Ok(())
}

fn tell_error(step: &str, error: &hybridrelay::Error) -> Result<()> {
    let kind = format!("{:?}", error.kind());
    println!(
        "{}",
        json!({ "event": "error", "step": step, "kind": kind, "code": error.kind().code(),
                "message": error.to_string(), "debug": format!("{error:?}") })
    );
    Ok(())
}
