//! A relay with a configuration file that is read again: on SIGHUP, and when certificates and key files change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hybridrelay::{Connection, Incoming, Listener, Sender, Status};

use crate::harness::{command, run, within};
use crate::serve_file::{Authority, FileRelay, PLAIN, TLS, write};

/// Told when the file was applied.
const APPLIED: &str = "the configuration file was read again and applied";

/// Told when certificates and keys were.
const TAKEN_UP: &str = "certificates and keys were read again and applied";

/// Rights that are lost are lost at once.
const AT_ONCE: &str = "[limits]\nrevocation = \"0s\"\n";

/// A sender and a listener that are joined, as both see it.
async fn joined(relay: &FileRelay, listener: &Listener, entity: &str) -> (Connection, Connection) {
    let sender = Sender::new(relay.connection_string(entity, "the-key")).unwrap();
    tokio::join!(async { within("a connection", async { sender.connect().await }).await.unwrap() }, async {
        let Ok(Some(Incoming::Connect(connect))) = within("a sender", listener.accept()).await else {
            panic!("a sender was expected")
        };
        connect.accept().await.unwrap()
    })
}

async fn talks((sender, listener): &(Connection, Connection)) {
    sender.send("there").await.unwrap();
    assert!(within("what was sent", listener.receive()).await.unwrap().is_some());
    listener.send("and back").await.unwrap();
    assert!(within("what was sent", sender.receive()).await.unwrap().is_some());
}

/// The close code with which a listener was sent away.
async fn close_code(listener: &Listener) -> Option<u16> {
    let mut status = listener.status();
    let error = loop {
        match within("the end of the channel", status.changed()).await.expect("it is not closed") {
            Status::Offline { error, .. } => break error,
            _ => continue,
        }
    };
    error.close_code()
}

#[tokio::test]
async fn lost_keys_and_hybrid_connections_end_channels_and_relayed_connections_go_on() {
    let invoices = "[[namespace.\"localhost\".entity]]\npath = \"invoices\"\n";
    let spare = "[[namespace.\"localhost\".rule]]\nname = \"spare\"\nrights = [\"Listen\"]\nprimary_key = \"k\"\n";
    let mut relay = FileRelay::start(&format!("{PLAIN}{invoices}{spare}{AT_ONCE}")).await;
    let orders = relay.listener("orders").await;
    let to_go = relay.listener("invoices").await;
    let relayed = joined(&relay, &orders, "orders").await;
    let by_spare = relay.connection_string("orders", "k").replace("KeyName=all", "KeyName=spare");
    let by_spare = within("a listener", hybridrelay::listen(by_spare).open()).await.unwrap();

    // A hybrid connection is gone: 1001. A rule is gone: 1008. Who has another rule stays, and so does what is relayed.
    relay.reload(&format!("{PLAIN}{AT_ONCE}"));
    let codes = tokio::join!(close_code(&to_go), close_code(&by_spare));
    assert_eq!(codes, (Some(1001), Some(1008)));
    relay.process.says(APPLIED).await;
    talks(&relayed).await;
    assert!(orders.status().current().is_online());

    // The key is another one: who signed with the old one goes, and the connection that it opened does not.
    relay.reload(&format!("{}{AT_ONCE}", PLAIN.replace("the-key", "next-key")));
    assert_eq!(close_code(&orders).await, Some(1008));
    assert_eq!(relay.refusal("localhost", "orders", "the-key").await, Some(401));
    assert_eq!(relay.refusal("localhost", "orders", "next-key").await, Some(404));
    talks(&relayed).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_of_with_all_that_is_wrong() {
    let mut relay = FileRelay::start(PLAIN).await;
    let listener = relay.listener("orders").await;
    let bad = PLAIN.replace("path = \"orders\"", "path = \"other\"\nanonymus = true").replace("Manage", "Mange");
    relay.reload(&bad);
    relay.process.says("the configuration file was read again and not applied: the relay goes on as before").await;
    let file = relay.folder().join("relay.toml");
    for told in [
        ":7:11: error: \"Mange\" is no right; did you mean \"Manage\"?",
        ":11:1: error: unknown key \"anonymus\" in [[namespace.\"localhost\".entity]]; did you mean \"anonymous\"?",
    ] {
        let line = format!("{}{told}\n", file.display());
        assert!(relay.process.said().contains(&line), "{line} in {}", relay.process.said());
    }
    assert!(!relay.process.said().contains("the-key"), "{}", relay.process.said());
    talks(&joined(&relay, &listener, "orders").await).await;

    relay.reload(PLAIN);
    relay.process.says(APPLIED).await;
    assert!(listener.status().current().is_online(), "it was never sent away");
}

#[tokio::test]
async fn limits_hold_at_once_and_what_needs_a_restart_is_named() {
    let limited = |most: usize| format!("{PLAIN}[limits]\nlisteners_per_entity = {most}\n");
    let mut relay = FileRelay::start(&limited(1)).await;
    let _first = relay.listener("orders").await;
    let connection_string = relay.connection_string("orders", "the-key");
    let refused = within("an answer", hybridrelay::listen(&connection_string).open()).await.unwrap_err();
    assert_eq!(refused.status(), Some(403));
    relay.reload(&limited(2));
    relay.process.says(APPLIED).await;
    let _second = relay.listener("orders").await;

    let moved =
        format!("{}[metrics]\nlisten = \"127.0.0.1:0\"\n", limited(3).replace("http://127.0.0.1:0", "http://[::1]:0"));
    relay.reload(&moved);
    relay.process.says(&format!("{APPLIED}; what changed in these needs a restart: listen, metrics")).await;
    let _third = relay.listener("orders").await;
}

/// Whether the relay's certificate is of this authority, to a new client.
async fn is_of(relay: &FileRelay, authority: &Authority) -> bool {
    write(relay.folder(), "trusted.pem", &authority.pem);
    let plain = relay.connection_string("nobody", "the-key");
    let mut connect = command(relay.folder());
    connect.args(["connect", "nobody"]);
    connect.env("HYBRIDRELAY_CONNECTION_STRING", plain.replace(";UseDevelopmentEmulator=true", ""));
    connect.env("HYBRIDRELAY_EXTRA_CA", relay.folder().join("trusted.pem"));
    let output = run(&mut connect, "").await;
    match output.code {
        // There is no such hybrid connection, but that can only be known behind the handshake.
        Some(4) => true,
        Some(6) => false,
        _ => panic!("{output:?}"),
    }
}

/// A certificate of this authority and its key, in a folder.
fn issue(authority: &Authority, folder: &Path) {
    let (certificate, key) = authority.certify("localhost");
    write(folder, "cert.pem", &certificate);
    write(folder, "key.pem", &key);
}

#[tokio::test]
async fn renewed_certificates_are_taken_up_when_files_are_renamed() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    issue(&old, folder.path());
    let mut relay = FileRelay::start_in(folder, &PLAIN.replace("url = \"http://127.0.0.1:0\"", TLS)).await;
    assert!(is_of(&relay, &old).await && !is_of(&relay, &new).await);

    let next = tempfile::tempdir_in(relay.folder()).unwrap();
    issue(&new, next.path());
    for name in ["cert.pem", "key.pem"] {
        fs::rename(next.path().join(name), relay.folder().join(name)).unwrap();
    }
    relay.process.says(TAKEN_UP).await;
    assert!(is_of(&relay, &new).await && !is_of(&relay, &old).await);

    // Half of a renewal, and no end of it: the certificate that works goes on.
    let (certificate, _) = old.certify("localhost");
    write(relay.folder(), "cert.pem", &certificate);
    relay.process.says("certificates and keys were read again and not applied: the relay goes on as before").await;
    assert!(relay.process.said().contains("key.pem is not the certificate's"), "{}", relay.process.said());
    assert!(is_of(&relay, &new).await);
    issue(&old, relay.folder());
    relay.process.says_times(2, TAKEN_UP).await;
    assert!(is_of(&relay, &old).await);
}

#[tokio::test]
async fn renewed_certificates_are_taken_up_when_a_link_is_exchanged_and_connections_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    for (name, authority) in [("2026-01", &old), ("2026-02", &new)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        issue(authority, &folder.path().join(name));
    }
    symlink("2026-01", folder.path().join("live")).unwrap();
    let tls = TLS.replace("\"cert.pem\"", "\"live/cert.pem\"").replace("\"key.pem\"", "\"live/key.pem\"");
    let mut relay = FileRelay::start_in(folder, &PLAIN.replace("url = \"http://127.0.0.1:0\"", &tls)).await;
    let secure = relay.connection_string("orders", "the-key").replace(";UseDevelopmentEmulator=true", "");
    let listener = within("a listener", Listener::builder(&secure).extra_ca_pem(old.pem.clone()).open()).await.unwrap();
    let sender = Sender::builder(&*secure).extra_ca_pem(old.pem.clone()).build().unwrap();
    let connection = tokio::join!(async { sender.connect().await.unwrap() }, async {
        let Ok(Some(Incoming::Connect(connect))) = listener.accept().await else { panic!("a sender was expected") };
        connect.accept().await.unwrap()
    });

    symlink("2026-02", relay.folder().join("next")).unwrap();
    fs::rename(relay.folder().join("next"), relay.folder().join("live")).unwrap();
    relay.process.says(TAKEN_UP).await;
    assert!(is_of(&relay, &new).await && !is_of(&relay, &old).await);
    talks(&connection).await;
    assert!(listener.status().current().is_online());
}

#[tokio::test]
async fn a_key_file_that_changes_is_taken_up_and_a_half_written_configuration_is_not() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "key", "the-key\n");
    let named = PLAIN.replace("primary_key = \"the-key\"", "primary_key = \"${file:key}\"");
    let mut relay = FileRelay::start_in(folder, &format!("{named}{AT_ONCE}")).await;
    let listener = relay.listener("orders").await;
    // Nobody has asked for this to be read.
    write(relay.folder(), "relay.toml", "version = 1\n[[lis");
    write(relay.folder(), "key", "next-key\n");
    assert_eq!(close_code(&listener).await, Some(1008));
    relay.process.says(TAKEN_UP).await;
    assert_eq!(relay.refusal("localhost", "orders", "the-key").await, Some(401));
    assert_eq!(relay.refusal("localhost", "orders", "next-key").await, Some(404));
}
