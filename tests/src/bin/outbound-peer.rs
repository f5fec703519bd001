//! A program of the test `outbound` that runs in a network namespace: a relay, a listener, a sender, or somebody who tries the
//! firewall. Told what to do in lines of JSON, see `hybridrelay_tests::program`.

// Real sockets and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hybridrelay::env::Env;
use hybridrelay::{Connection, Incoming, Listener, Sender};
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{AutoCreate, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule};
use hybridrelay_tests::payload::{self, Kind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a connect may be unanswered before nothing is taken to be there. A veth link answers within a millisecond.
const SILENCE: Duration = Duration::from_secs(3);

const KEY_NAME: &str = "outbound";

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    /// Runs a relay at an address.
    Relay { address: IpAddr, key: String },
    /// Waits for TCP connections at an address.
    Bind { address: IpAddr },
    /// Ends that.
    Unbind,
    /// Tries to open a TCP connection.
    Reach { address: SocketAddr },
    /// Gets online as a listener.
    Listen(Target),
    /// Accepts the next sender.
    Accept,
    /// Opens a connection as a sender.
    Connect(Target),
    /// Sends a message.
    Send { size: usize },
    /// Receives a message.
    Receive,
    /// Closes the connection.
    Close,
}

#[derive(Deserialize)]
struct Target {
    connection_string: String,
    ca_pem: String,
}

/// What the program keeps between commands.
#[derive(Default)]
struct Peer {
    relay: Option<RelayHandle>,
    bound: Option<TcpListener>,
    listener: Option<Listener>,
    connection: Option<Connection>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut peer = Peer::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(event) = peer.obey(serde_json::from_str(&line)?).await? {
            println!("{event}");
        }
    }
    Ok(())
}

impl Peer {
    /// Carries a command out and returns what happened.
    async fn obey(&mut self, command: Command) -> Result<Option<Value>> {
        Ok(Some(match command {
            Command::Relay { address, key } => self.run_relay(address, key).await?,
            Command::Bind { address } => {
                let bound = TcpListener::bind((address, 0)).await?;
                let port = bound.local_addr()?.port();
                self.bound = Some(bound);
                json!({"event": "bound", "port": port})
            }
            Command::Unbind => {
                self.bound = None;
                json!({"event": "unbound"})
            }
            Command::Reach { address } => {
                let connected = tokio::time::timeout(SILENCE, TcpStream::connect(address)).await;
                json!({"event": "tried", "reached": matches!(connected, Ok(Ok(_)))})
            }
            Command::Listen(target) => {
                let listener = Listener::builder(target.connection_string).extra_ca_pem(target.ca_pem).open().await?;
                self.listener = Some(listener);
                json!({"event": "online"})
            }
            Command::Accept => {
                let listener = self.listener.as_ref().context("nobody listens")?;
                let Some(Incoming::Connect(sender)) = listener.accept().await? else { bail!("no sender came") };
                self.connection = Some(sender.accept().await?);
                json!({"event": "accepted"})
            }
            Command::Connect(target) => {
                let sender = Sender::builder(target.connection_string).extra_ca_pem(target.ca_pem).build()?;
                self.connection = Some(sender.connect().open().await?);
                json!({"event": "connected"})
            }
            Command::Send { size } => {
                self.connection()?.send(payload::message(Kind::Binary, size)).await?;
                return Ok(None);
            }
            Command::Receive => {
                let received = self.connection()?.receive().await?.context("the peer has closed")?;
                json!({"event": "received", "message": payload::digested(&received)})
            }
            Command::Close => {
                self.connection()?.close().await?;
                json!({"event": "closed"})
            }
        }))
    }

    async fn run_relay(&mut self, address: IpAddr, key: String) -> Result<Value> {
        let env = Env::system();
        let ca = DevCa::ephemeral(&env, &[address.to_string()])?;
        let namespace = Namespace::new("outbound")
            .with_rule(Rule::new(KEY_NAME, Rights::LISTEN_AND_SEND, &key))
            .with_auto_create(AutoCreate::default());
        let listen = ListenAddress::tls((address, 0).into(), ca.server_config());
        let relay = Relay::builder().listen(listen).store(MemoryStore::new([namespace])).env(env).build();
        let relay = relay.start().await?;
        let port = relay.local_addrs()[0].port();
        self.relay = Some(relay);
        let connection_string = format!(
            "Endpoint=sb://{address}:{port}/;SharedAccessKeyName={KEY_NAME};SharedAccessKey={key};EntityPath=hyco"
        );
        let ca_pem = ca.ca_pem();
        Ok(json!({"event": "serving", "port": port, "connection_string": connection_string, "ca_pem": ca_pem}))
    }

    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().context("nothing is connected")
    }
}
