//! Relayed HTTP requests, which this listener does not serve: each is answered 501 where it came (protocol.md 5.8).

use std::sync::Arc;

use super::incoming::AnswerContext;
use crate::Connection;
use crate::link::WebSocketLink;
use crate::protocol::{FromRelay, Request, Response};

const REASON: &str = "The listener does not answer HTTP requests";

/// The answer on the control channel: response text and body. `None` for a request that waits at a rendezvous.
pub(super) fn answer(request: &Request) -> Option<(String, String)> {
    let id = request.id.as_deref()?;
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    let response = Response {
        request_id: id.to_owned(),
        status_code: 501,
        status_description: Some(REASON.to_owned()),
        response_headers: headers,
        body: true,
    };
    Some((response.to_json(), format!("{REASON}. TrackingId:{id}\n")))
}

/// Fetches a request from its rendezvous and answers it there, in the background.
pub(super) fn refuse_at_rendezvous(context: &Arc<AnswerContext>, request: Request) {
    let context = context.clone();
    let env = context.dialer.env().clone();
    env.clone().spawn(async move {
        let refused = async {
            let upgraded = match context.dialer.to_rendezvous(&request.address)?.open(context.accept_timeout).await {
                Ok(upgraded) => upgraded,
                // The sender has gone: nobody is left to be told.
                Err(_) => return Ok(()),
            };
            let link = WebSocketLink::start(&env, upgraded.socket, upgraded.read_buf, context.link);
            let connection = Connection::new(env.clone(), link, context.connection, None, String::new());
            let Some(message) = connection.receive().await? else { return Ok(()) };
            if let Ok(FromRelay::Request(request)) = FromRelay::parse(message.as_bytes())
                && let Some((response, body)) = answer(&request)
            {
                connection.send(response).await?;
                connection.send(body.into_bytes()).await?;
            }
            connection.close().await
        };
        if let Err(error) = refused.await {
            tracing::debug!(%error, "a relayed HTTP request could not be refused");
        }
    });
}
