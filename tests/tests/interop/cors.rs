//! The `fetch` of a page in Chromium whose origin is not the relay's (protocol.md 10, decision 45). The browser is the judge of what
//! the relay allows.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use http::{HeaderValue, Request, Response};
use hybridrelay::{Body, Incoming, Listener, Responder};
use hybridrelay_relay::{Entity, HttpSettings};
use hybridrelay_tests::program::{Program, patiently, prepared};
use serde_json::{Value, json};

use crate::relay::{ENTITY, TestRelay, with_token};
use crate::stacks;

/// Pages of any origin may ask on this one, without credentials.
const OPEN: &str = "open";

/// Pages of the test's origin may ask here, but nobody listens.
const DESERTED: &str = "deserted";

/// A web site: the page from a server. Returns its origin.
async fn site() -> String {
    let page = std::fs::read_to_string(prepared("tests/interop/browser/page.html")).expect("a file");
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listening.local_addr().expect("bound");
    let site = Router::new().route("/", get(|| async { Html(page) }));
    tokio::spawn(async move { axum::serve(listening, site).await });
    format!("http://{address}")
}

/// Lets pages of these origins ask.
fn allow(relay: &TestRelay, entity: &str, origin: &str) {
    let mut http = HttpSettings::default();
    http.cors = vec![origin.to_owned()];
    let entity = Entity::new(entity.parse().expect("a path")).with_http(http);
    assert!(relay.local().store().put_entity(relay.local().namespace(), entity));
}

struct Page {
    program: Program,
    asked: usize,
}

impl Page {
    /// Asks, and returns what the page is told.
    async fn fetch(&mut self, url: String, init: Value) -> Value {
        self.asked += 1;
        let id = self.asked.to_string();
        let mut events = self.program.events(&id);
        self.program.tell(json!({"do": "fetch", "id": id, "url": url, "init": init})).await;
        events.next().await
    }
}

/// The next request of a listener.
async fn asked(listener: &Listener) -> (Request<Body>, Responder) {
    match patiently("a request", listener.accept()).await {
        Ok(Some(Incoming::Request(request))) => request.into_parts(),
        other => panic!("a request was expected, not {other:?}"),
    }
}

async fn answer(responder: Responder, body: &'static str) {
    let response = Response::builder().header("set-cookie", "a=1; SameSite=None; Secure").body(body);
    patiently("the answer to leave", responder.send(response.expect("a response"))).await.expect("sent");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_asks_and_reads_and_no_other_does() {
    let (relay, origin) = (TestRelay::start().await, site().await);
    allow(&relay, ENTITY, &origin);
    allow(&relay, DESERTED, &origin);
    allow(&relay, OPEN, "*");
    let listener = relay.listener().await.expect("online");
    let at = |entity: &str| format!("https://localhost:{}/{entity}", relay.port());
    let token = |entity: &str| with_token(&format!("{}?from=page", at(entity)), &relay.token(entity));
    let own = HeaderValue::try_from(&origin).expect("a header value");
    let home = tempfile::tempdir().expect("a directory");
    let program = stacks::page_from(&relay, home.path(), &origin).await;
    let mut page = Page { program, asked: 0 };

    // Nothing to ask for permission beforehand.
    let (got, ()) = tokio::join!(page.fetch(token(ENTITY), json!({})), async {
        let (request, responder) = asked(&listener).await;
        assert_eq!((request.method().as_str(), &request.headers()["origin"]), ("GET", &own));
        answer(responder, "simple").await;
    });
    assert_eq!((&got["status"], &got["body"]), (&json!(200), &json!("simple")), "{got}");
    assert_eq!(got["headers"]["via"], "1.1 localhost", "the page sees that a listener answered");

    // A preflight comes first, and the listener never sees it.
    let headers =
        json!({"ServiceBusAuthorization": relay.token(ENTITY), "Content-Type": "application/json", "X-Own": "1"});
    let post = json!({"method": "POST", "headers": headers, "body": "{\"a\":1}", "credentials": "include"});
    for _ in 0..2 {
        let (got, ()) = tokio::join!(page.fetch(at(ENTITY), post.clone()), async {
            let (request, responder) = asked(&listener).await;
            assert_eq!((request.method().as_str(), &request.headers()["x-own"]), ("POST", &HeaderValue::from(1)));
            assert_eq!(request.headers()["content-type"], "application/json");
            assert_eq!(request.into_body().bytes(99).await.expect("a body"), "{\"a\":1}");
            answer(responder, "posted").await;
        });
        assert_eq!((&got["status"], &got["body"]), (&json!(200), &json!("posted")), "{got}");
    }

    // What the relay itself says is for the page as well.
    for (url, status, text, reason) in [
        (at(ENTITY), 401, "MissingToken", "missing_token"),
        (token(DESERTED), 404, "There are no listeners connected for the endpoint", "no_listeners"),
    ] {
        let got = page.fetch(url, json!({})).await;
        assert_eq!(got["status"], status, "{got}");
        assert!(got["body"].as_str().is_some_and(|body| body.contains(text)), "{got}");
        assert_eq!(got["headers"]["relay-reason"], reason, "{got}");
        assert!(got["headers"]["trackingid"].is_string() && got["headers"]["via"].is_null(), "{got}");
    }

    // Whoever lets everybody in gets nobody's cookies.
    let open = relay.listener().entity(OPEN).await.expect("online");
    for (credentials, event) in [("omit", "answer"), ("include", "blocked")] {
        let (got, ()) = tokio::join!(page.fetch(token(OPEN), json!({"credentials": credentials})), async {
            answer(asked(&open).await.1, "for all").await;
        });
        assert_eq!(got["event"], event, "{credentials}: {got}");
    }
    page.program.finish().await;

    // From elsewhere a request that needs a preflight is not even sent, and the answer to another is not shown.
    let home = tempfile::tempdir().expect("a directory");
    let elsewhere = stacks::page_from(&relay, home.path(), &site().await).await;
    let mut elsewhere = Page { program: elsewhere, asked: 0 };
    assert_eq!(elsewhere.fetch(at(ENTITY), post).await["event"], "blocked");
    let (got, ()) = tokio::join!(elsewhere.fetch(token(ENTITY), json!({})), async {
        let (request, responder) = asked(&listener).await;
        assert_eq!(request.method(), "GET", "the first that the listener hears of it");
        answer(responder, "not for you").await;
    });
    assert_eq!(got["event"], "blocked", "{got}");
    elsewhere.program.finish().await;
}
