//! An HTTP proxy that makes tunnels and counts them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// A proxy on loopback; ends when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    tunnels: Arc<AtomicUsize>,
    /// Ends every tunnel there is.
    cut: broadcast::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let tunnels = Arc::new(AtomicUsize::new(0));
        let cut = broadcast::Sender::new(1);
        let (counted, cutting) = (tunnels.clone(), cut.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counted, mut cut) = (counted.clone(), cutting.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tunnel(client, counted) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Ok(Self { address, tunnels, cut, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every tunnel, as a network that fails does.
    pub(super) fn cut(&self) {
        // Nobody listens where there are none.
        let _ = self.cut.send(());
    }

    /// How many tunnels it has made.
    pub(super) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(client: TcpStream, counted: Arc<AtomicUsize>) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).context("not CONNECT")?;
    let mut server = TcpStream::connect(target).await?;
    counted.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
