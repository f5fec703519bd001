//! The WebSocket handshake over HTTP/1.1, through hyper, so that a refusal's reason phrase, headers and body are seen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::exchange::{exchange, take_socket};
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
    let answer = exchange(socket, request, |response| async {
        Ok(match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                let headers = response.headers().clone();
                Answer::Switched(headers, hyper::upgrade::on(response).await?)
            }
            _ => Answer::Refused(refusal(response).await),
        })
    });
    match answer.await {
        Ok(Answer::Switched(headers, upgraded)) => Ok(accepted(target, headers, upgraded, subprotocols, &key)?),
        Ok(Answer::Refused(refused)) => Err(DialError::Refused(refused)),
        Err(error) => Err(broken(target, error).into()),
    }
}

enum Answer {
    Switched(HeaderMap, hyper::upgrade::Upgraded),
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
fn accepted(
    target: &DialTarget,
    headers: HeaderMap,
    upgraded: hyper::upgrade::Upgraded,
    offered: &[String],
    key: &str,
) -> Result<Upgraded> {
    let violation = |what: &str| {
        Error::new(ErrorKind::Protocol, format!("{} answered the handshake with {what}", target.authority()))
    };
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());

    if !text(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err(violation("a 101 that does not upgrade to WebSocket"));
    }
    if text(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(violation("a wrong Sec-WebSocket-Accept"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(violation("an extension that was not offered"));
    }
    let subprotocol = text(header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned);
    if let Some(chosen) = &subprotocol
        && !offered.contains(chosen)
    {
        return Err(violation("a sub-protocol that was not offered"));
    }

    let (socket, read_buf) = take_socket(upgraded)?;
    Ok(Upgraded { socket, read_buf, headers, subprotocol })
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
