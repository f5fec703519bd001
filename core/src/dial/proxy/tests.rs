//! Handshakes against proxies that say what a test wants them to say.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::dial::ClientTls;
use crate::env::BoxSocket;
use crate::{Error, ErrorKind};

/// A proxy on loopback that serves one connection by `script`; gives its port and what the script returns.
async fn proxy<T, F>(script: impl FnOnce(BoxSocket) -> F + Send + 'static) -> (u16, oneshot::Receiver<T>)
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let env = Env::system();
    let mut acceptor = env.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = acceptor.local_addr().port();
    let (done, outcome) = oneshot::channel();
    env.spawn(async move {
        let socket = acceptor.accept().await.unwrap();
        let _ = done.send(script(socket).await);
    });
    (port, outcome)
}

/// Reads an HTTP request's head.
async fn head(socket: &mut BoxSocket) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn expect(socket: &mut BoxSocket, bytes: &[u8]) {
    let mut seen = vec![0; bytes.len()];
    socket.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, bytes);
}

async fn open(url: &str, target: &str) -> Result<BoxSocket> {
    let server = ProxyServer::parse(url, None).unwrap();
    server.open(&Env::system(), &ClientTls::default(), &DialTarget::parse(target).unwrap()).await
}

/// Opens through a proxy that answers every CONNECT so.
async fn open_answered(user_info: &str, answer: &'static str) -> Result<BoxSocket> {
    let (port, _) = proxy(move |mut socket| async move {
        head(&mut socket).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    open(&format!("http://{user_info}127.0.0.1:{port}"), "wss://relay.example.net/x?secret").await
}

async fn assert_is_a_tunnel(socket: &mut BoxSocket) {
    socket.write_all(b"ping").await.unwrap();
    expect(socket, b"pong").await;
}

async fn be_the_relay(mut socket: BoxSocket) {
    expect(&mut socket, b"ping").await;
    socket.write_all(b"pong").await.unwrap();
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_host_and_port_and_nothing_else() {
    let (port, asked) = proxy(|mut socket| async move {
        let asked = head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        be_the_relay(socket).await;
        asked
    })
    .await;
    let mut socket = open(&format!("http://127.0.0.1:{port}"), "wss://relay.example.net/x?secret").await.unwrap();
    assert_is_a_tunnel(&mut socket).await;
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("CONNECT relay.example.net:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: relay.example.net:443\r\n"), "{asked}");
    assert!(!asked.to_ascii_lowercase().contains("proxy-authorization") && !asked.contains("secret"), "{asked}");
}

#[tokio::test]
async fn an_http_proxy_gets_basic_credentials() {
    let (port, asked) = proxy(|mut socket| async move {
        let asked = head(&mut socket).await;
        socket.write_all(b"HTTP/1.0 200 Connection established\r\n\r\n").await.unwrap();
        be_the_relay(socket).await;
        asked
    })
    .await;
    let url = format!("http://Aladdin:open%20sesame@127.0.0.1:{port}");
    let mut socket = open(&url, "ws://[fd00::1]:8080/x").await.unwrap();
    assert_is_a_tunnel(&mut socket).await;
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("CONNECT [fd00::1]:8080 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{asked}");
}

#[tokio::test]
async fn a_407_is_a_typed_error_that_hides_the_password() {
    let answer = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno";
    for (user_info, hint) in [("ann:hunter2@", "check them"), ("", "give them")] {
        let error = open_answered(user_info, answer).await.err().unwrap();
        assert_eq!((error.kind(), error.kind().code()), (ErrorKind::ProxyAuthenticationRequired, 18));
        assert_eq!(error.reason(), Some("407 Who are you"));
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert!(!error.is_retryable());
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_401_to_connect_is_about_the_proxys_credentials() {
    let answer = "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Tinyproxy\"\r\n\r\n";
    let error = open_answered("ann:hunter2@", answer).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ProxyAuthenticationRequired);
    assert!(error.hint().unwrap().contains("check them"), "{error:?}");
}

#[tokio::test]
async fn a_407_that_wants_another_scheme_says_so() {
    let answer = "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate x\r\n\r\n";
    let error = open_answered("ann:hunter2@", answer).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ProxyAuthenticationRequired);
    assert!(error.hint().unwrap().contains("NTLM, Negotiate"), "{error:?}");
}

#[tokio::test]
async fn another_refusal_names_the_proxy_and_its_status() {
    let error = open_answered("", "HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n").await.err().unwrap();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Network, None));
    let text = error.to_string();
    assert!(text.starts_with("the proxy http://127.0.0.1:"), "{text}");
    assert!(text.ends_with(" does not connect to relay.example.net:443: 403 Filtered"), "{text}");
}

#[tokio::test]
async fn an_http_proxy_that_breaks_the_protocol_is_told_from_a_broken_network() {
    for (answer, kind) in [
        ("HTTP/1.1 200 OK\r\n\r\nHello", ErrorKind::Protocol),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", ErrorKind::Protocol),
        ("", ErrorKind::Network),
        ("HTTP/1.1 200 O", ErrorKind::Network),
    ] {
        let error = open_answered("", answer).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert!(error.to_string().contains("the proxy http://127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    // A port that was free a moment ago.
    let port = Env::system().bind(([127, 0, 0, 1], 0).into()).await.unwrap().local_addr().port();
    let error = open(&format!("http://127.0.0.1:{port}"), "wss://relay/x").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().starts_with(&format!("the proxy http://127.0.0.1:{port} cannot be reached")), "{error}");
}

/// SOCKS5 success, bound to 10.0.0.1:80.
const GRANTED: [u8; 10] = [5, 0, 0, 1, 10, 0, 0, 1, 0, 80];

#[tokio::test]
async fn socks5h_leaves_the_name_to_the_proxy() {
    let (port, done) = proxy(|mut socket| async move {
        expect(&mut socket, &[5, 1, 0]).await;
        socket.write_all(&[5, 0]).await.unwrap();
        expect(&mut socket, b"\x05\x01\x00\x03\x09localhost\x23\x28").await;
        socket.write_all(&GRANTED).await.unwrap();
        be_the_relay(socket).await;
    })
    .await;
    let mut socket = open(&format!("socks5h://127.0.0.1:{port}"), "ws://localhost:9000/x").await.unwrap();
    assert_is_a_tunnel(&mut socket).await;
    done.await.unwrap();
}

#[tokio::test]
async fn socks5_resolves_the_name_itself() {
    let (port, done) = proxy(|mut socket| async move {
        expect(&mut socket, &[5, 1, 0]).await;
        socket.write_all(&[5, 0]).await.unwrap();
        expect(&mut socket, &[5, 1, 0]).await;
        let address_type = socket.read_u8().await.unwrap();
        let mut address = vec![0; if address_type == 4 { 16 } else { 4 }];
        socket.read_exact(&mut address).await.unwrap();
        expect(&mut socket, &[0x23, 0x28]).await;
        socket.write_all(&GRANTED).await.unwrap();
        be_the_relay(socket).await;
        (address_type, address.ends_with(&[1]))
    })
    .await;
    let mut socket = open(&format!("socks5://127.0.0.1:{port}"), "ws://localhost:9000/x").await.unwrap();
    assert_is_a_tunnel(&mut socket).await;
    // 127.0.0.1 or ::1, as this machine has it.
    assert!(matches!(done.await.unwrap(), (1 | 4, true)));
}

#[tokio::test]
async fn a_socks_proxy_gets_user_and_password() {
    let (port, done) = proxy(|mut socket| async move {
        expect(&mut socket, &[5, 2, 0, 2]).await;
        socket.write_all(&[5, 2]).await.unwrap();
        expect(&mut socket, b"\x01\x03ann\x04p:w@").await;
        socket.write_all(&[1, 0]).await.unwrap();
        expect(&mut socket, b"\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb").await;
        socket.write_all(&GRANTED).await.unwrap();
        be_the_relay(socket).await;
    })
    .await;
    let mut socket = open(&format!("socks5h://ann:p%3Aw%40@127.0.0.1:{port}"), "wss://10.0.0.1/x").await.unwrap();
    assert_is_a_tunnel(&mut socket).await;
    done.await.unwrap();
}

/// Opens through a SOCKS proxy that gives these answers one after the other, each to one message.
async fn open_socks(user_info: &str, answers: &'static [&'static [u8]]) -> Error {
    let (port, _) = proxy(move |mut socket| async move {
        let mut message = [0; 512];
        for answer in answers {
            assert!(socket.read(&mut message).await.unwrap() > 0);
            socket.write_all(answer).await.unwrap();
        }
    })
    .await;
    open(&format!("socks5h://{user_info}127.0.0.1:{port}"), "wss://relay.example.net/x?secret").await.err().unwrap()
}

#[tokio::test]
async fn a_socks_proxy_that_wants_other_credentials_is_a_typed_error() {
    let scripts: [(&str, &[&[u8]]); 3] =
        [("", &[&[5, 0xff]]), ("ann:hunter2@", &[&[5, 0xff]]), ("ann:hunter2@", &[&[5, 2], &[1, 1]])];
    for (user_info, answers) in scripts {
        let error = open_socks(user_info, answers).await;
        assert_eq!(error.kind(), ErrorKind::ProxyAuthenticationRequired, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_socks_proxy_that_does_not_connect_is_named_with_its_reason() {
    let error = open_socks("", &[&[5, 0], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]]).await;
    assert_eq!(error.kind(), ErrorKind::Network);
    let text = error.to_string();
    assert!(text.starts_with("the proxy socks5h://127.0.0.1:"), "{text}");
    assert!(text.ends_with("does not connect to relay.example.net:443: Connection not allowed by ruleset"), "{text}");
}

#[tokio::test]
async fn something_else_than_a_socks_proxy_is_a_protocol_error() {
    assert_eq!(open_socks("", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await.kind(), ErrorKind::Protocol);
    assert_eq!(open_socks("", &[&[5]]).await.kind(), ErrorKind::Network);
}

#[test]
fn a_proxy_shows_itself_without_its_credentials() {
    assert_eq!(format!("{:?}", Proxy::url("http://ann:hunter2@p:1").unwrap()), "Proxy(http://p:1)");
    assert_eq!(format!("{:?}", Proxy::default()), "Proxy(environment)");
    assert_eq!(format!("{:?}", Proxy::none()), "Proxy(none)");
}
