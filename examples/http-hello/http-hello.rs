//! Answers HTTP requests without an open port: `http-hello listen` in one place, `http-hello get NAME` in any other.

use anyhow::{bail, ensure};
use http::{Request, Response};
use hybridrelay::{Incoming, IncomingRequest, Sender, Target};

/// The longest answer that is taken.
const LONGEST: usize = 64 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen"] => listen().await,
        ["get", name] => get(name).await,
        _ => bail!("usage: http-hello listen | http-hello get NAME"),
    }
}

async fn listen() -> anyhow::Result<()> {
    let listener = hybridrelay::listen(Target::from_environment()).await?;
    println!("online");
    while let Some(incoming) = listener.accept().await? {
        // WebSockets, which this program does not serve, are refused by being dropped.
        if let Incoming::Request(request) = incoming {
            tokio::spawn(async move {
                if let Err(error) = answer(request).await {
                    eprintln!("a request was not answered: {error}");
                }
            });
        }
    }
    Ok(())
}

async fn answer(request: IncomingRequest) -> hybridrelay::Result<()> {
    let (request, responder) = request.into_parts();
    // The path is what stands behind the name of the hybrid connection, as the sender wrote it.
    let name = request.uri().path().trim_start_matches('/');
    // `Response` is the one of the crate `http`: status, headers and a body, which may also be a stream.
    responder.send(Response::new(format!("Hello, {name}!\n"))).await
}

async fn get(name: &str) -> anyhow::Result<()> {
    let sender = Sender::new(Target::from_environment())?;
    let response = sender.request(Request::get(format!("/{name}")).body(())?).await?;
    // Whatever a listener answers is no error of ours, but what the relay itself refuses is one: `NoListeners`, for instance.
    ensure!(response.status().is_success(), "the listener answered {}", response.status());
    let text = response.into_body().bytes(LONGEST).await?;
    print!("{}", String::from_utf8_lossy(&text));
    Ok(())
}
