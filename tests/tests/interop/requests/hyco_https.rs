//! The official package `hyco-https`, unmodified: as listener in front of what it sends beside the rule, and as sender.

use http::Request;
use hybridrelay::{Incoming, Responder};
use hybridrelay_relay::{Entity, HttpSettings};
use hybridrelay_tests::payload::sha256;
use hybridrelay_tests::program::patiently;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::listeners::RequestListener;
use super::senders::{Ask, Client, Got, Senders, command};
use super::{SIZES, TABBED, body};
use crate::relay::{ENTITY, TestRelay};

#[tokio::test]
async fn hyco_https_answers_without_a_body_and_goes_on() {
    let relay = TestRelay::start().await;
    let mut listener = RequestListener::hyco_https(&relay).await;
    let senders = Senders::start(&relay).await;
    for version in ["--http1.1", "--http2"] {
        // Behind each of them it sends a message that nobody announced.
        for status in [204, 304, 200, 404] {
            let got = senders.curl(&relay, version, &format!("/x?status={status}"), None).await;
            let asked = listener.asked().await;
            assert_eq!((&*asked.method, asked.size), ("GET", 0));
            assert_eq!((got.status, got.size), (status, 0));
        }
    }
    let got = senders.curl(&relay, "--http1.1", "/x?status=418&reason=Short%20and%20stout", None).await;
    assert_eq!((got.status, got.reason.as_deref()), (418, Some("Short and stout")));
    senders.finish().await;
    listener.finish().await;
}

#[tokio::test]
async fn one_way_requests_reach_hyco_https_and_what_it_answers_goes_nowhere() {
    let relay = TestRelay::start().await;
    let mut http = HttpSettings::default();
    http.one_way_max = 1 << 20;
    let entity = Entity::new(ENTITY.parse().expect("a path")).with_http(http);
    assert!(relay.local().store().put_entity(relay.local().namespace(), entity));
    let mut listener = RequestListener::hyco_https(&relay).await;
    let sender = relay.sender();
    // It answers with what it got: from 64 KiB on at a rendezvous, which must be open for it.
    for size in SIZES {
        for path in ["/echo", "/echo?pieces", "/x?status=500", "/x?status=204"] {
            let sent = body(size);
            let request = Request::post(path).body(sent.clone()).expect("a request");
            let handed = patiently("a listener to take it", sender.send_one_way(request)).await.expect("it is online");
            assert_eq!(handed.listeners(), 1);
            let asked = listener.asked().await;
            assert_eq!((asked.size, asked.sha256), (size, sha256(&sent)), "{size} {path}");
            assert_eq!(asked.delivery.as_deref(), Some("one-way"));
        }
    }
    // Its channel is as good as new.
    let request = Request::post("/echo").body("and back").expect("a request");
    let response = patiently("an answer", sender.request(request)).await.expect("it is online");
    assert_eq!(response.into_body().bytes(99).await.expect("a whole body"), "and back");
    listener.finish().await;
}

#[tokio::test]
async fn every_hyco_https_listener_gets_a_request_that_is_for_everybody() {
    let relay = TestRelay::start().await;
    relay.give_everybody_everything();
    let mut listeners = [RequestListener::hyco_https(&relay).await, RequestListener::hyco_https(&relay).await];
    let sender = relay.sender();
    for size in SIZES {
        let sent = body(size);
        let request = Request::post("/topic").body(sent.clone()).expect("a request");
        let handed =
            patiently("the listeners to take it", sender.send_one_way(request)).await.expect("they are online");
        assert_eq!(handed.listeners(), 2);
        for listener in &mut listeners {
            let asked = listener.asked().await;
            assert_eq!((asked.size, asked.sha256), (size, sha256(&sent)));
        }
    }
    for listener in listeners {
        listener.finish().await;
    }
}

/// One process asks all of it.
#[tokio::test]
async fn hyco_https_asks_our_listener_for_everything_that_https_can() {
    let relay = TestRelay::start().await;
    let senders = Senders::start(&relay).await;
    let listener = RequestListener::ours(&relay).await;
    let mut asking = Asking { relay: &relay, senders: &senders, listener };
    asking.every_method().await;
    asking.statuses_and_reasons_on_one_connection().await;
    asking.large_bodies().await;
    asking.many_at_once().await;
    senders.finish().await;
}

struct Asking<'a> {
    relay: &'a TestRelay,
    senders: &'a Senders,
    listener: RequestListener,
}

impl Asking<'_> {
    async fn bodyless(&mut self, method: &str, path: &str) -> Got {
        let got = self.senders.node(self.relay, "request", method, path, None).await;
        let asked = self.listener.asked().await;
        assert_eq!((&*asked.method, asked.size), (method, 0));
        got
    }

    async fn every_method(&mut self) {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let got = self.bodyless(method, "/x?status=202&reason=Taken%20on").await;
            assert_eq!((got.status, got.reason.as_deref(), got.size), (202, Some("Taken on"), 0), "{method}");
        }
        let sent = super::body(1000);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for chunked in [false, true] {
                let ask = Ask { path: "/x", body: &sent, chunked, header: ("x-tab", TABBED) };
                let got = self.senders.node(self.relay, "request", method, "/x", Some(&ask)).await;
                let asked = self.listener.asked().await;
                let digest = (1000, sha256(&sent));
                assert_eq!((&*asked.method, asked.size, asked.sha256), (method, digest.0, digest.1.clone()));
                assert_eq!((got.size, got.sha256), digest, "{method}");
            }
        }
    }

    /// Whatever an answer is, the next one begins where it ends.
    async fn statuses_and_reasons_on_one_connection(&mut self) {
        for (status, reason) in [
            (204, "No Content"),
            (200, "OK"),
            (304, "Not Modified"),
            (404, "Not Found"),
            (418, "Short and stout"),
            (503, "Service Unavailable"),
            (599, "\"quoted\" (and more)"),
            (204, "Nothing"),
            (200, "Fine"),
        ] {
            let path = format!("/x?status={status}&reason={}", utf8_percent_encode(reason, NON_ALPHANUMERIC));
            let got = self.bodyless("GET", &path).await;
            assert_eq!((got.status, got.reason.as_deref(), got.size), (status, Some(reason), 0));
            assert!(got.reused, "{status} {reason} came by a connection of its own");
        }
    }

    async fn large_bodies(&mut self) {
        let sent = super::body(64 << 20);
        let digest = (sent.len(), sha256(&sent));
        for (path, chunked) in [("/echo", false), ("/echo?pieces", true)] {
            let ask = Ask { path, body: &sent, chunked, header: ("x-tab", TABBED) };
            let got = self.senders.ask(self.relay, Client::HycoHttps, &ask).await;
            let asked = self.listener.asked().await;
            assert_eq!((asked.size, asked.sha256), digest, "{path}");
            assert_eq!((got.size, got.sha256), digest, "{path}");
        }
    }

    /// Each answer belongs to its request.
    async fn many_at_once(&mut self) {
        let bodies: Vec<_> = (0..200).map(|number| super::body(number * 701)).collect();
        let (relay, senders) = (self.relay, self.senders);
        let asks = bodies.iter().enumerate().map(|(number, body)| async move {
            let ask = Ask { path: "/echo", body, chunked: number % 2 == 1, header: ("x-tab", TABBED) };
            senders.ask(relay, Client::HycoHttps, &ask).await
        });
        let answers = futures_util::future::join_all(asks).await;
        for (body, got) in bodies.iter().zip(answers) {
            assert_eq!((got.status, got.size, got.sha256), (200, body.len(), sha256(body)));
        }
    }
}

#[tokio::test]
async fn hyco_https_and_our_listener_write_to_each_other_piece_by_piece() {
    let relay = TestRelay::start().await;
    let senders = Senders::start(&relay).await;
    let listener = relay.listener().await.expect("online");
    let program = senders.program();
    let mut events = program.events("slow");
    let mut begin = command(&relay, "/slow");
    begin["do"] = json!("begin");
    begin["id"] = json!("slow");
    begin["method"] = json!("POST");
    program.tell(begin).await;

    let (request, responder): (_, Responder) = match patiently("a request", listener.accept()).await {
        Ok(Some(Incoming::Request(request))) => request.into_parts(),
        other => panic!("a request was expected, not {other:?}"),
    };
    let mut body = request.into_body();
    for text in ["one", "two", "three"] {
        program.tell(json!({"do": "write", "id": "slow", "text": text})).await;
        assert_eq!(patiently("a piece", body.chunk()).await.expect("it goes on").expect("a piece"), text);
    }
    // The answer is under way before the request has ended.
    let mut writer = responder.start(http::Response::new(())).expect("a response");
    for text in ["four", "five"] {
        writer.write(text).await.expect("taken");
        writer.flush().await.expect("sent");
        assert_eq!(events.expect("piece").await["text"], text);
    }
    program.tell(json!({"do": "end", "id": "slow"})).await;
    assert_eq!(patiently("the end", body.chunk()).await.expect("it ends well"), None);
    writer.finish().await.expect("sent");
    let got = Got::told(&events.expect("answer").await);
    assert_eq!((got.status, got.size, got.sha256), (200, 8, sha256(b"fourfive")));
    senders.finish().await;
}
