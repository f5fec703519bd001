//! Blocks that are configuration or data.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::built;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fences;

/// Where systemd puts a service's credentials.
const CREDENTIALS: &str = "/run/credentials/hybridrelay.service";

/// Asserts that a command succeeds.
fn succeeds(command: &mut Command, place: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{place}: {said}");
}

/// A certificate and keys, as an operator has them.
fn credentials(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["relay.example.net".to_owned()]).expect("a certificate");
    for (name, text) in [
        ("tls.cert", made.cert.pem()),
        ("tls.key", made.signing_key.serialize_pem()),
        ("listen", "the-key-of-listeners".to_owned()),
        ("send", "the-key-of-senders".to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
}

#[test]
fn configurations_of_a_relay_are_taken() {
    for block in fences::of("toml") {
        let folder = tempfile::tempdir().expect("a folder");
        credentials(folder.path());
        let file = folder.path().join("relay.toml");
        fs::write(&file, block.text.replace(CREDENTIALS, &folder.path().to_string_lossy())).expect("a file");
        let mut command = Command::new(built::program("hybridrelay"));
        command.args(["config", "check"]).arg(&file).env("CREDENTIALS_DIRECTORY", folder.path());
        succeeds(&mut command, &block.place());
    }
}

#[test]
fn data_is_well_formed() {
    for block in fences::of("json") {
        let parsed: Result<Vec<_>, _> =
            serde_json::Deserializer::from_str(&block.text).into_iter::<serde_json::Value>().collect();
        assert!(parsed.as_ref().is_ok_and(|values| !values.is_empty()), "{}: {parsed:?}", block.place());
    }
}

#[test]
fn a_proxy_takes_its_part() {
    for block in fences::of("nginx") {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let server = format!("server {{ listen unix:{path}/socket;\n{} }}", block.text);
        let http =
            format!("http {{ access_log off; client_body_temp_path {path}; proxy_temp_path {path};\n{server} }}");
        let file = folder.path().join("nginx.conf");
        fs::write(&file, format!("pid {path}/pid; error_log stderr; events {{}}\n{http}\n")).expect("a file");
        let mut command = Command::new("nginx");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-t").arg("-c").arg(&file).arg("-p").arg(folder.path());
        succeeds(&mut command, &block.place());
    }
}

#[tokio::test]
async fn probes_are_answered() {
    let relay = LocalRelay::start().await.expect("a free port");
    for block in fences::of("yaml") {
        let paths: Vec<_> = block.text.split("path: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!paths.is_empty(), "{}: there is no probe in it", block.place());
        for path in paths {
            let mut socket =
                TcpStream::connect((Ipv4Addr::LOCALHOST, relay.local_addr().port())).await.expect("a relay");
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.expect("it listens");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.expect("text");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{} {path}: {answer}", block.place());
        }
    }
}

#[test]
fn c_sources_compile() {
    for block in fences::of("c") {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("block.c");
        fs::write(&file, &block.text).expect("a file");
        let mut command = Command::new("cc");
        command.args([
            "-std=c99",
            "-pedantic",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-D_POSIX_C_SOURCE=200809L",
            "-fsyntax-only",
        ]);
        command.arg("-I").arg(fences::root().join("ffi-c/include")).arg(&file);
        succeeds(&mut command, &block.place());
    }
}
