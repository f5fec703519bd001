//! TLS connections that are cut inside a record: by a reset, or by an end of stream that nobody has announced.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use hybridrelay::{Connection, ErrorKind, Listener, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::faults::middle::{Ending, Middle};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO};

use crate::run;

/// A relay, somebody before it, and the connection string that leads past that one.
async fn relay_behind_a_middle() -> (LocalRelay, Middle, String) {
    let relay = setup::tls().await;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address: SocketAddr = free.local_addr().expect("it is bound");
    drop(free);
    let middle = Middle::start_here(address, relay.local_addr());
    let direct = format!("localhost:{}", relay.local_addr().port());
    let past_middle = relay.connection_string(HYCO).replace(&direct, &format!("localhost:{}", address.port()));
    (relay, middle, past_middle)
}

#[test]
fn a_connection_that_is_cut_inside_a_frame_fails_at_both_ends() {
    run(async {
        for ending in [Ending::Reset, Ending::End] {
            let (relay, middle, past_middle) = relay_behind_a_middle().await;
            let listener = setup::listener(&relay, HYCO).soon().await.expect("online");
            let sender = Sender::builder(past_middle.as_str()).extra_ca_pem(relay.ca_pem().expect("with TLS"));
            let (sent, accepted) = setup::meet(&sender.build().expect("good options"), &listener).await;
            accepted.send("whole").soon().await.expect("open");
            assert!(sent.receive().soon().await.expect("open").is_some());

            // One frame of 1 MiB, of which a third passes.
            middle.cut_after(300_000, ending);
            let (sending, received) = tokio::join!(accepted.send(vec![7; 1 << 20]), sent.receive().soon());
            drop(sending);
            fails(received, ending);
            fails(accepted.receive().soon().await, ending);
            setup::no_connection(&relay).await;
        }
    });
}

fn fails(received: hybridrelay::Result<Option<hybridrelay::Message>>, ending: Ending) {
    let error = received.expect_err("an end inside a frame is no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{ending:?}: {error}");
}

#[test]
fn a_listener_whose_handshake_or_channel_is_cut_tries_again_until_it_passes() {
    // Inside the relay's first record, the rest of its TLS handshake, and the answer to the request.
    let cuts = [1, 100, 300, 700].map(|bytes| [(bytes, Ending::Reset), (bytes, Ending::End)]);
    run(async {
        futures_util::future::join_all(cuts.into_iter().flatten().map(|(bytes, ending)| cut_a_listener(bytes, ending)))
            .await;
    });
}

async fn cut_a_listener(bytes: usize, ending: Ending) {
    let (relay, middle, past_middle) = relay_behind_a_middle().await;
    let builder = Listener::builder(past_middle.as_str()).extra_ca_pem(relay.ca_pem().expect("with TLS"));
    let listener = builder.soon().await.expect("online");
    let before = middle.cuts();
    middle.cut_after(bytes, ending);
    relay.drop_control(HYCO);
    middle.cut_more_than(before).soon().await;
    middle.pass();
    let (sent, accepted) = retry(&setup::sender(&relay, HYCO).build().expect("good options"), &listener).await;
    sent.send("through").soon().await.expect("open");
    assert_eq!(accepted.receive().soon().await.expect("open"), Some("through".into()));
}

/// Joins the sender and the listener as soon as that is online again.
async fn retry(sender: &Sender, listener: &Listener) -> (Connection, Connection) {
    let accepting = async { setup::incoming(listener).await.accept().soon().await.expect("the rendezvous is open") };
    let connecting = async {
        loop {
            match sender.connect().soon().await {
                Ok(connection) => return connection,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoListeners, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::join!(connecting, accepting)
}
