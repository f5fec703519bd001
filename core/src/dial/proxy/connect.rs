//! HTTP proxies: a tunnel by CONNECT (RFC 9110 9.3.6).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::Upgraded;

use super::server::{Credentials, ProxyServer};
use crate::dial::DialTarget;
use crate::dial::exchange::{exchange, take_socket};
use crate::env::BoxSocket;
use crate::listener::USER_AGENT;
use crate::protocol::refusal::sanitize_reason;
use crate::{Error, ErrorKind, Result};

/// Asks the proxy at the other end of `socket` to connect to `target`.
pub(super) async fn tunnel(proxy: &ProxyServer, socket: BoxSocket, target: &DialTarget) -> Result<BoxSocket> {
    let request = request(proxy.credentials(), target)?;
    let answer = exchange(socket, request, |response| async {
        Ok(if response.status().is_success() {
            Answer::Open(hyper::upgrade::on(response).await?)
        } else {
            Answer::Refused(refused(proxy, target, &response))
        })
    });
    match answer.await.map_err(|error| broken(proxy, error))? {
        Answer::Open(upgraded) => match take_socket(upgraded)? {
            (socket, early) if early.is_empty() => Ok(socket),
            // The relay waits for our first word, so these bytes cannot be its.
            _ => Err(proxy.error(ErrorKind::Protocol, "sent data of its own into the tunnel")),
        },
        Answer::Refused(error) => Err(error),
    }
}

enum Answer {
    Open(Upgraded),
    Refused(Error),
}

fn request(credentials: Option<&Credentials>, target: &DialTarget) -> Result<Request<Empty<Bytes>>> {
    let invalid = |_| Error::invalid("the relay's host cannot be asked of a proxy");
    let authority = target.host_and_port();
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse::<Uri>().map_err(|_| invalid(()))?;
    let fields = request.headers_mut();
    fields.insert(header::HOST, HeaderValue::from_str(&authority).map_err(|_| invalid(()))?);
    fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if let Some(Credentials { user, password }) = credentials {
        let text = format!("Basic {}", STANDARD.encode(format!("{}:{}", user.expose(), password.expose())));
        let mut value = HeaderValue::from_str(&text).map_err(|_| invalid(()))?;
        value.set_sensitive(true);
        fields.insert(header::PROXY_AUTHORIZATION, value);
    }
    Ok(request)
}

fn refused(proxy: &ProxyServer, target: &DialTarget, response: &Response<Incoming>) -> Error {
    let status = response.status();
    let phrase = match response.extensions().get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let reason = sanitize_reason(&format!("{} {phrase}", status.as_u16()));
    // 401 is tinyproxy's word for wrong credentials; it cannot be the relay's, to which nothing was said yet.
    if !matches!(status, StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) {
        // Not the error's status: that one is the relay's.
        let what = format!("does not connect to {}", target.host_and_port());
        return proxy.error(ErrorKind::Network, what).with_reason(reason);
    }
    match offered_schemes(response.headers()) {
        offered if offered.is_empty() || offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) => {
            proxy.wants_credentials(reason)
        }
        offered => proxy
            .wants_credentials(reason)
            .with_hint(format!("the proxy takes {} and this library only Basic", offered.join(", "))),
    }
}

/// The names of the authentication schemes that the proxy takes.
fn offered_schemes(headers: &HeaderMap) -> Vec<&str> {
    let challenges = [header::PROXY_AUTHENTICATE, header::WWW_AUTHENTICATE].map(|name| headers.get_all(name));
    let challenges = challenges.into_iter().flatten().filter_map(|challenge| challenge.to_str().ok());
    let names = challenges.filter_map(|challenge| challenge.split([' ', ',']).next());
    names.filter(|name| name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).collect()
}

fn broken(proxy: &ProxyServer, error: hyper::Error) -> Error {
    if error.is_parse() {
        proxy.error(ErrorKind::Protocol, "did not answer in HTTP/1.1").with_source(error)
    } else {
        proxy.error(ErrorKind::Network, "closed the connection instead of opening a tunnel").with_source(error)
    }
}
