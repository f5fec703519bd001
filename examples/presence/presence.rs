//! Tells how many listeners are online: `presence watch` prints it now, and whenever it changes.

use anyhow::bail;
use hybridrelay::{Sender, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["watch"] => watch().await,
        _ => bail!("usage: presence watch"),
    }
}

async fn watch() -> anyhow::Result<()> {
    let sender = Sender::new(Target::from_environment())?;
    // A relay that does not tell, such as Azure's, makes this `Unsupported`. Afterwards a lost network is no error: the watcher follows
    // again by itself.
    let mut watcher = sender.presence().await?;
    let mut count = watcher.current().count;
    println!("{count} online");
    // What is skipped is only what was over before we looked: the newest always comes.
    while let Some(presence) = watcher.changed().await {
        if presence.count != count {
            count = presence.count;
            println!("{count} online");
        }
    }
    Ok(())
}
