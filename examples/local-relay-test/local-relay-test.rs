//! A relay inside a test: no server to start, no address to configure, nothing left behind. Prints `passed`.

use anyhow::{Context, ensure};
use hybridrelay::{Incoming, Message};
use hybridrelay_relay::LocalRelay;

// In a project of yours: `#[tokio::test] async fn greets()`.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // On a free port of 127.0.0.1. It ends when it is dropped.
    let relay = LocalRelay::start().await?;
    // A hybrid connection of this name comes to be when somebody listens on it.
    let connection_string = relay.connection_string("greetings");

    // What is tested: here a listener that greets.
    let listener = hybridrelay::listen(&connection_string).await?;
    let greeter = tokio::spawn(async move {
        if let Some(Incoming::Connect(connect)) = listener.accept().await? {
            let connection = connect.accept().await?;
            connection.send("welcome").await?;
            connection.close().await?;
        }
        Ok::<_, hybridrelay::Error>(())
    });

    // The other side of the conversation, played by the test.
    let connection = hybridrelay::connect(&connection_string).await?;
    let greeting = connection.receive().await?.context("the listener has ended without a greeting")?;
    ensure!(greeting == Message::from("welcome"), "{greeting:?}");
    ensure!(connection.receive().await?.is_none(), "only one greeting was expected");
    connection.close().await?;
    greeter.await??;
    println!("passed");
    Ok(())
}
