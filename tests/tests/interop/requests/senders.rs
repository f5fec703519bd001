//! Senders: programs of other stacks, and the SDK.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use hybridrelay::Sender;
use hybridrelay_tests::payload::sha256;
use hybridrelay_tests::program::{Program, patiently};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::listeners::pieces;
use crate::relay::{ENTITY, TestRelay};
use crate::stacks;

/// More than any answer here has.
const LIMIT: usize = 80 << 20;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    CurlHttp1,
    CurlHttp2,
    Ours,
    Fetch,
    HycoHttps,
}

impl Client {
    pub(crate) const ALL: [Self; 5] = [Self::CurlHttp1, Self::CurlHttp2, Self::Ours, Self::Fetch, Self::HycoHttps];
}

/// A request with a body: a POST that tells its length, or a PUT that does not.
pub(crate) struct Ask<'a> {
    /// What follows the hybrid connection's name.
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) chunked: bool,
    pub(crate) header: (&'a str, &'a str),
}

impl Ask<'_> {
    fn method(&self) -> &'static str {
        if self.chunked { "PUT" } else { "POST" }
    }
}

/// What a sender got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// The reason phrase, where there is one.
    pub(crate) reason: Option<String>,
    pub(crate) via: Option<String>,
    /// Whether the connection had carried another request before, as far as the sender tells.
    pub(crate) reused: bool,
    pub(crate) size: usize,
    pub(crate) sha256: String,
}

/// All of them, ready to ask one relay.
pub(crate) struct Senders {
    node: Program,
    sdk: Sender,
    files: TempDir,
    asked: AtomicUsize,
}

impl Senders {
    pub(crate) async fn start(relay: &TestRelay) -> Self {
        Self {
            node: stacks::http(relay).await,
            sdk: relay.sender(),
            files: tempfile::tempdir().expect("a temporary directory"),
            asked: AtomicUsize::new(0),
        }
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn ask(&self, relay: &TestRelay, client: Client, ask: &Ask<'_>) -> Got {
        match client {
            Client::CurlHttp1 => self.curl(relay, "--http1.1", ask.path, Some(ask)).await,
            Client::CurlHttp2 => self.curl(relay, "--http2", ask.path, Some(ask)).await,
            Client::Ours => self.ours(ask).await,
            Client::Fetch => self.node(relay, "fetch", ask.method(), ask.path, Some(ask)).await,
            Client::HycoHttps => self.node(relay, "request", ask.method(), ask.path, Some(ask)).await,
        }
    }

    /// The SDK's sender, by HTTP/2.
    async fn ours(&self, ask: &Ask<'_>) -> Got {
        let whole = Bytes::copy_from_slice(ask.body);
        let body = if ask.chunked { pieces(whole) } else { whole.into() };
        let (name, value) = ask.header;
        let request = Request::builder().method(ask.method()).uri(ask.path).header(name, value).body(body);
        let response = self.sdk.request(request.expect("a request"));
        let (parts, body) = patiently("an answer", response).await.expect("an answer").into_parts();
        let body = patiently("the whole answer", body.bytes(LIMIT)).await.expect("a whole body");
        let via = parts.headers.get("via").map(|via| via.to_str().expect("ASCII").to_owned());
        let (size, sha256) = (body.len(), sha256(&body));
        Got { status: parts.status.as_u16(), reason: None, via, reused: false, size, sha256 }
    }

    /// One of Node's clients: `request` of hyco-https or `fetch`.
    pub(crate) async fn node(
        &self,
        relay: &TestRelay,
        client: &str,
        method: &str,
        path: &str,
        body: Option<&Ask<'_>>,
    ) -> Got {
        let mut command = command(relay, path);
        command["do"] = json!(client);
        command["method"] = json!(method);
        if let Some(Ask { body, chunked, header: (name, value), .. }) = body {
            command["size"] = json!(body.len());
            command["chunked"] = json!(chunked);
            command["headers"] = json!({*name: value});
        }
        let id = self.asked.fetch_add(1, Ordering::Relaxed).to_string();
        command["id"] = json!(id);
        let mut events = self.node.events(&id);
        self.node.tell(command).await;
        Got::told(&events.expect("answer").await)
    }

    /// The program that Node's clients run in.
    pub(crate) fn program(&self) -> &Program {
        &self.node
    }

    pub(crate) async fn finish(self) {
        self.node.finish().await;
    }

    /// curl by a version of HTTP; without a body it GETs.
    pub(crate) async fn curl(&self, relay: &TestRelay, version: &str, path: &str, body: Option<&Ask<'_>>) -> Got {
        let file = |name: &str| self.files.path().join(name);
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let (input, head, output) = (file("input"), file("head"), file("output"));
        std::fs::write(&input, body.map_or(&[][..], |ask| ask.body)).expect("a file");
        std::fs::write(&output, b"").expect("a file");
        let mut arguments: Vec<String> =
            ["--silent", "--show-error", "--noproxy", "*", version].map(str::to_owned).to_vec();
        arguments.extend(["--cacert".to_owned(), text(relay.ca_file())]);
        arguments.extend(["--dump-header".to_owned(), text(&head), "--output".to_owned(), text(&output)]);
        arguments.extend(["--write-out".to_owned(), "%{http_version}".to_owned()]);
        arguments.extend(["--header".to_owned(), format!("ServiceBusAuthorization: {}", relay.token(ENTITY))]);
        if let Some(Ask { chunked, header: (name, value), .. }) = body {
            arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
            arguments.extend(match chunked {
                true => ["--upload-file".to_owned(), "-".to_owned()],
                false => ["--data-binary".to_owned(), format!("@{}", text(&input))],
            });
        }
        arguments.push(format!("https://localhost:{}/{ENTITY}{path}", relay.port()));
        let stdin = Stdio::from(File::open(&input).expect("a file"));
        let used = stacks::run_with("curl", arguments, stdin).await;
        assert_eq!(used, version.trim_start_matches("--http"), "curl speaks as it was told");
        // What comes before the last head is a 100.
        let heads = std::fs::read_to_string(&head).expect("a head");
        Got::from_curl(&heads[heads.rfind("HTTP/").unwrap_or_default()..], &std::fs::read(&output).expect("a body"))
    }
}

impl Got {
    /// What an event of Node's clients tells.
    pub(crate) fn told(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            status: serde_json::from_value(answer["status"].clone()).expect("a status"),
            reason: text(&answer["reason"]),
            via: text(&answer["headers"]["via"]),
            reused: answer["reused"] == true,
            size: serde_json::from_value(answer["size"].clone()).expect("a size"),
            sha256: text(&answer["sha256"]).expect("a digest"),
        }
    }

    fn from_curl(head: &str, body: &[u8]) -> Self {
        let (line, fields) = head.split_once("\r\n").expect("a head");
        let mut words = line.splitn(3, ' ').skip(1);
        let mut fields = fields.lines().filter_map(|line| line.split_once(": "));
        let via = fields.find(|(name, _)| name.eq_ignore_ascii_case("via")).map(|(_, value)| value.trim().to_owned());
        Self {
            status: words.next().and_then(|status| status.trim().parse().ok()).expect("a status"),
            reason: words.next().map(str::to_owned),
            via,
            reused: false,
            size: body.len(),
            sha256: sha256(body),
        }
    }
}

/// A command for Node's clients: where to ask, and with which key.
pub(crate) fn command(relay: &TestRelay, path: &str) -> Value {
    let host = format!("localhost:{}", relay.port());
    let (key_name, key) = (relay.local().key_name(), relay.local().key());
    json!({"host": host, "path": format!("{ENTITY}{path}"), "keyName": key_name, "key": key})
}
