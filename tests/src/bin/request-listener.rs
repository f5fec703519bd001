//! A listener in a process of its own that never finishes an answer, to be killed in the midst of it.
//!
//! It listens where the environment says and tells on its standard output, in lines of JSON, that it is `online` and what it was
//! `asked`. A request for `/stream` gets the beginning of an answer; any other gets none.

#![allow(clippy::disallowed_methods)]

use std::io::Write;

use anyhow::Result;
use http::Response;
use hybridrelay::{Incoming, IncomingRequest, Listener, Target};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<()> {
    let listener = Listener::builder(Target::from_environment()).open().await?;
    say(&json!({"event": "online"}))?;
    while let Some(incoming) = listener.accept().await? {
        if let Incoming::Request(request) = incoming {
            tokio::spawn(hold(request));
        }
    }
    Ok(())
}

async fn hold(request: IncomingRequest) -> Result<()> {
    let path = request.path().to_owned();
    let (_request, responder) = request.into_parts();
    if path == "/stream" {
        let mut writer = responder.start(Response::new(()))?;
        writer.write("begun").await?;
        writer.flush().await?;
        say(&json!({"event": "asked", "path": path}))?;
        std::future::pending::<()>().await;
    }
    say(&json!({"event": "asked", "path": path}))?;
    std::future::pending().await
}

fn say(event: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{event}")?;
    out.flush()
}
