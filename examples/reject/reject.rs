//! Lets nobody in: `reject listen` in one place, and `reject connect`, which tells why not, in any other.

use anyhow::bail;
use hybridrelay::{ErrorKind, Incoming, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen"] => listen().await,
        ["connect"] => connect().await,
        _ => bail!("usage: reject listen | reject connect"),
    }
}

async fn listen() -> anyhow::Result<()> {
    let listener = hybridrelay::listen(Target::from_environment()).await?;
    println!("online");
    while let Some(incoming) = listener.accept().await? {
        if let Incoming::Connect(connect) = incoming {
            // What a listener would decide by: the path, the headers and the address of who asks.
            let path = connect.path().to_owned();
            // An HTTP status of your own and a reason, which the sender sees. It gets no connection.
            match connect.reject(410, "closed for today").await {
                Ok(()) => println!("rejected a sender with the path '{path}'"),
                // The sender may have gone by itself; that must not end the listener.
                Err(error) => eprintln!("a sender could not be told: {error}"),
            }
        }
    }
    Ok(())
}

async fn connect() -> anyhow::Result<()> {
    let sender = hybridrelay::Sender::new(Target::from_environment())?;
    match sender.connect().path("/door").await {
        Ok(_) => bail!("the listener let us in"),
        // The kind tells a listener that refuses from a relay that cannot be reached.
        Err(error) if error.kind() == ErrorKind::Rejected => {
            println!("rejected: {} {}", error.status().unwrap_or_default(), error.reason().unwrap_or_default());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
