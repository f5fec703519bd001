//! Listeners that send every request's body back, and tell what they got.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use hybridrelay::{Body, Incoming, IncomingRequest, ReasonPhrase};
use hybridrelay_tests::payload::sha256;
use hybridrelay_tests::program::{Program, patiently};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::mpsc;

use crate::relay::{ENTITY, TestRelay};
use crate::stacks;

/// More than any body here has.
const LIMIT: usize = 80 << 20;

/// How much is written at once where the answer comes in pieces.
const PIECE: usize = 10_000;

/// A listener whose answer is the request's body. The query tells how: `status`, `reason`, and `pieces` for a body without a length.
pub(crate) enum RequestListener {
    Ours(mpsc::UnboundedReceiver<Asked>),
    HycoHttps(Box<Program>),
}

/// What a listener got.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
    /// The header `X-Tab`.
    pub(crate) tab: Option<String>,
    /// The header `Relay-Delivery`.
    pub(crate) delivery: Option<String>,
    pub(crate) size: usize,
    pub(crate) sha256: String,
}

impl RequestListener {
    /// The SDK's.
    pub(crate) async fn ours(relay: &TestRelay) -> Self {
        let listener = relay.listener().await.expect("online");
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
                tokio::spawn(answer(request, tell.clone()));
            }
        });
        Self::Ours(asked)
    }

    /// The official package.
    pub(crate) async fn hyco_https(relay: &TestRelay) -> Self {
        let program = stacks::hyco_https(relay).await;
        let url = format!("wss://localhost:{}/$hc/{ENTITY}?sb-hc-action=listen", relay.port());
        let (key_name, key) = (relay.local().key_name(), relay.local().key());
        program.tell(json!({"do": "listen", "url": url, "keyName": key_name, "key": key})).await;
        program.expect("listening").await;
        Self::HycoHttps(Box::new(program))
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self {
            Self::Ours(asked) => patiently("a request", asked.recv()).await.expect("the listener listens"),
            Self::HycoHttps(program) => {
                let told = program.expect("request").await;
                let text = |name: &str| told[name].as_str().expect("a text").to_owned();
                let headers = told["headers"].as_object().expect("an object");
                let header = |wanted: &str| {
                    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.as_str().expect("a text").to_owned())
                };
                Asked {
                    method: text("method"),
                    url: text("url"),
                    tab: header("x-tab"),
                    delivery: header("relay-delivery"),
                    size: told["size"].as_u64().and_then(|size| usize::try_from(size).ok()).expect("a number"),
                    sha256: text("sha256"),
                }
            }
        }
    }

    /// Ends it.
    pub(crate) async fn finish(self) {
        match self {
            // It ends with the test.
            Self::Ours(_) => {}
            Self::HycoHttps(program) => program.finish().await,
        }
    }
}

async fn answer(request: IncomingRequest, tell: mpsc::UnboundedSender<Asked>) {
    let query = request.query().map_or(String::new(), |query| format!("?{query}"));
    let url = format!("{}{}{query}", request.mount(), request.path());
    let (request, responder) = request.into_parts();
    let (parts, body) = request.into_parts();
    let body = body.bytes(LIMIT).await.expect("a whole body");
    let header = |name| parts.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    let asked = Asked {
        method: parts.method.to_string(),
        url,
        tab: header("x-tab"),
        delivery: header("relay-delivery"),
        size: body.len(),
        sha256: sha256(&body),
    };
    // A test that has failed does not listen.
    let _ = tell.send(asked);

    let wanted = |name: &str| {
        let field = query.trim_start_matches('?').split('&').find_map(|field| field.strip_prefix(name));
        field.map(|value| percent_decode_str(value.trim_start_matches('=')).decode_utf8_lossy().into_owned())
    };
    let mut response = Response::builder().header("content-type", "application/octet-stream");
    if let Some(status) = wanted("status") {
        response = response.status(status.parse::<u16>().expect("a status"));
    }
    if let Some(reason) = wanted("reason") {
        response = response.extension(ReasonPhrase(reason));
    }
    let body = if wanted("pieces").is_some() { pieces(body) } else { body.into() };
    responder.send(response.body(body).expect("a response")).await.expect("sent");
}

/// The same bytes in pieces, whose number nobody knows before.
pub(super) fn pieces(mut body: Bytes) -> Body {
    let pieces = std::iter::from_fn(move || {
        let piece = body.split_to(body.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok::<_, Infallible>(piece))
    });
    Body::from_stream(stream::iter(pieces))
}
