//! A download that nobody reads holds nobody else up.

use http::Request;
use hybridrelay::{Body, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Process, Relay, noise, sha256, within};

/// More than all buffers on the way together.
const SIZE: usize = 48 << 20;

/// Answers every visitor with all of it.
async fn serve(listener: TcpListener, data: bytes::Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, data.clone()));
    }
}

async fn answer(mut stream: TcpStream, data: bytes::Bytes) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let begin = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", data.len());
    stream.write_all(begin.as_bytes()).await?;
    stream.write_all(&data).await
}

#[tokio::test]
async fn a_large_download_passes_another_that_is_stalled() {
    let relay = Relay::start().await;
    let data = bytes::Bytes::from(noise(SIZE));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, data.clone()));
    let _exposed = relay.expose(&["web", &url]).await;

    // In a process of its own, whose output nobody reads behind its first bytes.
    let mut stalled = Process::start(&mut relay.request(&["web/stalled"]));
    assert_eq!(stalled.read(1000).await, data[..1000]);

    // One that travels alone, and one on the connection of the one that reads, which is HTTP/2.
    let ca = std::fs::read(relay.ca_file()).unwrap();
    let sender = Sender::builder(relay.connection_string()).entity("web").extra_ca_pem(ca).build().unwrap();
    let get = || Request::get("/").body(Body::empty()).unwrap();
    let mut neighbours = Vec::new();
    for _ in 0..2 {
        let mut neighbour = within("an answer", sender.request(get())).await.unwrap().into_body();
        let first = within("a chunk", neighbour.chunk()).await.unwrap().unwrap();
        neighbours.push((neighbour, first));
    }

    let response = within("an answer", sender.request(get())).await.unwrap();
    let whole = within("all of it", response.into_body().bytes(SIZE)).await.unwrap();
    assert_eq!(sha256(&whole), sha256(&data));

    // Those that were stalled go on where they were.
    for (neighbour, first) in neighbours {
        let rest = within("the rest", neighbour.bytes(SIZE)).await.unwrap();
        assert_eq!(sha256(&[first, rest].concat()), sha256(&data));
    }
    assert_eq!(sha256(&stalled.rest().await), sha256(&data[1000..]));
}
