//! Who is trusted, and what is said when nobody can be.

use std::sync::Arc;
use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::{ErrorKind, Listener, Sender};
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{Config, ListenAddress, LocalRelay, Relay};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::FakeRelay;
use hybridrelay_tests::wire::setup::{self, HYCO};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn an_authority_that_nobody_trusts_is_a_tls_error_with_a_way_out() {
    let relay = setup::tls().await;
    let other = setup::tls().await;
    let text = relay.connection_string(HYCO);
    for builder in [Sender::builder(&text), Sender::builder(&text).extra_ca_pem(other.ca_pem().unwrap())] {
        let error = builder.build().unwrap().connect().soon().await.unwrap_err();
        assert_eq!((error.kind(), error.status(), error.is_retryable()), (ErrorKind::Tls, None, false), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("extra_ca_pem")), "{error:?}");
        assert!(error.reason().is_some_and(|reason| reason.contains("certificate")), "{error:?}");
    }
    let error = Listener::builder(&text).soon().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
}

#[tokio::test]
async fn several_authorities_may_be_trusted_and_all_add_to_the_platforms() {
    let (one, other) = (setup::tls().await, setup::tls().await);
    for relay in [&one, &other] {
        let builder = Listener::builder(relay.connection_string(HYCO)).extra_ca_pem(one.ca_pem().unwrap());
        builder.extra_ca_pem(other.ca_pem().unwrap()).soon().await.unwrap();
        let both = [one.ca_pem().unwrap(), other.ca_pem().unwrap()].concat();
        Listener::builder(relay.connection_string(HYCO)).extra_ca_pem(both).soon().await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let ca = DevCa::ephemeral(&Env::system(), &[]).unwrap();
    let address = ListenAddress::tls(([127, 0, 0, 2], 0).into(), ca.server_config());
    let relay = Relay::builder().listen(address).build().start().soon().await.unwrap();
    let sender = Sender::builder(format!("sb://{}/hyco", relay.local_addrs()[0])).extra_ca_pem(ca.ca_pem()).build();
    let error = sender.unwrap().connect().soon().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.reason().is_some_and(|reason| reason.contains("name")), "{error:?}");
}

#[tokio::test]
async fn trust_can_be_switched_off_or_taken_over_by_the_program() {
    let relay = setup::tls().await;
    let text = relay.connection_string(HYCO);
    let listener = Listener::builder(&text).insecure_skip_verify(true).soon().await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let pem = relay.ca_pem().unwrap().as_bytes();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let sender = Sender::builder(&text).tls_config(config).build().unwrap();
    let (sender, accepted) = setup::meet(&sender, &listener).await;
    sender.send("trusted").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("trusted".into()));
}

#[tokio::test]
async fn a_plain_port_and_a_tls_port_are_told_apart() {
    let (plain, tls) = (setup::plain().await, setup::tls().await);
    let error = Sender::new(format!("sb://{}/hyco", plain.local_addr())).unwrap().connect().soon().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("plain")), "{error:?}");
    let error = Sender::new(format!("http://{}/hyco", tls.local_addr())).unwrap().connect().soon().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Network), "{error:?}");
    // A port that ends the connection at once is no matter of trust.
    let fake = FakeRelay::start().await;
    let sender = Sender::new(format!("sb://{}/hyco", fake.authority())).unwrap();
    let (connected, ()) = tokio::join!(sender.connect().soon(), async { fake.hang_up().await });
    let error = connected.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Network, true), "{error:?}");
}

#[tokio::test]
async fn a_rendezvous_in_plain_text_is_not_dialled_from_a_protected_channel() {
    let elsewhere = FakeRelay::start().await;
    let public_url = Some(format!("http://{}", elsewhere.authority()).parse().unwrap());
    let mut config = Config { public_url, ..Config::default() };
    config.timings.accept = Duration::from_millis(300);
    let relay = LocalRelay::builder().tls(true).config(config).start().soon().await.unwrap();
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let error = tokio::select! {
        connected = sender.connect().soon() => connected.unwrap_err(),
        incoming = listener.accept() => panic!("it reached the program: {incoming:?}"),
        _ = elsewhere.visitor() => panic!("it was dialled"),
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(listener.status().current().is_online());
}

#[tokio::test]
async fn a_relay_is_not_impressed_by_peers_that_do_not_speak_tls() {
    let relay = setup::tls().await;
    let mut sockets = Vec::new();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xFF\xFF", b""] {
        let mut socket = tokio::net::TcpStream::connect(relay.local_addr()).soon().await.unwrap();
        socket.write_all(bytes).soon().await.unwrap();
        sockets.push(socket);
    }
    setup::listener(&relay, HYCO).soon().await.unwrap();
}
