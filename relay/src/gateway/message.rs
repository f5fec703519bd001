//! What a listener is told of a request (protocol.md 5.2).

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Method};
use hybridrelay::EntityPath;
use hybridrelay::protocol::headers::{ONE_WAY, RELAY_DELIVERY};
use hybridrelay::protocol::uri::request_address;
use hybridrelay::protocol::{Features, Request};

use super::target::request_target;
use super::{Admitted, fields};
use crate::directory::ListenerRecord;
use crate::edge::Visit;

/// A sender's request without its body, ready for any listener.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) id: String,
    entity: EntityPath,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    remote: SocketAddr,
}

impl Asked {
    pub(super) fn new(visit: &Visit, admitted: &Admitted, host: &str) -> Self {
        let request = &visit.request;
        let mut headers = fields::to_listener(request.headers(), admitted.used_authorization, request.version(), host);
        if !headers.contains_key(http::header::HOST)
            && let Ok(host) = visit.authority.parse()
        {
            // HTTP/2 has it in `:authority`.
            headers.insert(http::header::HOST, host);
        }
        Self {
            method: request.method().clone(),
            id: visit.tracking_id.to_string(),
            entity: admitted.path.clone(),
            path: visit.target.path.clone(),
            query: visit.target.user_query.clone(),
            headers,
            remote: visit.peer,
        }
    }

    /// Tells the listener that nobody waits for its answer, whatever the sender said of that.
    pub(super) fn one_way(mut self) -> Self {
        self.headers.insert(RELAY_DELIVERY, HeaderValue::from_static(ONE_WAY));
        self
    }

    /// Where a listener may dial for this request.
    pub(super) fn address(&self, listener: &ListenerRecord, ticket: &str) -> String {
        request_address(&listener.base, &self.entity, &self.id, ticket)
    }

    /// The whole message.
    pub(super) fn full(&self, listener: &ListenerRecord, address: &str, body: bool) -> String {
        let features = Features::from_names(listener.features.iter().map(String::as_str));
        let raw = features.has(Features::RAW_TARGET);
        let request = Request {
            address: address.to_owned(),
            id: Some(self.id.clone()),
            request_target: Some(request_target(&self.path, self.query.as_deref(), raw)),
            method: Some(self.method.as_str().to_owned()),
            request_headers: self.headers.clone(),
            remote_endpoint: Some(self.remote),
            body: Some(body),
        };
        request.to_json_for(&features)
    }

    /// The message that there is a request to be fetched: its address and nothing else.
    pub(super) fn marker(address: &str) -> String {
        Request { address: address.to_owned(), ..Request::default() }.to_json()
    }
}
