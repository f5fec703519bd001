//! The official package `hyco-https`, unmodified, as listener; curl as sender, by HTTP/1.1 and HTTP/2.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use http::Request;
use hybridrelay_relay::{Entity, HttpSettings};
use hybridrelay_tests::payload::sha256;
use hybridrelay_tests::program::{Program, patiently};
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{ENTITY, TestRelay};
use crate::stacks;

const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 1 << 20];

/// The versions as curl wants and names them.
const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2", "2")];

/// What curl got.
struct Got {
    status: String,
    version: String,
    head: String,
    body: Vec<u8>,
}

#[tokio::test]
async fn bodies_of_every_size_and_framing_go_to_hyco_https_and_back() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay).await;
    let files = tempfile::tempdir().expect("a temporary directory");
    for size in SIZES {
        let sent: Vec<u8> = (0..251).cycle().take(size).collect();
        for (option, version) in VERSIONS {
            for chunked in [false, true] {
                // The answer is in one piece where the request was not, so that each size passes in all ways.
                let path = if chunked { "/echo" } else { "/echo?pieces" };
                let got = curl(&relay, &files, path, option, Some((&sent, chunked))).await;
                let what = format!("{size} bytes, HTTP/{version}, chunked: {chunked}");
                let asked = listening.expect("request").await;
                assert_eq!((&asked["size"], &asked["sha256"]), (&json!(size), &json!(sha256(&sent))), "{what}");
                assert_eq!(asked["url"], format!("/{ENTITY}{path}"), "{what}");
                assert_eq!((&*got.status, &*got.version), ("200", version), "{what}: {}", got.head);
                assert!(got.body == sent, "{what}: {} bytes came back", got.body.len());
                assert!(got.head.to_ascii_lowercase().contains("\r\nvia: 1.1 localhost\r\n"), "{}", got.head);
            }
        }
    }
    listening.finish().await;
}

#[tokio::test]
async fn hyco_https_answers_without_a_body_and_goes_on() {
    let relay = TestRelay::start().await;
    let listening = listening(&relay).await;
    let files = tempfile::tempdir().expect("a temporary directory");
    for (option, _) in VERSIONS {
        // Behind each of them it sends a message that nobody announced.
        for path in ["/x?status=204", "/x?status=304", "/x?status=200", "/x?status=404"] {
            let got = curl(&relay, &files, path, option, None).await;
            let asked = listening.expect("request").await;
            assert_eq!((&asked["method"], &asked["size"]), (&json!("GET"), &json!(0)));
            assert_eq!(path.rsplit('=').next(), Some(&*got.status), "{}", got.head);
            assert_eq!(got.body, b"");
        }
    }
    let got = curl(&relay, &files, "/x?status=418&reason=Short%20and%20stout", "--http1.1", None).await;
    assert!(got.head.starts_with("HTTP/1.1 418 Short and stout\r\n"), "{}", got.head);
    listening.finish().await;
}

#[tokio::test]
async fn one_way_requests_reach_hyco_https_and_what_it_answers_goes_nowhere() {
    let relay = TestRelay::start().await;
    let mut http = HttpSettings::default();
    http.one_way_max = 1 << 20;
    let entity = Entity::new(ENTITY.parse().expect("a path")).with_http(http);
    assert!(relay.local().store().put_entity(relay.local().namespace(), entity));
    let listening = listening(&relay).await;
    let sender = relay.sender();
    // It answers with what it got: from 64 KiB on at a rendezvous, which must be open for it.
    for size in SIZES {
        for path in ["/echo", "/echo?pieces", "/x?status=500", "/x?status=204"] {
            let body: Vec<u8> = (0..251).cycle().take(size).collect();
            let request = Request::post(path).body(body.clone()).expect("a request");
            let sent = patiently("a listener to take it", sender.send_one_way(request)).await.expect("it is online");
            assert_eq!(sent.listeners(), 1);
            let asked = listening.expect("request").await;
            assert_eq!((&asked["size"], &asked["sha256"]), (&json!(size), &json!(sha256(&body))), "{size} {path}");
            assert_eq!(asked["headers"]["relay-delivery"], "one-way");
        }
    }
    // Its channel is as good as new.
    let request = Request::post("/echo").body("and back").expect("a request");
    let response = patiently("an answer", sender.request(request)).await.expect("it is online");
    assert_eq!(response.into_body().bytes(99).await.expect("a whole body"), "and back");
    listening.finish().await;
}

/// The package as a listener that is online.
async fn listening(relay: &TestRelay) -> Program {
    let program = stacks::hyco_https(relay).await;
    let url = format!("wss://localhost:{}/$hc/{ENTITY}?sb-hc-action=listen", relay.port());
    program
        .tell(json!({"do": "listen", "url": url, "keyName": relay.local().key_name(), "key": relay.local().key()}))
        .await;
    program.expect("listening").await;
    program
}

/// Asks for a path below the hybrid connection; with a body by POST and its length, or by PUT of unknown length.
async fn curl(relay: &TestRelay, files: &TempDir, path: &str, version: &str, body: Option<(&[u8], bool)>) -> Got {
    let file = |name: &str| files.path().join(name);
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (input, head, output) = (file("input"), file("head"), file("output"));
    std::fs::write(&input, body.map_or(&[][..], |(body, _)| body)).expect("a file");
    std::fs::write(&output, b"").expect("a file");
    let mut arguments: Vec<String> =
        ["--silent", "--show-error", "--noproxy", "*", version].map(str::to_owned).to_vec();
    arguments.extend(["--cacert".to_owned(), text(relay.ca_file())]);
    arguments.extend(["--dump-header".to_owned(), text(&head), "--output".to_owned(), text(&output)]);
    arguments.extend(["--write-out".to_owned(), "%{http_code} %{http_version}".to_owned()]);
    arguments.extend(["--header".to_owned(), format!("ServiceBusAuthorization: {}", relay.token(ENTITY))]);
    match body {
        Some((_, true)) => arguments.extend(["--upload-file".to_owned(), "-".to_owned()]),
        Some((_, false)) => arguments.extend(["--data-binary".to_owned(), format!("@{}", text(&input))]),
        None => {}
    }
    arguments.push(format!("https://localhost:{}/{ENTITY}{path}", relay.port()));
    let stdin = Stdio::from(File::open(&input).expect("a file"));
    let told = stacks::run_with("curl", arguments, stdin).await;
    let (status, version) = told.split_once(' ').expect("a status and a version");
    // What comes before the last head is a 100.
    let heads = std::fs::read_to_string(&head).expect("a head");
    let at = heads.rfind("HTTP/").unwrap_or_default();
    Got {
        status: status.to_owned(),
        version: version.to_owned(),
        head: heads[at..].to_owned(),
        body: std::fs::read(&output).expect("a body"),
    }
}
