//! `config`: a configuration file checked, shown, begun.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Output, command, run};
use crate::serve_file::{self, PLAIN};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// `hybridrelay config …` in this folder.
async fn config(folder: &Path, arguments: &[&str]) -> Output {
    run(config_command(folder).args(arguments), "").await
}

fn config_command(folder: &Path) -> Command {
    let mut command = command(folder);
    command.current_dir(folder).arg("config");
    command
}

#[tokio::test]
async fn a_good_file_is_said_to_be_good() {
    let folder = folder();
    serve_file::write(folder.path(), "relay.toml", PLAIN);
    let output = config(folder.path(), &["check", "relay.toml"]).await;
    assert_eq!((output.text(), &*output.stderr), ("relay.toml can be used: 1 address, 1 namespace\n", ""));
    assert_eq!(output.code, Some(0));
}

#[tokio::test]
async fn every_problem_is_told_with_its_place_and_what_to_do() {
    let folder = folder();
    let text = PLAIN
        .replace("path = \"orders\"", "path = \"orders\"\nanonymus = true")
        .replace("primary_key = \"the-key\"", "primary_key_file = \"keys/send\"\nsecondary_key = \"${env:SPARE}\"");
    serve_file::write(folder.path(), "relay.toml", &text);
    let output = config(folder.path(), &["check", "relay.toml"]).await;
    assert_eq!(
        output.stderr,
        "relay.toml:8:20: error: keys/send cannot be read: No such file or directory (os error 2); make the file and put the \
         key into it, or name another\n\
         relay.toml:9:17: error: the environment variable SPARE is not set; set SPARE, or name a file\n\
         relay.toml:12:1: error: unknown key \"anonymus\" in [[namespace.\"localhost\".entity]]; did you mean \"anonymous\"?\n\
         error: relay.toml cannot be used: 3 errors\n"
    );
    assert_eq!((output.code, output.text()), (Some(1), ""));

    let output = config(folder.path(), &["check", "--json", "relay.toml"]).await;
    let lines: Vec<Value> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{}", output.stderr);
    let last = &lines[2];
    assert_eq!((&last["event"], &last["severity"], &last["line"]), (&"problem".into(), &"error".into(), &12.into()));
    assert_eq!((&last["column"], &last["advice"]), (&1.into(), &"did you mean \"anonymous\"?".into()));
    assert_eq!((&lines[3]["kind"], &lines[3]["exitCode"]), (&"InvalidConfiguration".into(), &1.into()));
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_found() {
    let folder = folder();
    let authority = serve_file::Authority::new();
    let (certificate, key) = authority.certify("localhost");
    let (_, other) = authority.certify("localhost");
    let text = PLAIN.replace("url = \"http://127.0.0.1:0\"", serve_file::TLS);
    serve_file::write(folder.path(), "relay.toml", &text);
    serve_file::write(folder.path(), "cert.pem", &certificate);
    serve_file::write(folder.path(), "key.pem", &key);
    assert_eq!(config(folder.path(), &["check", "relay.toml"]).await.code, Some(0));
    serve_file::write(folder.path(), "key.pem", &other);
    let output = config(folder.path(), &["check", "relay.toml"]).await;
    let told = "relay.toml:5:11: error: the key in key.pem is not the certificate's; ";
    assert!(output.code == Some(1) && output.stderr.starts_with(told), "{}", output.stderr);
}

#[tokio::test]
async fn warnings_do_not_make_a_file_bad() {
    let folder = folder();
    serve_file::write(folder.path(), "relay.toml", PLAIN);
    fs::set_permissions(folder.path().join("relay.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    let output = config(folder.path(), &["check", "relay.toml"]).await;
    assert_eq!(output.code, Some(0));
    let told = "relay.toml:8:15: warning: this file holds a key and can be read by others than its owner; ";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
}

#[tokio::test]
async fn a_log_filter_that_cannot_be_read_is_found() {
    let folder = folder();
    serve_file::write(folder.path(), "relay.toml", &format!("{PLAIN}[log]\nfilter = \"relay=loud\"\n"));
    for arguments in [&["config", "check", "relay.toml"][..], &["serve", "--config", "relay.toml"]] {
        let output = run(command(folder.path()).current_dir(folder.path()).args(arguments), "").await;
        assert_eq!((output.code, output.text()), (Some(1), ""));
        assert!(output.stderr.starts_with("error: [log] filter cannot be read: "), "{}", output.stderr);
    }
}

#[tokio::test]
async fn what_is_shown_has_every_default_and_no_key_however_it_is_asked_for() {
    let folder = folder();
    let secret = "a-key-that-nobody-may-see";
    serve_file::write(folder.path(), "relay.toml", &PLAIN.replace("the-key", secret));
    let redacted = config(folder.path(), &["show", "--redacted", "relay.toml"]).await;
    let plain = config(folder.path(), &["show", "relay.toml"]).await;
    assert_eq!(redacted.text(), plain.text());
    let shown = String::from_utf8(plain.ok()).unwrap();
    assert!(!shown.contains(secret), "{shown}");
    for line in ["primary_key = \"[redacted]\"", "listeners_per_entity = 25", "drain = \"30s\"", "anonymous = false"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    let broken = PLAIN.replace("the-key", secret).replace("version = 1", "version = 1\nkeys = 1");
    serve_file::write(folder.path(), "relay.toml", &broken);
    let output = config(folder.path(), &["show", "relay.toml"]).await;
    assert!(output.code == Some(1) && output.stderr.starts_with("relay.toml:2:1: error: unknown key"), "{output:?}");
    assert!(!output.stderr.contains(secret));
}

#[tokio::test]
async fn the_example_is_the_one_of_the_repository_and_can_be_used_with_its_files() {
    let folder = folder();
    let example = String::from_utf8(config(folder.path(), &["example"]).await.ok()).unwrap();
    assert_eq!(example, include_str!("../../../contrib/relay.toml"));
    let (certificate, key) = serve_file::Authority::new().certify("relay.example.net");
    for directory in ["keys", "tls"] {
        fs::create_dir(folder.path().join(directory)).unwrap();
    }
    for (name, text) in [
        ("relay.toml", &*example),
        ("tls/fullchain.pem", &certificate),
        ("tls/privkey.pem", &key),
        ("keys/listen", "a-key\n"),
        ("keys/send", "another\n"),
    ] {
        serve_file::write(folder.path(), name, text);
    }
    let output = config(folder.path(), &["check", "relay.toml"]).await;
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
}
