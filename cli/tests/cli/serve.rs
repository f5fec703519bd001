//! `serve --dev`: addresses, the ready line, the state directory.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hybridrelay::ConnectionString;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{Process, Relay, command, run, within};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn port(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Whether bytes come back through the relay.
async fn echoes(relay: &Relay) {
    let _listener = relay.listen(["hello", "--echo"]).await;
    let output = run(relay.command().args(["connect", "hello"]), "there and back").await;
    assert_eq!(output.ok(), b"there and back");
}

#[tokio::test]
async fn the_ready_line_tells_everything_in_one_line_of_json() {
    let relay = Relay::start().await;
    let fields: Vec<_> = relay.ready.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["ready", "listen", "namespace", "connectionString", "caFile", "keyName", "key", "admin"].to_vec();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(relay.ready["ready"], true);
    assert_eq!(relay.text("namespace"), "localhost");
    assert_eq!(relay.text("keyName"), "RootManageSharedAccessKey");

    let listen: Vec<_> = relay.ready["listen"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert!(listen[0].starts_with("https://127.0.0.1:") && listen[1].starts_with("http://127.0.0.1:"), "{listen:?}");
    assert!(listen.iter().chain([&relay.text("admin")]).all(|url| port(url) != 0), "{listen:?}");

    let parsed: ConnectionString = relay.connection_string().parse().unwrap();
    assert_eq!(parsed.address().unwrap().authority(), format!("localhost:{}", port(listen[0])));
    assert_eq!((parsed.key_name(), parsed.key()), (Some("RootManageSharedAccessKey"), Some(relay.text("key"))));
    assert!(!parsed.uses_development_emulator());
    assert!(fs::read_to_string(relay.ca_file()).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn localhost_by_name_and_by_ipv6_can_be_listened_on() {
    for url in ["https://localhost:0", "https://[::1]:0", "http://[::1]:0"] {
        let relay = Relay::start_with(["--listen", url]).await;
        let listens = relay.ready["listen"][0].as_str().unwrap();
        assert!(listens.starts_with(url.strip_suffix('0').unwrap()) && port(listens) != 0, "{listens}");
        echoes(&relay).await;
    }
}

#[tokio::test]
async fn without_tls_the_connection_string_says_so() {
    let relay = Relay::start_with(["--listen", "http://127.0.0.1:0"]).await;
    assert!(relay.connection_string().ends_with(";UseDevelopmentEmulator=true"), "{}", relay.connection_string());
    echoes(&relay).await;
}

#[tokio::test]
async fn key_and_authority_are_private_files_that_outlive_the_relay() {
    let relay = Relay::start().await;
    let state = relay.home().join("state");
    assert_eq!(mode(&state), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let (key, ca) = (relay.text("key").to_owned(), fs::read(relay.ca_file()).unwrap());
    let home = relay.stop().await;

    let again = Relay::start_in(home, ["--listen", "https://127.0.0.1:0"]).await;
    assert_eq!(again.text("key"), key);
    assert_eq!(fs::read(again.ca_file()).unwrap(), ca);
    echoes(&again).await;
}

#[tokio::test]
async fn a_given_key_is_used_for_this_run() {
    let relay = Relay::start_with(["--listen", "https://127.0.0.1:0", "--key", "of-my-own"]).await;
    assert_eq!(relay.text("key"), "of-my-own");
    echoes(&relay).await;
    let again = Relay::start_in(relay.stop().await, ["--listen", "https://127.0.0.1:0"]).await;
    assert_ne!(again.text("key"), "of-my-own");
}

#[tokio::test]
async fn the_state_is_at_home_unless_systemd_or_xdg_say_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    for (variable, value, expected) in [
        ("UNRELATED", path("x"), path(".local/state/hybridrelay")),
        ("XDG_STATE_HOME", path("xdg"), path("xdg/hybridrelay")),
        ("STATE_DIRECTORY", path("systemd"), path("systemd")),
    ] {
        let mut serve = command(home.path());
        serve.args(["serve", "--dev", "--listen", "https://127.0.0.1:0", "--admin", "https://127.0.0.1:0"]);
        let mut relay = Process::start(serve.env(variable, value));
        let ready: serde_json::Value = serde_json::from_str(&relay.line().await).unwrap();
        assert_eq!(ready["caFile"].as_str().unwrap(), expected.join("ca.pem").to_str().unwrap());
    }
}

#[tokio::test]
async fn a_directory_that_others_use_is_refused() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home.path().join("somebody's file"), "").unwrap();
    let output = run(command(home.path()).args(["serve", "--dev", "--state"]).arg(home.path()), "").await;
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("is open to others and holds other files"), "{}", output.stderr);
    assert_eq!(mode(home.path()), 0o755);
}

#[tokio::test]
async fn a_default_port_that_is_taken_moves_to_the_next_free_one() {
    // Where one cannot be bound here somebody else has it, which serves as well.
    let taken = [9443, 9080].map(|port| TcpListener::bind(("127.0.0.1", port)));
    let home = tempfile::tempdir().unwrap();
    let mut relay = Process::start(command(home.path()).args(["serve", "--dev"]));
    let ready: serde_json::Value = serde_json::from_str(&relay.line().await).unwrap();
    let https = port(ready["listen"][0].as_str().unwrap());
    let http = port(ready["listen"][1].as_str().unwrap());
    assert!((9444..9543).contains(&https), "{ready}");
    assert!((9081..9180).contains(&http), "{ready}");
    assert!((9444..9543).contains(&port(ready["admin"].as_str().unwrap())), "{ready}");
    drop(taken);
}

#[tokio::test]
async fn a_given_port_that_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", taken.local_addr().unwrap());
    let home = tempfile::tempdir().unwrap();
    for option in ["--listen", "--admin"] {
        let mut serve = command(home.path());
        serve.args(["serve", "--dev", "--listen", "https://127.0.0.1:0", option, &url]);
        let output = run(&mut serve, "").await;
        assert_eq!(output.code, Some(6), "{}", output.stderr);
        assert!(output.stderr.starts_with(&format!("error: cannot listen on {url}: Address already in use")));
        assert!(output.stderr.ends_with("choose another port, or port 0 for any free one\n"), "{}", output.stderr);
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn without_a_file_or_dev_it_refuses_and_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let output = run(command(home.path()).arg("serve"), "").await;
    assert_eq!(output.code, Some(2));
    assert_eq!(
        output.stderr,
        "error: serve needs --config FILE or --dev\n\
         begin a file with 'hybridrelay config example', or run a development relay: hybridrelay serve --dev\n"
    );
}

#[tokio::test]
async fn the_administration_address_answers_with_the_relays_own_404() {
    let relay = Relay::start_with(["--listen", "https://127.0.0.1:0", "--admin", "http://127.0.0.1:0"]).await;
    let authority = relay.text("admin").strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(authority).await.unwrap();
    let request = format!("GET /anything HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", socket.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "EndpointNotFound");
}

#[tokio::test]
async fn public_patterns_let_senders_in_without_a_key() {
    let relay = Relay::start_with(["--listen", "https://127.0.0.1:0", "--public", "web/*"]).await;
    let _public = relay.listen(["web/shop", "--echo"]).await;
    let _private = relay.listen(["office", "--echo"]).await;
    let address = format!("sb://{}/", relay.authority());
    let anonymous = |entity| {
        let mut connect = relay.command();
        connect.args(["connect", "--connection-string", &address, entity]);
        connect
    };
    assert_eq!(run(&mut anonymous("web/shop"), "hi").await.ok(), b"hi");
    let refused = run(&mut anonymous("office"), "hi").await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("401 MissingToken"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_certificate_names_the_address_that_is_listened_on() {
    let relay = Relay::start_with(["--listen", "https://127.0.0.2:0", "--hostname", "relay.test"]).await;
    assert!(relay.authority().starts_with("127.0.0.2:"), "{}", relay.authority());
    echoes(&relay).await;
    let names = fs::read_to_string(relay.home().join("state/ca.names")).unwrap();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["relay.test", "127.0.0.2"]);
}

#[tokio::test]
async fn beyond_loopback_the_connection_string_names_the_given_host() {
    let relay = Relay::start_with(["--listen", "https://0.0.0.0:0", "--hostname", "relay.test"]).await;
    assert_eq!(relay.text("namespace"), "relay.test");
    assert!(relay.connection_string().starts_with("Endpoint=sb://relay.test:"));
}

#[tokio::test]
async fn what_a_person_is_told_works_when_pasted() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("it's mine");
    let mut serve = command(home.path());
    serve.args(["serve", "--dev", "--listen", "https://127.0.0.1:0", "--admin", "https://127.0.0.1:0"]);
    let mut relay = Process::start(serve.args(["--ready", "text", "--state"]).arg(&state));
    let mut lines = Vec::new();
    for _ in 0..4 {
        lines.push(relay.line().await);
    }
    assert!(lines[0].starts_with("listening  https://127.0.0.1:"), "{lines:?}");
    assert_eq!(lines[1], format!("CA         {}\n", state.join("ca.pem").display()));

    let paste = |text: String| {
        let mut shell = Command::new("sh");
        shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nowhere").kill_on_drop(true);
        shell.arg("-c").arg(text);
        shell
    };
    let mut listener = Process::start(&mut paste(format!("{}exec {}", lines[2], lines[3])));
    listener.says("reach it with: hybridrelay connect hello").await;
    let program = env!("CARGO_BIN_EXE_hybridrelay");
    let output = run(&mut paste(format!("{}'{program}' connect hello", lines[2])), "pasted").await;
    assert_eq!(output.ok(), b"pasted");
    listener.signal(Signal::SIGTERM);
    assert_eq!(listener.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_relay_of_this_machine_is_trusted_by_its_owner_without_options() {
    let home = tempfile::tempdir().unwrap();
    let mut serve = command(home.path());
    serve.args(["serve", "--dev", "--listen", "https://127.0.0.1:0", "--admin", "https://127.0.0.1:0"]);
    let mut relay = Process::start(serve.args(["--ready", "text"]));
    let (_listening, _ca, export) = (relay.line().await, relay.line().await, relay.line().await);
    assert!(!export.contains("HYBRIDRELAY_EXTRA_CA"), "{export}");
    let quoted = export.trim_end().strip_prefix("export HYBRIDRELAY_CONNECTION_STRING=").unwrap();
    let connection_string = quoted.trim_matches('\'');

    let connect = |home: &Path| {
        let mut connect = command(home);
        connect.args(["connect", "nobody"]).env("HYBRIDRELAY_CONNECTION_STRING", connection_string);
        connect
    };
    let trusted = run(&mut connect(home.path()), "").await;
    assert_eq!(trusted.code, Some(4), "{}", trusted.stderr);
    let stranger = tempfile::tempdir().unwrap();
    let untrusted = run(&mut connect(stranger.path()), "").await;
    assert_eq!(untrusted.code, Some(6), "{}", untrusted.stderr);
}

#[tokio::test]
async fn metrics_are_served_where_they_are_asked_for() {
    let relay = Relay::start_with(["--listen", "http://127.0.0.1:0", "--metrics", "127.0.0.1:0"]).await;
    let url = relay.text("metrics");
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
    let mut stream = within("a connection", TcpStream::connect(address)).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("the metrics", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\n# EOF"), "{answer}");
    assert!(answer.contains("hybridrelay_"), "{answer}");
}

#[tokio::test]
async fn relays_that_start_at_once_in_one_directory_make_one_authority_and_one_key() {
    let home = tempfile::tempdir().unwrap();
    let start = |_| {
        let mut serve = command(home.path());
        Process::start(serve.args([
            "serve",
            "--dev",
            "--listen",
            "https://127.0.0.1:0",
            "--admin",
            "https://127.0.0.1:0",
        ]))
    };
    let mut relays: Vec<_> = (0..8).map(start).collect();
    let mut keys = Vec::new();
    for relay in &mut relays {
        let ready: serde_json::Value = serde_json::from_str(&relay.line().await).unwrap();
        keys.push(ready["key"].as_str().unwrap().to_owned());
        let mut connect = command(home.path());
        connect
            .args(["connect", "nobody"])
            .env("HYBRIDRELAY_CONNECTION_STRING", ready["connectionString"].as_str().unwrap());
        // Nobody listens; a certificate of another authority, or another key, would be told as something else.
        let output = run(&mut connect, "").await;
        assert_eq!(output.code, Some(4), "{}", output.stderr);
    }
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn the_limit_of_descriptors_is_raised_and_the_log_says_so() {
    let home = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hybridrelay")]).kill_on_drop(true);
    shell.args(["serve", "--dev", "--listen", "http://127.0.0.1:0", "--admin", "https://127.0.0.1:0", "-v"]);
    shell.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap());
    let mut relay = Process::start(&mut shell);
    relay.says("descriptors, raised from 256").await;
}
