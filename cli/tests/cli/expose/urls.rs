//! Addresses reach the server as the sender wrote them, byte for byte.

use std::collections::HashSet;
use std::fmt::Write;

use super::server::Raw;
use super::{answer, plain_curl};
use crate::harness::{Relay, run};

/// What paths are made of.
const PIECES: [&str; 10] = ["%7E", "%41", "%2f", "%c3%a9", "%20", "+", "/./", "//", ";a=b", "%2F.."];

/// What follows them. Not a lone `?`, which the relay drops (protocol.md 5.7).
const QUERIES: [&str; 4] = ["", "?a=%26&&b", "?&", "?%41=+%2f&?/;"];

/// 200 of them, no two the same.
fn targets() -> Vec<String> {
    let piece = |index: usize| PIECES[index % PIECES.len()];
    let target = |n: usize| {
        let (first, second, third) = (piece(n), piece(n / 10), piece(n / 3));
        format!("/x{first}{second}y{third}{}", QUERIES[(n + n / 4) % QUERIES.len()])
    };
    let targets: Vec<String> = (0..200).map(target).collect();
    assert_eq!(targets.iter().collect::<HashSet<_>>().len(), 200);
    targets
}

/// A configuration for curl that asks for all of them.
fn all_below(base: &str, targets: &[String]) -> String {
    targets.iter().fold(String::new(), |mut text, target| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "url = \"{base}{target}\"");
        text
    })
}

#[tokio::test]
async fn two_hundred_urls_arrive_as_they_do_without_a_relay() {
    let relay = Relay::start().await;
    let (server, direct) = (Raw::start().await, Raw::start().await);
    let _exposed = relay.expose(&["a/web", &server.url()]).await;
    let targets = targets();

    run(plain_curl().args(["--config", "-"]), all_below(&direct.url(), &targets)).await.ok();
    let expected = direct.seen();
    let written: Vec<_> = targets.iter().map(|target| format!("GET {target} HTTP/1.1")).collect();
    assert_eq!(expected, written, "curl sends what it is told");

    for version in ["--http1.1", "--http2"] {
        let before = server.seen().len();
        let mut curl = relay.curl("a/web").await;
        run(curl.args([version, "--config", "-"]), all_below(&relay.url("/a/web"), &targets)).await.ok();
        let seen = server.seen().split_off(before);
        for (seen, expected) in seen.iter().zip(&expected) {
            assert_eq!(seen, expected, "{version}");
        }
        assert_eq!(seen.len(), expected.len());
    }
}

#[tokio::test]
async fn the_commands_own_requests_arrive_as_they_were_written_too() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let _exposed = relay.expose(&["web", &server.url()]).await;
    for (asked, seen) in [
        ("web/a%2Fb//c/./d/%c3%A9?x=%41&&y=+z&", "/a%2Fb//c/./d/%c3%A9?x=%41&&y=+z&"),
        ("web/caf\u{e9} au lait?q=\u{e9}", "/caf%C3%A9%20au%20lait?q=%C3%A9"),
        ("web", "/"),
        ("web/%7E/", "/%7E/"),
    ] {
        assert_eq!(run(&mut relay.request(&[asked]), "").await.ok(), seen.as_bytes(), "{asked}");
    }
}

#[tokio::test]
async fn an_encoded_nul_is_refused() {
    let relay = Relay::start().await;
    let server = Raw::start().await;
    let _exposed = relay.expose(&["web", &server.url()]).await;
    for version in ["--http1.1", "--http2"] {
        let mut curl = relay.curl("web").await;
        let answer = answer(curl.args([version, &relay.url("/web/a%00b")])).await;
        assert_eq!(answer.status(), "400", "{}", answer.head);
        assert!(String::from_utf8_lossy(&answer.body).contains("encoded NUL"));
    }
    assert_eq!(server.seen(), [""; 0]);
}
