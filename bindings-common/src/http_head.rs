//! Heads of requests and responses, made from what a host hands over.

use hybridrelay::{Body, ReasonPhrase};

use crate::errors::{Failure, Result};
use crate::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, response};

/// Header fields, several of one name included. What fails is told without the value, which may be a secret.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no name, or no value.
pub fn headers<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let text = || String::from_utf8_lossy(name);
        let parsed = HeaderName::from_bytes(name)
            .map_err(|_| Failure::invalid(format!("{:?} is not the name of a header", text())))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| Failure::invalid(format!("the header {} holds characters that may not be sent", text())))?;
        map.append(parsed, value);
    }
    Ok(map)
}

/// A request.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a method or a target that may not be sent.
pub fn request(method: &str, target: &str, headers: HeaderMap, body: Body) -> Result<Request<Body>> {
    let mut request = Request::new(body);
    *request.method_mut() =
        method.parse().map_err(|_| Failure::invalid(format!("{method:?} is not a method of HTTP")))?;
    *request.uri_mut() = target
        .parse()
        .map_err(|_| Failure::invalid("the path or the query holds characters that may not stand there unencoded"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The head of a response, with the usual reason phrase unless there is another.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a status that is none.
pub fn response(status: u16, reason: Option<String>, headers: HeaderMap) -> Result<Response<()>> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(status)
        .map_err(|_| Failure::invalid(format!("a response has a status from 200 to 999, not {status}")))?;
    *head.headers_mut() = headers;
    if let Some(reason) = reason {
        head.extensions_mut().insert(ReasonPhrase(reason));
    }
    Ok(head)
}

/// The reason phrase of a response that came: the listener's own, or the usual one.
pub fn reason(parts: &response::Parts) -> &str {
    match parts.extensions.get::<ReasonPhrase>() {
        Some(ReasonPhrase(reason)) => reason,
        None => parts.status.canonical_reason().unwrap_or_default(),
    }
}
