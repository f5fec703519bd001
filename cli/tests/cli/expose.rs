//! `expose`: what its users see, and what servers behind it see.

mod nginx;
mod server;
mod stalled;
mod urls;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;

use crate::harness::{Process, Relay, run, within};
use crate::serve_file::write;
pub(crate) use server::Raw;

/// What curl got.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).expect("a status line").trim()
    }

    /// The values of a header, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_end()).collect()
    }
}

impl Relay {
    /// `hybridrelay expose` with these arguments, reachable.
    pub(crate) async fn expose(&self, arguments: &[&str]) -> Process {
        let mut process = Process::start(self.command().arg("expose").args(arguments));
        process.says("  curl ").await;
        process
    }

    /// `hybridrelay request` with these arguments.
    pub(crate) fn request(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("request").args(arguments);
        command
    }

    /// curl, which knows this relay and has a token for the hybrid connection.
    pub(crate) async fn curl(&self, entity: &str) -> Command {
        let token = run(self.command().args(["token", "create", entity]), "").await.ok();
        let mut curl = plain_curl();
        curl.arg("--cacert").arg(self.ca_file()).arg("--header");
        curl.arg(format!("ServiceBusAuthorization: {}", String::from_utf8(token).expect("a token is text").trim()));
        curl
    }

    /// Where senders find a path, such as `/web/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }
}

/// curl, which leaves every address as it is.
pub(crate) fn plain_curl() -> Command {
    let mut curl = Command::new("curl");
    curl.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--path-as-is", "--globoff"]);
    curl
}

/// Runs curl for one answer.
pub(crate) async fn answer(curl: &mut Command) -> Answer {
    let output = run(curl.arg("--include"), "").await.ok();
    let border = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(output[..border].to_vec()).expect("a head is text");
    Answer { head, body: output[border + 4..].to_vec() }
}

#[tokio::test]
async fn what_it_prints_works_when_pasted() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let mut exposed = relay.expose(&["web", &server.url(), "--link"]).await;
    exposed.says("sb-hc-token=").await;
    let said = exposed.said();
    assert!(said.contains(&format!("{} is {}\n", relay.url("/web/"), server.url())), "{said}");
    let curl = said.lines().find(|line| line.starts_with("  curl ")).unwrap();
    assert!(!curl.contains("sig="), "a token is made when it is used: {curl}");
    let mut shell = relay.command_for("sh");
    assert_eq!(run(shell.args(["-c", &format!("{curl} --silent --noproxy '*'")]), "").await.ok(), b"/");

    let link = said.lines().last().unwrap().trim();
    let mut browser = plain_curl();
    browser.arg("--cacert").arg(relay.ca_file());
    assert_eq!(run(browser.arg(link), "").await.ok(), b"/", "the token is the relay's and not the server's");
}

#[tokio::test]
async fn without_a_terminal_no_link_is_written_unless_asked_for() {
    let relay = Relay::start().await;
    let exposed = relay.expose(&["web", "1"]).await;
    exposed.signal(Signal::SIGINT);
    let said = exposed.output().await.stderr;
    assert!(!said.contains("sb-hc-token") && !said.contains("sig"), "{said}");
}

#[tokio::test]
async fn without_a_name_it_has_one_that_can_be_read_out() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let exposed = relay.expose(&[&server.url()]).await;
        let said = exposed.said();
        let name = said.split_once("online as '").and_then(|(_, rest)| rest.split_once('\'')).unwrap().0.to_owned();
        assert_eq!(name.split('-').count(), 3, "{name}");
        let output = run(&mut relay.request(&[&format!("{name}/x")]), "").await;
        assert_eq!(output.ok(), b"/x");
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_program_can_follow_it_by_json() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let mut command = relay.command();
    let mut exposed = Process::start(command.args(["--json", "expose", "web", &server.url()]));
    exposed.says(r#""event":"exposed""#).await;
    let mut request = relay.request(&["web/orders/7?password=hunter2", "-d", "12345"]);
    assert_eq!(run(&mut request, "").await.ok(), b"/orders/7?password=hunter2");
    exposed.says(r#""event":"request""#).await;
    exposed.signal(Signal::SIGTERM);
    let output = exposed.output().await;
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    let events: Vec<Value> = output.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let event = |name: &str| events.iter().find(|event| event["event"] == name).expect(name);
    assert_eq!(event("exposed")["url"], relay.url("/web/"));
    assert_eq!(event("exposed")["server"], server.url());
    assert_eq!((&event("exposed")["public"], &event("exposed")["link"]), (&false.into(), &Value::Null));
    let request = event("request");
    assert_eq!((&request["method"], &request["path"]), (&"POST".into(), &"/orders/7".into()));
    assert_eq!((&request["status"], &request["received"], &request["sent"]), (&200.into(), &5.into(), &26.into()));
    assert!(request["ms"].is_u64() && request["reason"].is_null(), "{request}");
}

#[tokio::test]
async fn public_means_that_nobody_needs_a_token_or_says_what_is_missing() {
    let listen = ["--listen", "https://127.0.0.1:0", "--public", "open/*"];
    let relay = Relay::start_with(listen).await;
    let server = Raw::start().await;
    let exposed = relay.expose(&["open/web", "--public", &server.url()]).await;
    assert!(exposed.said().contains("whoever knows the address can reach it"), "{}", exposed.said());
    let mut curl = plain_curl();
    curl.arg("--cacert").arg(relay.ca_file()).arg(relay.url("/open/web/x"));
    assert_eq!(run(&mut curl, "").await.ok(), b"/x");
    assert_eq!(server.seen(), ["GET /x HTTP/1.1"], "asking the relay who is let in asks the server nothing");

    let refused = run(relay.command().args(["expose", "web", "--public", &server.url()]), "").await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    for text in ["error: senders of 'web' at ", "hybridrelay serve --dev --public web", "public = [\"web\"]"] {
        assert!(refused.stderr.contains(text), "{text} is missing in {}", refused.stderr);
    }
}

#[tokio::test]
async fn a_key_that_may_not_send_makes_no_token_for_senders() {
    let home = tempfile::tempdir().unwrap();
    let config = "version = 1\n[[listen]]\nurl = \"http://127.0.0.1:0\"\n[namespace.localhost]\nhosts = [\"*\"]\n\
                  [[namespace.localhost.rule]]\nname = \"listeners\"\nrights = [\"Listen\"]\nprimary_key = \"k3y\"\n\
                  [namespace.localhost.auto_create]\n";
    write(home.path(), "relay.toml", config);
    let file = home.path().join("relay.toml");
    let mut process = Process::start(crate::harness::command(home.path()).arg("serve").arg("--config").arg(&file));
    let ready: Value = serde_json::from_str(&process.line().await).unwrap();
    let authority = ready["listen"][0].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let mut command = crate::harness::command(home.path());
    command.env(
        "HYBRIDRELAY_CONNECTION_STRING",
        format!(
            "Endpoint=sb://{authority}/;SharedAccessKeyName=listeners;SharedAccessKey=k3y;UseDevelopmentEmulator=true"
        ),
    );
    let mut exposed = Process::start(command.args(["expose", "web", "1", "--link"]));
    exposed.says("senders need a token, of a rule that may send:").await;
    exposed.says(&format!("curl -H \"ServiceBusAuthorization: $TOKEN\" http://{authority}/web/")).await;
    exposed.signal(Signal::SIGINT);
    let said = exposed.output().await.stderr;
    assert!(!said.contains("sb-hc-token"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_down_is_told_once_and_so_is_that_it_is_back() {
    let relay = Relay::start().await;
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{place}");
    let mut exposed = relay.expose(&["web", &url]).await;
    for _ in 0..2 {
        let output = run(&mut relay.request(&["-i", "web/x"]), "").await;
        let text = String::from_utf8(output.ok()).unwrap();
        assert!(text.starts_with("HTTP/1.1 502 The listener's server failed: cannot connect to"), "{text}");
        assert!(text.contains("cannot connect to 127.0.0.1:") && text.contains("refused"), "{text}");
    }
    exposed.says_times(2, "GET /x 502").await;
    let refused = run(relay.command().args(["connect", "web/ws"]), "").await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot connect to 127.0.0.1"), "{}", refused.stderr);

    let _server = Raw::start_at(place).await;
    assert_eq!(run(&mut relay.request(&["web/back"]), "").await.ok(), b"/back");
    exposed.says(&format!("{url} answers again")).await;
    exposed.says("GET /back 200  5 bytes").await;
    assert_eq!(exposed.said().matches("does not answer, senders get 502").count(), 1, "{}", exposed.said());
}

#[tokio::test]
async fn the_hybrid_connections_name_is_taken_off_or_left_and_the_server_told_who_asks() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let _plain = relay.expose(&["plain", &server.url()]).await;
    let _whole = relay.expose(&["whole", &server.url(), "--no-strip", "--forwarded-headers"]).await;
    let _moved = relay.expose(&["moved", &server.url(), "--rewrite", "--forwarded-headers"]).await;
    assert_eq!(run(&mut relay.request(&["plain/a"]), "").await.ok(), b"/a");
    assert_eq!(run(&mut relay.request(&["whole/a"]), "").await.ok(), b"/whole/a");
    let output = run(&mut relay.request(&["-i", "moved/redirect"]), "").await;
    assert!(String::from_utf8(output.ok()).unwrap().contains("\r\nlocation: /moved/elsewhere\r\n"));
    let heads = server.heads();
    assert!(!heads[0].contains("x-forwarded"), "{}", heads[0]);
    assert!(heads[1].contains("x-forwarded-for: 127.0.0.1\r\n") && !heads[1].contains("x-forwarded-prefix"));
    assert!(heads[2].contains("x-forwarded-prefix: /moved\r\n"), "{}", heads[2]);
}

#[tokio::test]
async fn streams_reach_servers_of_bytes() {
    let relay = Relay::start().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = relay.home().join("server.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let mut over_tcp = relay.expose(&["tcp", &format!("tcp://{}", tcp.local_addr().unwrap())]).await;
    let _over_unix = relay.expose(&["unix", &format!("unix:{}", path.display())]).await;
    let answering = async {
        count(within("a visitor", tcp.accept()).await.unwrap().0).await;
        count(within("a visitor", unix.accept()).await.unwrap().0).await;
    };
    let asking = async {
        for entity in ["tcp", "unix"] {
            let output = run(relay.command().args(["connect", entity]), "12345").await;
            assert_eq!(output.ok(), b"5 bytes");
        }
    };
    tokio::join!(answering, asking);
    over_tcp.says("CONNECT / 101  7 bytes").await;
}

/// Reads to the end and answers behind it.
async fn count(mut stream: impl tokio::io::AsyncRead + AsyncWriteExt + Unpin) {
    let mut all = Vec::new();
    within("the end", stream.read_to_end(&mut all)).await.unwrap();
    stream.write_all(format!("{} bytes", all.len()).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_command_does() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let mut exposed = relay.expose(&["web", &server.url(), "--drain", "60s"]).await;
    let mut slow = Process::start(&mut relay.request(&["web/held"]));
    let held = server.held().await;
    exposed.signal(Signal::SIGINT);
    exposed.says("waiting for what is under way to end").await;
    drop(held);
    assert_eq!(slow.rest().await, b"/held");
    assert_eq!(slow.exit().await.code(), Some(0));
    assert_eq!(exposed.exit().await.code(), Some(0));

    let mut exposed = relay.expose(&["web", &server.url(), "--drain", "60s"]).await;
    let _slow = Process::start(&mut relay.request(&["web/held"]));
    let _held = server.held().await;
    exposed.signal(Signal::SIGINT);
    exposed.says("waiting for what is under way to end").await;
    exposed.signal(Signal::SIGINT);
    assert_eq!(exposed.exit().await.code(), Some(130));
}

#[tokio::test]
async fn what_cannot_be_exposed_is_refused_before_the_relay_is_asked() {
    let home = tempfile::tempdir().unwrap();
    for (server, why) in [
        ("ftp://localhost", "its scheme is not known"),
        ("tcp://localhost", "it names no port"),
        ("http://ann:hunter2@localhost", "credentials in the URL are not used"),
        ("Endpoint=sb://h/;SharedAccessKey=hunter2", "ENTITY is a connection string"),
    ] {
        let output = run(crate::harness::command(home.path()).args(["expose", "web", server]), "").await;
        assert_eq!(output.code, Some(2), "{server}: {}", output.stderr);
        assert!(output.stderr.contains(why) && !output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}
