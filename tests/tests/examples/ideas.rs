//! Each idea: a listener in every language, and a sender of every language at each of them.

use hybridrelay_relay::{Distribution, Entity, EventSettings, LocalRelay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::language::{Example, Language};
use crate::run::{Running, failure, output};

/// A conversation of two programs, which is the same in every language.
struct Conversation<'a> {
    idea: &'a str,
    /// What the listener is started with. It prints `online`.
    listen: &'a [&'a str],
    /// What the sender is started with.
    send: &'a [&'a str],
    /// What the sender reads.
    input: &'a str,
    /// What the sender prints.
    sent: &'a str,
    /// What the listener prints then.
    heard: Option<&'a str>,
    /// Languages without a listener.
    only_send: &'a [Language],
}

impl Default for Conversation<'_> {
    fn default() -> Self {
        Self { idea: "", listen: &["listen"], send: &[], input: "", sent: "", heard: None, only_send: &[] }
    }
}

/// An idea's programs.
async fn programs(idea: &str) -> Vec<Example> {
    let mut programs = Vec::new();
    for language in Language::of(idea) {
        programs.push(Example::new(idea, language).await);
    }
    assert!(!programs.is_empty(), "{idea} is told in no language");
    programs
}

impl Conversation<'_> {
    async fn holds(&self, connection_string: &str) {
        let programs = programs(self.idea).await;
        for listens in programs.iter().filter(|program| !self.only_send.contains(&program.language)) {
            let mut listener = Running::start(listens.command(connection_string).args(self.listen));
            listener.prints("online").await;
            for sends in &programs {
                let printed = output(sends.command(connection_string).args(self.send), self.input).await;
                assert_eq!(printed, self.sent, "{:?} listens, {:?} sends", listens.language, sends.language);
                if let Some(line) = self.heard {
                    listener.prints(line).await;
                }
            }
        }
    }
}

async fn relay() -> LocalRelay {
    LocalRelay::start().await.expect("a free port")
}

#[tokio::test]
async fn every_echo_answers_every_sender() {
    let echo = Conversation { idea: "echo", send: &["send", "grüße"], sent: "grüße\n", ..Conversation::default() };
    echo.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn every_sender_is_told_why_it_was_rejected() {
    let reject = Conversation {
        idea: "reject",
        send: &["connect"],
        sent: "rejected: 410 closed for today\n",
        heard: Some("rejected a sender with the path '/door'"),
        // The command has no option that rejects.
        only_send: &[Language::Shell],
        ..Conversation::default()
    };
    reject.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn every_listener_answers_requests_of_every_sender() {
    let hello = Conversation {
        idea: "http-hello",
        send: &["get", "Ada"],
        sent: "Hello, Ada!\n",
        // The command hands requests to a server that is there already.
        only_send: &[Language::Shell],
        ..Conversation::default()
    };
    hello.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn grpc_goes_over_a_relayed_stream() {
    let grpc = Conversation {
        idea: "grpc-hello",
        send: &["say", "Ada", "Grace"],
        sent: "Hello, Ada!\nHello, Grace!\n",
        ..Conversation::default()
    };
    grpc.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn thrift_goes_over_a_relayed_stream() {
    let thrift = Conversation {
        idea: "thrift-hello",
        send: &["say", "Ada", "Grace"],
        sent: "Hello, Ada!\nHello, Grace!\n",
        ..Conversation::default()
    };
    thrift.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn every_sender_reaches_the_port_beside_every_listener() {
    let server = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = server.local_addr().expect("it is bound").to_string();
    // Says what it heard when it has heard everything: both directions end by themselves.
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut heard = String::from("heard: ");
                socket.read_to_string(&mut heard).await?;
                socket.write_all(heard.as_bytes()).await
            });
        }
    });
    let forward = Conversation {
        idea: "forward-port",
        listen: &["listen", &address],
        send: &["connect"],
        input: "a line\nand another\n",
        sent: "heard: a line\nand another\n",
        ..Conversation::default()
    };
    forward.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn every_subscriber_hears_every_publisher() {
    let relay = relay().await;
    let entity =
        Entity::new("events".parse().expect("a name")).with_distribution(Distribution::All(EventSettings::default()));
    assert!(relay.store().put_entity(relay.namespace(), entity));
    let publish = Conversation {
        idea: "publish",
        listen: &["subscribe"],
        send: &["say", "front door opened"],
        heard: Some("front door opened"),
        ..Conversation::default()
    };
    publish.holds(&relay.connection_string("events")).await;
}

#[tokio::test]
async fn a_token_of_every_language_lets_a_sender_of_every_other_in() {
    let relay = relay().await;
    let connection_string = relay.connection_string("hyco");
    // The sender's has no key.
    let without_key = connection_string.split(';').filter(|part| !part.starts_with("SharedAccess"));
    let without_key = without_key.collect::<Vec<_>>().join(";");
    let echo = Example::new("echo", Language::Rust).await;
    let mut listener = Running::start(echo.command(&connection_string).arg("listen"));
    listener.prints("online").await;

    let programs = programs("token").await;
    for creates in &programs {
        let token = output(creates.command(&connection_string).arg("create"), "").await;
        for sends in &programs {
            let printed = output(sends.command(&without_key).args(["send", token.trim_end(), "hello"]), "").await;
            assert_eq!(printed, "hello\n", "{:?} creates, {:?} sends", creates.language, sends.language);
        }
    }
}

#[tokio::test]
async fn every_watcher_sees_listeners_come_and_go() {
    let relay = relay().await;
    let connection_string = relay.connection_string("hyco");
    // It exists from its first listener on.
    drop(hybridrelay::listen(&connection_string).await.expect("online"));
    let mut online = relay.watch_listeners("hyco");
    for program in programs("presence").await {
        online.wait_for(|count| *count == 0).await.expect("the relay lives");
        let mut watcher = Running::start(program.command(&connection_string).arg("watch"));
        watcher.prints("0 online").await;
        let listener = hybridrelay::listen(&connection_string).await.expect("online");
        watcher.prints("1 online").await;
        listener.close().await;
        watcher.prints("0 online").await;
    }
}

#[tokio::test]
async fn a_test_with_a_relay_of_its_own_passes_in_every_language() {
    for program in programs("local-relay-test").await {
        assert_eq!(output(program.command("").env_remove("HYBRIDRELAY_CONNECTION_STRING"), "").await, "passed\n");
    }
}

#[tokio::test]
async fn a_program_that_cannot_do_it_says_why_and_fails() {
    let relay = relay().await;
    let nowhere = relay.connection_string("nowhere");
    for (idea, arguments) in [
        ("echo", &["send", "hello"][..]),
        ("http-hello", &["get", "Ada"]),
        ("forward-port", &["connect"]),
        ("reject", &["connect"]),
        ("presence", &["watch"]),
        ("publish", &["say", "hello"]),
        ("thrift-hello", &["say", "Ada"]),
    ] {
        for program in programs(idea).await {
            // Nobody has ever listened there.
            let said = failure(program.command(&nowhere).args(arguments)).await;
            assert!(
                said.contains("nowhere") && !said.contains(relay.key()),
                "{idea} in {:?}: {said}",
                program.language
            );
            let said = failure(program.command(&nowhere).arg("fly")).await;
            assert!(said.contains("usage: "), "{idea} in {:?}: {said}", program.language);
        }
    }
}
