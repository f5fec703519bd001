//! curl: the plainest HTTP client.

use serde_json::Value;

use crate::relay::{ENTITY, TestRelay};
use crate::stacks;

/// What curl got.
#[derive(Debug)]
struct Answer {
    status_line: String,
    fields: Vec<(String, String)>,
    body: String,
}

#[tokio::test]
async fn a_request_that_reaches_nobody_is_told_so() {
    let relay = TestRelay::start().await;
    relay.add_entity(ENTITY);
    let token = format!("ServiceBusAuthorization: {}", relay.token(ENTITY));
    let answer = get(&relay, &format!("/{ENTITY}"), &[&token]).await;

    let reason = answer.status_line.strip_prefix("HTTP/1.1 404 ").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(reason.starts_with("There are no listeners connected for the endpoint"), "{answer:?}");
    assert_eq!(answer.field("content-type"), "application/json; charset=utf-8");
    let error = &serde_json::from_str::<Value>(&answer.body).expect("JSON")["error"];
    assert_eq!(error["code"], "EndpointNotFound");
    assert_eq!(error["message"], reason);
    assert!(reason.contains(&format!("TrackingId:{}", answer.field("trackingid"))), "{answer:?}");
}

#[tokio::test]
async fn a_request_without_a_token_is_told_so() {
    let relay = TestRelay::start().await;
    let _listener = relay.listener().await.expect("online");
    let answer = get(&relay, &format!("/{ENTITY}"), &[]).await;
    assert!(answer.status_line.starts_with("HTTP/1.1 401 "), "{answer:?}");
    let error = &serde_json::from_str::<Value>(&answer.body).expect("JSON")["error"];
    assert_eq!(error["code"], "TokenMissingOrInvalid");
}

#[tokio::test]
async fn a_bad_websocket_handshake_is_told_what_is_wrong() {
    let relay = TestRelay::start().await;
    let _listener = relay.listener().await.expect("online");
    let token = format!("ServiceBusAuthorization: {}", relay.token(ENTITY));
    let path = format!("/$hc/{ENTITY}?sb-hc-action=connect");
    let upgrade = [&*token, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];

    let answer = get(&relay, &path, &upgrade).await;
    assert!(answer.status_line.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.status_line.contains("Sec-WebSocket-Key"), "{answer:?}");
    assert!(answer.status_line.contains(answer.field("trackingid")), "{answer:?}");

    let answer = get(&relay, &path, &[&token]).await;
    assert!(answer.status_line.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.status_line.contains("does not ask for an upgrade to websocket"), "{answer:?}");
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line").to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header line");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { status_line, fields: lines.map(field).collect(), body: body.to_owned() }
    }

    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

async fn get(relay: &TestRelay, path_and_query: &str, headers: &[&str]) -> Answer {
    // The reason phrase is HTTP/1.1's.
    let mut arguments = vec!["--silent", "--show-error", "--http1.1", "--include", "--noproxy", "*", "--cacert"];
    arguments.push(relay.ca_file().to_str().expect("a path in UTF-8"));
    headers.iter().for_each(|header| arguments.extend(["--header", header]));
    let url = format!("https://localhost:{}{path_and_query}", relay.port());
    arguments.push(&url);
    Answer::parse(&stacks::run("curl", arguments).await)
}
