//! From one to everybody: `publish subscribe` in any number of places, `publish say TEXT` in any other. The relay must be told that the
//! hybrid connection is one for events, as by `hybridrelay serve --dev --events NAME`; elsewhere one listener hears each publisher.

use anyhow::bail;
use hybridrelay::{Event, Sender, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["subscribe"] => subscribe().await,
        ["say", text] => say(text).await,
        _ => bail!("usage: publish subscribe | publish say TEXT"),
    }
}

async fn subscribe() -> anyhow::Result<()> {
    let listener = hybridrelay::listen(Target::from_environment()).await?;
    // Everything that any publisher says, as one sequence.
    let events = listener.events();
    println!("online");
    while let Some(event) = events.next().await? {
        match event {
            // A subscriber that does not keep up slows nobody down: it misses the oldest events, and is told.
            Event::Missed { count, .. } => eprintln!("{count} events were missed"),
            event => println!("{}", String::from_utf8_lossy(event.payload())),
        }
    }
    Ok(())
}

async fn say(text: &str) -> anyhow::Result<()> {
    let publisher = Sender::new(Target::from_environment())?.publisher().await?;
    publisher.publish(text).await?;
    // The relay has taken everything when this returns. Nobody needs to be listening.
    publisher.close().await?;
    Ok(())
}
