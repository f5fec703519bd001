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
pub fn response(status: u16, reason: Option<&str>, headers: HeaderMap) -> Result<Response<()>> {
    let usable = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational());
    let unusable = || Failure::invalid(format!("a sender can be answered with a status from 200 to 999, not {status}"));
    let mut head = Response::new(());
    *head.status_mut() = usable.ok_or_else(unusable)?;
    *head.headers_mut() = headers;
    if let Some(reason) = reason {
        head.extensions_mut().insert(ReasonPhrase(reason.to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sender_can_be_answered_with_is_found_before_the_answer_is_begun() {
        for status in [0, 99, 101, 199, 1000] {
            let failure = response(status, None, HeaderMap::new()).expect_err("no status of a response");
            assert!(failure.to_string().contains(&format!("200 to 999, not {status}")), "{failure}");
        }
        for status in [200, 404, 999] {
            let head = response(status, Some("Why"), HeaderMap::new()).expect("a status");
            assert_eq!((head.status().as_u16(), reason(&head.into_parts().0)), (status, "Why"));
        }
    }
}
