//! Lets others reach a TCP port near here: `forward-port listen HOST:PORT` beside the server, `forward-port connect` in any other place.

use anyhow::bail;
use hybridrelay::Target;
use tokio::io::{copy_bidirectional, join, stdin, stdout};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen", server] => listen(server).await,
        ["connect"] => connect().await,
        _ => bail!("usage: forward-port listen HOST:PORT | forward-port connect"),
    }
}

async fn listen(server: &str) -> anyhow::Result<()> {
    let listener = hybridrelay::listen(Target::from_environment()).await?;
    println!("online");
    // The server is dialled anew for each sender; one that is down gives the sender 502. `http://…` and `unix:…` work as well.
    listener.forward(format!("tcp://{server}")).await?;
    Ok(())
}

async fn connect() -> anyhow::Result<()> {
    // A connection carries messages; as a stream of bytes it is like a TCP connection, and each direction ends by itself.
    let mut server = hybridrelay::connect(Target::from_environment()).await?.into_stream()?;
    let mut terminal = join(stdin(), stdout());
    copy_bidirectional(&mut terminal, &mut server).await?;
    Ok(())
}
