//! `serve --config`: a relay for others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hybridrelay::{Listener, Sender};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Process, command, run, within};

/// A file without TLS, with one hybrid connection and one rule that may everything.
pub(crate) const PLAIN: &str = r#"version = 1
[[listen]]
url = "http://127.0.0.1:0"
[namespace."localhost"]
[[namespace."localhost".rule]]
name = "all"
rights = ["Manage"]
primary_key = "the-key"
[[namespace."localhost".entity]]
path = "orders"
"#;

/// Instead of the address without TLS.
pub(crate) const TLS: &str = "url = \"https://127.0.0.1:0\"\ntls.cert = \"cert.pem\"\ntls.key = \"key.pem\"";

/// Writes a file that only its owner reads.
pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name and its key, in PEM.
    pub(crate) fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A relay with a configuration file, in a process of its own.
pub(crate) struct FileRelay {
    pub(crate) process: Process,
    pub(crate) ready: Value,
    folder: TempDir,
}

impl FileRelay {
    pub(crate) async fn start(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), text).await
    }

    pub(crate) async fn start_in(folder: TempDir, text: &str) -> Self {
        Self::start_with(folder, text, "", &[]).await
    }

    /// A relay with variables in its environment, and `log` in `HYBRIDRELAY_LOG`.
    async fn start_with(folder: TempDir, text: &str, log: &str, environment: &[(&str, &Path)]) -> Self {
        write(folder.path(), "relay.toml", text);
        let file = folder.path().join("relay.toml");
        let mut serve = command(folder.path());
        let mut process = Process::start(
            serve.args(["serve", "--config"]).arg(file).envs(environment.iter().copied()).env("HYBRIDRELAY_LOG", log),
        );
        let line = process.line().await;
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}: {}", process.said()));
        Self { process, ready, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration file and has it read again.
    pub(crate) fn reload(&self, text: &str) {
        write(self.folder(), "relay.toml", text);
        self.process.signal(Signal::SIGHUP);
    }

    /// Host and port of an address.
    pub(crate) fn authority(&self) -> &str {
        let url = self.ready["listen"][0].as_str().unwrap();
        url.split_once("://").unwrap().1
    }

    pub(crate) fn port(&self) -> &str {
        self.authority().rsplit_once(':').unwrap().1
    }

    /// A connection string for a hybrid connection of the address without TLS.
    pub(crate) fn connection_string(&self, entity: &str, key: &str) -> String {
        self.connection_string_at("localhost", entity, key)
    }

    pub(crate) fn connection_string_at(&self, host: &str, entity: &str, key: &str) -> String {
        let port = self.port();
        format!(
            "Endpoint=sb://{host}:{port}/;SharedAccessKeyName=all;SharedAccessKey={key};EntityPath={entity};\
             UseDevelopmentEmulator=true"
        )
    }

    pub(crate) async fn listener(&self, entity: &str) -> Listener {
        within("a listener", hybridrelay::listen(self.connection_string(entity, "the-key")).open()).await.unwrap()
    }

    /// What becomes of a sender: `None` if it is connected.
    pub(crate) async fn refusal(&self, host: &str, entity: &str, key: &str) -> Option<u16> {
        let sender = Sender::new(self.connection_string_at(host, entity, key)).unwrap();
        match within("an answer", async { sender.connect().await }).await {
            Ok(_) => None,
            Err(error) => Some(error.status().unwrap_or_else(|| panic!("{error}"))),
        }
    }
}

/// What is answered to a plain request at an address without TLS.
async fn get(authority: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn the_ready_line_tells_the_addresses_and_no_secret() {
    let text = format!(
        "{PLAIN}[[listen]]\nurl = \"http://[::1]:0\"\n[admin]\nlisten = \"http://127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n"
    );
    let relay = FileRelay::start(&text).await;
    let mut fields: Vec<_> = relay.ready.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["admin", "listen", "metrics", "ready"]);
    let listen = relay.ready["listen"].as_array().unwrap();
    assert!(listen[1].as_str().unwrap().starts_with("http://[::1]:"), "{listen:?}");
    assert!(!relay.ready.to_string().contains("the-key"));

    let metrics = relay.ready["metrics"].as_str().unwrap();
    let authority = metrics.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    assert!(get(authority, "/metrics").await.contains("hybridrelay_build_info"));
    let admin = relay.ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert!(get(admin, "/orders").await.starts_with("HTTP/1.1 404 "));
    assert!(get(relay.authority(), "/$relay/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(relay.authority(), "/metrics").await.starts_with("HTTP/1.1 401 "), "not where senders come");
}

#[tokio::test]
async fn a_person_is_told_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "relay.toml", &format!("{PLAIN}[metrics]\nlisten = \"127.0.0.1:0\"\n"));
    let mut serve = command(folder.path());
    serve.args(["serve", "--ready", "text", "--config"]).arg(folder.path().join("relay.toml"));
    let mut relay = Process::start(&mut serve);
    assert!(relay.line().await.starts_with("listening  http://127.0.0.1:"));
    assert!(relay.line().await.starts_with("metrics    http://127.0.0.1:"));
}

#[tokio::test]
async fn each_host_leads_to_its_namespace() {
    let second = PLAIN[PLAIN.find("[namespace").unwrap()..]
        .replace("\"localhost\"", "\"127.0.0.1\"")
        .replace("the-key", "other-key")
        .replace("path = \"orders\"", "path = \"invoices\"");
    let relay = FileRelay::start(&format!("{PLAIN}{second}")).await;
    for (host, entity, key, status) in [
        ("localhost", "orders", "the-key", 404),
        ("localhost", "orders", "other-key", 401),
        ("127.0.0.1", "invoices", "other-key", 404),
        ("127.0.0.1", "invoices", "the-key", 401),
    ] {
        assert_eq!(relay.refusal(host, entity, key).await, Some(status), "{host} {entity} {key}");
    }
    let listener = relay.listener("orders").await;
    let accepting = tokio::spawn(async move {
        let Ok(Some(hybridrelay::Incoming::Connect(connect))) = listener.accept().await else { panic!("a sender") };
        let connection = connect.accept().await.unwrap();
        let _ = connection.receive().await;
    });
    assert_eq!(relay.refusal("127.0.0.1", "orders", "other-key").await, Some(404), "there it does not exist");
    assert_eq!(relay.refusal("localhost", "orders", "the-key").await, None);
    within("the listener's end", accepting).await.unwrap();
}

#[tokio::test]
async fn keys_come_from_the_environment_and_from_systemds_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = tempfile::tempdir().unwrap();
    write(credentials.path(), "spare", "a-spare-key\n");
    let (certificate, key) = Authority::new().certify("localhost");
    write(credentials.path(), "tls.key", &key);
    write(folder.path(), "cert.pem", &certificate);
    let keys = "primary_key = \"${env:RELAY_KEY}\"\nsecondary_key = \"${credential:spare}\"";
    let secure = TLS.replace("\"key.pem\"", "\"${credential:tls.key}\"");
    let by_path = TLS.replace("key.pem", credentials.path().join("tls.key").to_str().unwrap());
    let admin = by_path.replace("url = ", "listen = ");
    let plain = PLAIN.replace("primary_key = \"the-key\"", keys);
    let text = format!("{plain}[[listen]]\n{secure}\n[admin]\n{admin}\n");
    // As an access list for one user looks to others.
    for name in ["spare", "tls.key"] {
        fs::set_permissions(credentials.path().join(name), fs::Permissions::from_mode(0o440)).unwrap();
    }
    let environment = [("RELAY_KEY", Path::new("a-key-by-variable")), ("CREDENTIALS_DIRECTORY", credentials.path())];
    let relay = FileRelay::start_with(folder, &text, "trace", &environment).await;
    for (key, status) in [("a-key-by-variable", 404), ("a-spare-key", 404), ("another-key", 401)] {
        assert_eq!(relay.refusal("localhost", "orders", key).await, Some(status), "{key}");
    }
    assert!(relay.ready["listen"][1].as_str().unwrap().starts_with("https://"));
    relay.process.signal(Signal::SIGTERM);
    let said = relay.process.output().await.stderr;
    assert!(!said.contains("warning:"), "{said}");
    for secret in ["a-key-by-variable", "a-spare-key", "PRIVATE KEY"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test]
async fn the_drain_time_of_the_file_holds() {
    let mut relay = FileRelay::start(&format!("{PLAIN}[limits]\ndrain = \"10m\"\n")).await;
    let listener = relay.listener("orders").await;
    let sender = Sender::new(relay.connection_string("orders", "the-key")).unwrap();
    let (connection, accepted) = tokio::join!(async { sender.connect().await.unwrap() }, async {
        let Ok(Some(hybridrelay::Incoming::Connect(connect))) = listener.accept().await else { panic!("a sender") };
        connect.accept().await.unwrap()
    });
    relay.process.signal(Signal::SIGTERM);
    relay.process.says("waiting for 1 connection to end").await;
    connection.send("still here").await.unwrap();
    assert!(within("the message", accepted.receive()).await.unwrap().is_some());
    // A hangup does not end what is ending in good order.
    relay.process.signal(Signal::SIGHUP);
    let (closed, _) = tokio::join!(connection.close(), accepted.close());
    closed.unwrap();
    assert_eq!(relay.process.exit().await.code(), Some(0));

    let mut relay = FileRelay::start(&format!("{PLAIN}[limits]\ndrain = \"0s\"\n")).await;
    let listener = relay.listener("orders").await;
    let sender = Sender::new(relay.connection_string("orders", "the-key")).unwrap();
    let (_connection, _accepted) = tokio::join!(async { sender.connect().await.unwrap() }, async {
        let Ok(Some(hybridrelay::Incoming::Connect(connect))) = listener.accept().await else { panic!("a sender") };
        connect.accept().await.unwrap()
    });
    relay.process.signal(Signal::SIGTERM);
    assert_eq!(relay.process.exit().await.code(), Some(0), "open connections do not hold it up");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_of_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "relay.toml", "version = 1\nlimit = {}\n");
    let file = folder.path().join("relay.toml");
    let output = run(command(folder.path()).args(["serve", "--config"]).arg(&file), "").await;
    assert_eq!((output.code, output.text()), (Some(1), ""));
    let place = format!("{}:2:1: error: unknown key \"limit\" at the top; did you mean \"limits\"?", file.display());
    assert!(output.stderr.lines().any(|line| line == place), "{}", output.stderr);
    assert!(output.stderr.ends_with("relay.toml cannot be used: 3 errors\n"), "{}", output.stderr);
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_network_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "relay.toml", &PLAIN.replace("127.0.0.1:0", &address));
    let mut serve = command(folder.path());
    let output = run(serve.args(["serve", "--config"]).arg(folder.path().join("relay.toml")), "").await;
    assert_eq!((output.code, output.text()), (Some(6), ""));
    assert!(output.stderr.contains(&format!("cannot listen on {address}")), "{}", output.stderr);
    assert!(output.stderr.ends_with("choose another port, or end what listens there\n"), "{}", output.stderr);
}

#[tokio::test]
async fn a_file_and_options_that_it_replaces_do_not_go_together() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "relay.toml", PLAIN);
    for more in [&["--dev"][..], &["--listen", "http://127.0.0.1:0"], &["--drain", "5s"], &["--key", "k"]] {
        let mut serve = command(folder.path());
        let output = run(serve.args(["serve", "--config"]).arg(folder.path().join("relay.toml")).args(more), "").await;
        assert_eq!((output.code, output.text()), (Some(2), ""), "{more:?}");
        assert!(output.stderr.contains("cannot be used with"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn the_log_is_as_the_file_says() {
    let mut relay = FileRelay::start(&format!("{PLAIN}[log]\nlevel = \"info\"\nformat = \"json\"\n")).await;
    let _listener = relay.listener("orders").await;
    relay.process.says("orders").await;
    relay.process.signal(Signal::SIGHUP);
    relay.process.says("\"event\":\"reloaded\"").await;
    for line in relay.process.said().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }

    let relay = FileRelay::start(&format!("{PLAIN}[log]\nlevel = \"error\"\n")).await;
    let _listener = relay.listener("orders").await;
    relay.process.signal(Signal::SIGTERM);
    assert_eq!(relay.process.output().await.stderr, "");
}
