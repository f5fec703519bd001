//! `/$relay/healthz` and `/$relay/readyz`, for whoever looks after the process or chooses among several.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::edge::Body;
use crate::node::{Node, Stage};
use crate::refusal::Refusal;

/// Answers what is asked below `/$relay/`; `None` for everything else. No detail and no authorization: whoever looks may be anybody.
pub(super) fn answer<B>(node: &Node, request: &Request<B>) -> Option<Result<Response<Body>, Refusal>> {
    let path = request.uri().path().strip_prefix('/')?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if !(first.eq_ignore_ascii_case("$relay") || first.eq_ignore_ascii_case("%24relay")) {
        return None;
    }
    let running = *node.stage.borrow() == Stage::Running;
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    Some(match rest {
        "healthz" if asks => Ok(plain(StatusCode::OK, "ok")),
        "readyz" if asks && running => Ok(plain(StatusCode::OK, "ok")),
        "readyz" if asks => Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "draining")),
        _ => Err(Refusal::endpoint_not_found()),
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
