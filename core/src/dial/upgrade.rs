//! The WebSocket handshake over HTTP/1.1, through hyper, so that a refusal's reason phrase, headers and body are seen.

use std::future::{Future, poll_fn};
use std::pin::pin;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{DialError, DialTarget, Refused, Upgraded};
use crate::env::{BoxSocket, Env};
use crate::{Error, ErrorKind, Result};

/// How much of a refusal's body is read for its explanation.
const REFUSAL_BODY_LIMIT: usize = 64 * 1024;

pub(super) async fn upgrade(
    env: &Env,
    socket: BoxSocket,
    target: &DialTarget,
    headers: HeaderMap,
    subprotocols: &[String],
) -> Result<Upgraded, DialError> {
    let key = STANDARD.encode(env.random::<16>());
    let request = request(target, headers, subprotocols, &key)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| broken(target, error))?;

    // The exchange and the connection that carries it are one future: nothing is left behind when it is dropped.
    let mut connection = pin!(connection.with_upgrades());
    let mut connection_error = None;
    let mut connection_done = false;
    let mut exchange = pin!(async move {
        let response = sender.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answer::Switched(response));
        }
        Ok(Answer::Refused(refusal(response).await))
    });
    let answer: Result<Answer, hyper::Error> = poll_fn(|cx| {
        if !connection_done && let std::task::Poll::Ready(outcome) = connection.as_mut().poll(cx) {
            connection_done = true;
            connection_error = outcome.err();
        }
        exchange.as_mut().poll(cx)
    })
    .await;

    match answer {
        Ok(Answer::Switched(response)) => accepted(target, response, subprotocols, &key).await,
        Ok(Answer::Refused(refused)) => Err(DialError::Refused(refused)),
        // The connection knows better than the exchange why it ended.
        Err(error) => Err(broken(target, connection_error.unwrap_or(error)).into()),
    }
}

enum Answer {
    Switched(Response<Incoming>),
    Refused(Refused),
}

fn request(
    target: &DialTarget,
    headers: HeaderMap,
    subprotocols: &[String],
    key: &str,
) -> Result<Request<Empty<Bytes>>> {
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().uri(path).body(Empty::new()).map_err(|_| Error::invalid("the path is not valid"))?;
    let value = |text: &str, what: &str| {
        HeaderValue::from_str(text).map_err(|_| Error::invalid(format!("{what} is not a valid header value")))
    };
    let fields = request.headers_mut();
    *fields = headers;
    fields.insert(header::HOST, value(target.authority(), "the host")?);
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    fields.insert(header::SEC_WEBSOCKET_KEY, value(key, "the handshake key")?);
    if !subprotocols.is_empty() {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, value(&subprotocols.join(", "), "the sub-protocol list")?);
    }
    Ok(request)
}

/// Checks a 101 (RFC 6455 4.1) and takes the socket out of hyper.
async fn accepted(
    target: &DialTarget,
    response: Response<Incoming>,
    offered: &[String],
    key: &str,
) -> Result<Upgraded, DialError> {
    let violation = |what: &str| {
        Error::new(ErrorKind::Protocol, format!("{} answered the handshake with {what}", target.authority()))
    };
    let headers = response.headers().clone();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());

    if !text(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err(violation("a 101 that does not upgrade to WebSocket").into());
    }
    if text(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(violation("a wrong Sec-WebSocket-Accept").into());
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(violation("an extension that was not offered").into());
    }
    let subprotocol = text(header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned);
    if let Some(chosen) = &subprotocol
        && !offered.contains(chosen)
    {
        return Err(violation("a sub-protocol that was not offered").into());
    }

    let upgraded = hyper::upgrade::on(response).await.map_err(|error| broken(target, error))?;
    let parts = upgraded
        .downcast::<TokioIo<BoxSocket>>()
        .map_err(|_| Error::new(ErrorKind::Internal, "the upgraded socket is of a foreign type"))?;
    Ok(Upgraded { socket: parts.io.into_inner(), read_buf: parts.read_buf, headers, subprotocol })
}

async fn refusal(response: Response<Incoming>) -> Refused {
    let (parts, body) = response.into_parts();
    let reason = match parts.extensions.get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        None => parts.status.canonical_reason().unwrap_or("").to_owned(),
    };
    // A body that is too long or breaks off explains nothing; the status still does.
    let body = Limited::new(body, REFUSAL_BODY_LIMIT).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Refused { status: parts.status.as_u16(), reason, headers: parts.headers, body }
}

fn broken(target: &DialTarget, error: hyper::Error) -> Error {
    let (kind, what) = if error.is_parse() {
        (ErrorKind::Protocol, "did not answer in HTTP/1.1")
    } else {
        (ErrorKind::Network, "closed the connection during the WebSocket handshake")
    };
    Error::new(kind, format!("{} {what}", target.authority())).with_source(error)
}
