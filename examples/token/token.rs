//! Lets somebody send for an hour who has no key: `token create` where the key is, `token send TOKEN TEXT` where it is not.
//! A listener of the example `echo` answers.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use hybridrelay::token::SasToken;
use hybridrelay::{ConnectionString, Sender, TokenProvider};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let text = std::env::var("HYBRIDRELAY_CONNECTION_STRING").context("HYBRIDRELAY_CONNECTION_STRING is not set")?;
    let connection_string: ConnectionString = text.parse()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["create"] => create(&connection_string),
        ["send", token, text] => send(&connection_string, token, text).await,
        _ => bail!("usage: token create | token send TOKEN TEXT"),
    }
}

fn create(connection_string: &ConnectionString) -> anyhow::Result<()> {
    let name = connection_string.key_name().context("the connection string holds no key")?;
    let key = connection_string.key().context("the connection string holds no key")?;
    // What the token is good for: this hybrid connection and nothing else of the namespace.
    let audience = connection_string.address()?.audience();
    let expires_at = SystemTime::now() + Duration::from_secs(60 * 60);
    // Whoever has the token may do what the key's rule allows. Take a rule that may send and no more.
    println!("{}", SasToken::create(&audience, name, key, expires_at).to_text());
    Ok(())
}

async fn send(connection_string: &ConnectionString, token: &str, text: &str) -> anyhow::Result<()> {
    // The address alone: a key that the connection string may hold is not used.
    let sender = Sender::builder(connection_string.address()?).credential(TokenProvider::ready_made(token)?).build()?;
    let connection = sender.connect().await?;
    connection.send(text).await?;
    let reply = connection.receive().await?.context("the listener has ended without an answer")?;
    println!("{}", reply.as_text().context("the answer is no text")?);
    connection.close().await?;
    Ok(())
}
