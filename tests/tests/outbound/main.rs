//! Neither a listener nor a sender needs an open port: both run behind firewalls that let nothing in, and out only to the relay.
//!
//! Three network namespaces stand for three hosts. The relay's has a link to each of the other two, which have none to each
//! other. Needs root.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::net::Ipv4Addr;

use hybridrelay_tests::netns::{Exit, Namespace};
use hybridrelay_tests::payload::{self, Kind};
use hybridrelay_tests::program::Program;
use serde_json::{Value, json};

/// Where the relay is reached from everywhere.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

const MIB: usize = 1 << 20;

/// A namespace and the program that runs in it. The program ends first.
struct Host {
    program: Program,
    namespace: Namespace,
    address: Ipv4Addr,
}

#[tokio::test]
async fn a_listener_and_a_sender_that_nobody_can_reach_meet_at_the_relay() {
    let relay = Host::new("relay", RELAY);
    relay.namespace.add_address(RELAY);
    let listener = Host::linked_to(&relay, "listener", 1);
    let sender = Host::linked_to(&relay, "sender", 2);
    let serving = relay.ask(json!({"do": "relay", "address": RELAY, "key": "the key of this test"}), "serving").await;
    let exit = Exit { address: RELAY, port: port_of(&serving) };
    let target = |verb: &str| {
        let mut command = serving.clone();
        command["do"] = json!(verb);
        command
    };
    for host in [&listener, &sender] {
        host.close_but(exit, &relay).await;
    }

    listener.ask(target("listen"), "online").await;
    let dropped = [&listener, &sender].map(|host| host.namespace.dropped());
    tokio::join!(listener.ask(json!({"do": "accept"}), "accepted"), sender.ask(target("connect"), "connected"));
    for (from, to) in [(&sender, &listener), (&listener, &sender)] {
        from.program.tell(json!({"do": "send", "size": MIB})).await;
        let received = to.ask(json!({"do": "receive"}), "received").await;
        let expected = payload::digested(&payload::message(Kind::Binary, MIB));
        assert_eq!(received["message"], serde_json::to_value(expected).expect("JSON"));
    }

    // The listener's control channel and rendezvous, and the sender's connection: nothing else, and nothing else was tried.
    let relay_socket = format!("{}:{}", exit.address, exit.port);
    assert_eq!(listener.namespace.tcp_peers(), [&*relay_socket; 2]);
    assert_eq!(sender.namespace.tcp_peers(), [&*relay_socket]);
    for (host, before) in [&listener, &sender].into_iter().zip(dropped) {
        assert_eq!(host.namespace.waiting_sockets(), "");
        assert_eq!(host.namespace.dropped(), before);
    }

    let close = || json!({"do": "close"});
    tokio::join!(listener.ask(close(), "closed"), sender.ask(close(), "closed"));
    for host in [sender, listener, relay] {
        host.program.finish().await;
    }
}

impl Host {
    fn new(role: &str, address: Ipv4Addr) -> Self {
        let namespace = Namespace::create(role);
        // A proxy that serves this machine is no way out of there.
        let mut command = namespace.command(env!("CARGO_BIN_EXE_outbound-peer"));
        let program = Program::start(role, command.env("no_proxy", "*").env("NO_PROXY", "*"));
        Self { program, namespace, address }
    }

    /// A host whose only link, number `link`, leads to the relay's host.
    fn linked_to(relay: &Self, role: &str, link: u8) -> Self {
        let host = Self::new(role, Ipv4Addr::new(10, 77, link, 2));
        host.namespace.link(host.address, &relay.namespace, Ipv4Addr::new(10, 77, link, 1), relay.address);
        host
    }

    /// Puts the firewall up, and makes sure that it is the firewall that keeps everything out and in.
    async fn close_but(&self, exit: Exit, relay: &Self) {
        let at_relay = port_of(&relay.ask(json!({"do": "bind", "address": RELAY}), "bound").await);
        let here = port_of(&self.ask(json!({"do": "bind", "address": self.address}), "bound").await);
        assert!(self.namespace.waiting_sockets().contains(&here.to_string()), "what waits is seen");
        assert!(self.reaches(relay, at_relay).await && relay.reaches(self, here).await, "nothing is closed yet");

        self.namespace.close_but(exit);
        assert!(!self.reaches(relay, at_relay).await, "only the relay's port may be dialled");
        assert!(!relay.reaches(self, here).await, "nothing may come in");
        let dropped = self.namespace.dropped();
        assert!(dropped.outbound > 0 && dropped.inbound > 0, "{dropped:?}");
        for host in [relay, self] {
            host.ask(json!({"do": "unbind"}), "unbound").await;
        }
    }

    /// Whether a TCP connection to a port of another host can be opened.
    async fn reaches(&self, other: &Self, port: u16) -> bool {
        let address = format!("{}:{port}", other.address);
        self.ask(json!({"do": "reach", "address": address}), "tried").await["reached"] == true
    }

    async fn ask(&self, command: Value, answer: &str) -> Value {
        self.program.tell(command).await;
        self.program.expect(answer).await
    }
}

fn port_of(event: &Value) -> u16 {
    event["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
}
