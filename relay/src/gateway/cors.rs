//! Pages of other origins, where a hybrid connection lets them call (protocol.md 10, decision 45).

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::edge::{Body, Visit};

/// How long a browser may keep what a preflight said, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What a page may read beside the usual headers: whether a listener answered, how many have been handed the request, or why none was,
/// and the id for the operator.
const EXPOSED: HeaderValue = HeaderValue::from_static("Relay-Delivered, Relay-Delivery, Relay-Reason, TrackingId, Via");

const ALLOW: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
];

/// The page that a request comes from, where the relay answers for pages at all.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    origin: HeaderValue,
    allowed: Allowed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    No,
    /// By its name: with credentials.
    ByName,
    /// As anybody: without.
    AsAny,
}

impl Cors {
    /// `None` if the request comes from no page, or if pages are the listener's affair.
    pub(crate) fn of(visit: &Visit) -> Option<Self> {
        let (entity, _) = visit.entity()?;
        if entity.settings.http.cors.is_empty() {
            return None;
        }
        let origin = visit.request.headers().get(header::ORIGIN)?.clone();
        let allows = |name: &str| entity.settings.http.cors.iter().any(|known| known.eq_ignore_ascii_case(name));
        let allowed = match origin.to_str() {
            Ok(name) if allows(name) => Allowed::ByName,
            _ if allows("*") => Allowed::AsAny,
            _ => Allowed::No,
        };
        Some(Self { origin, allowed })
    }

    /// The answer to a preflight, if the request is one: it never brings a token, so it comes before all else.
    pub(crate) fn preflight(&self, method: &Method, asked: &HeaderMap) -> Option<Response<Body>> {
        let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| method == Method::OPTIONS)?;
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allowed != Allowed::No {
            let fields = response.headers_mut();
            fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
            if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            fields.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        self.allow(response.headers_mut());
        Some(response)
    }

    /// Lets the page read an answer, whoever made it. What a listener says about pages does not count.
    pub(crate) fn apply(&self, fields: &mut HeaderMap) {
        ALLOW.iter().for_each(|name| _ = fields.remove(name));
        self.allow(fields);
        if self.allowed != Allowed::No {
            fields.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    fn allow(&self, fields: &mut HeaderMap) {
        fields.append(header::VARY, HeaderValue::from(header::ORIGIN));
        match self.allowed {
            Allowed::No => {}
            Allowed::AsAny => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Allowed::ByName => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
                fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}
