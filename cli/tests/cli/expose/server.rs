//! A server that notes every byte of what it is asked, and answers with the target.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::harness::within;

pub(crate) struct Raw {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    /// Requests for `/held` wait until what they send here is dropped.
    held: tokio::sync::Mutex<mpsc::UnboundedReceiver<oneshot::Sender<()>>>,
    /// Ends with it.
    _serving: JoinSet<()>,
}

impl Raw {
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (hold, held) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn({
            let heads = heads.clone();
            async move {
                let mut visitors = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    visitors.spawn(serve(stream, heads.clone(), hold.clone()));
                }
            }
        });
        Self { address, heads, held: tokio::sync::Mutex::new(held), _serving: serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads that came so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request lines that came so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.heads().iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }

    /// A request for `/held` that has come. It is answered when this is dropped.
    pub(crate) async fn held(&self) -> oneshot::Sender<()> {
        within("a request", async { self.held.lock().await.recv().await }).await.expect("the server runs")
    }
}

async fn serve(
    stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
    hold: mpsc::UnboundedSender<oneshot::Sender<()>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await.ok()?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        if target == "/held" {
            let (sender, dropped) = oneshot::channel();
            hold.send(sender).ok()?;
            let _ = dropped.await;
        }
        let begin = if target == "/redirect" { "302 Found\r\nLocation: /elsewhere" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {begin}\r\nContent-Length: {}\r\n\r\n{target}", target.len());
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}
