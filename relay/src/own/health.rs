//! `/$relay/healthz` and `/$relay/readyz`, for whoever looks after the process or chooses among several.

use http::{HeaderValue, Response, StatusCode, header};

use super::{Address, answer_with};
use crate::edge::Body;
use crate::node::{Node, Stage};

/// No detail and no authorization: whoever looks may be anybody.
pub(super) fn answer(node: &Node, asked: &Address) -> Response<Body> {
    let stays_away = *asked == Address::Readiness && *node.stage.borrow() != Stage::Running;
    let (status, text) =
        if stays_away { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ok") };
    let mut response = answer_with("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
