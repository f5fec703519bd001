//! What each side gets of the other's headers, target and status (protocol.md 5.2, 5.5, 5.6, 5.7).

use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Ask, RawResponse};
use serde_json::{Value, json};

use crate::common::World;

/// Answers the next request with these fields beside its id.
async fn answered(world: &mut World, fields: Value) -> RawResponse {
    world.ask(&world.request("GET", "")).await;
    let asked = world.listener.request().await;
    let mut response = json!({"requestId": asked.id()});
    for (name, value) in fields.as_object().expect("an object") {
        response[name] = value.clone();
    }
    world.listener.respond(response, None).await;
    world.sender.response().await
}

#[tokio::test]
async fn a_listener_is_told_everything_about_a_request() {
    let mut world = World::plain().await;
    let ask = world
        .request("PaTcH", "/orders/7?verbose=1")
        .header("Connection", "keep-alive, X-Private")
        .header("X-Private", "1")
        .header("Upgrade", "h2c")
        .header("TE", "trailers")
        .header("Expect", "100-continue")
        .header("x-custom-id", "a")
        .header("X-Custom-Id", "b")
        .header("Cookie", "a=1")
        .header("Cookie", "b=2")
        .header("Via", "1.0 front")
        .header("X-Latin", "gr\u{fc}n")
        .header("X-Tab", "a\tb")
        .header("Authorization", "Basic eDp5")
        .body(b"body".to_vec());
    world.ask(&ask).await;
    let asked = world.listener.request().await;
    assert_eq!((asked.field("method"), asked.field("requestTarget")), ("PaTcH", "/hyco/orders/7?verbose=1"));
    assert_eq!(asked.body.as_deref(), Some(&b"body"[..]));
    let id = asked.id();
    assert!(id.len() == 39 && id.ends_with("_G0"), "a GUID and our hop: {id}");
    let address = asked.field("address");
    let start = format!("ws://{}/$hc/hyco?sb-hc-action=request&sb-hc-id={id}&sb-hc-ticket=", world.door.authority);
    let ticket = address.strip_prefix(&start).unwrap_or_else(|| panic!("{address}"));
    assert!(ticket.len() == 22 && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let remote = &asked.fields["remoteEndpoint"];
    assert_eq!(remote["address"], "127.0.0.1");
    assert!(remote["port"].as_u64().is_some_and(|port| port > 0));
    let headers = json!({
        "Host": world.door.authority, "X-Custom-Id": "a, b", "Cookie": "a=1; b=2", "Via": "1.0 front, 1.1 127.0.0.1",
        "X-Latin": "grün", "X-Tab": "a\tb", "Authorization": "Basic eDp5",
    });
    assert_eq!(asked.fields["requestHeaders"], headers);
    let mut names: Vec<_> = asked.fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["address", "body", "id", "method", "remoteEndpoint", "requestHeaders", "requestTarget"]);
}

#[tokio::test]
async fn a_sender_chooses_among_listeners_and_they_are_not_told() {
    let mut world = World::plain().await;
    let ids = ["3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11", "8d1a2f64-6d0f-4e12-a1bb-0f6f5a3f7b10"];
    let mut named = Vec::new();
    for id in ids {
        let listen = Ask::websocket(format!("/$hc/hyco?sb-hc-action=listen&sb-hc-id={id}")).token(&world.token);
        named.push(RawListener::new(&world.door, listen.send(&world.door).await));
    }
    for _ in 0..5 {
        for (listener, id) in named.iter_mut().zip(ids) {
            world.ask(&world.request("GET", "").header("Microsoft-Relay-AllowedListeners", &format!("{id}, x"))).await;
            let asked = listener.request().await;
            assert_eq!(asked.header_names(), ["Host", "Via"]);
            listener.respond(asked.response(204, false), None).await;
            assert_eq!(world.sender.response().await.status, 204);
        }
        world.ask(&world.request("GET", "").header("Microsoft-Relay-DisallowedListeners", &ids.join(","))).await;
        let asked = world.listener.request().await;
        assert_eq!(asked.header_names(), ["Host", "Via"]);
        world.listener.respond(asked.response(204, false), None).await;
        assert_eq!(world.sender.response().await.status, 204);
    }
}

#[tokio::test]
async fn ids_are_fresh_whatever_a_sender_chooses() {
    let mut world = World::plain().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        world.ask(&world.request("GET", "?sb-hc-id=3f9a6c52-2f0d-4d0e-9a53-6a2d5b1f2c11")).await;
        let asked = world.listener.request().await;
        seen.push(asked.id().to_owned());
        world.listener.respond(asked.response(204, false), None).await;
        world.sender.response().await;
    }
    assert!(seen[0] != seen[1] && !seen.iter().any(|id| id.starts_with("3f9a6c52")), "{seen:?}");
}

#[tokio::test]
async fn authorization_is_the_listeners_unless_the_relay_used_it() {
    let mut world = World::plain().await;
    let token = world.token.clone();
    world.ask(&Ask::http("GET", "/hyco").header("Authorization", &token)).await;
    let asked = world.listener.request().await;
    assert_eq!(asked.header("Authorization"), None);
    world.listener.respond(asked.response(204, false), None).await;
    world.sender.response().await;

    let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let ask = Ask::http("GET", format!("/hyco?x=1&sb-hc-token={encoded}&&&sb-hc-undefined&"));
    world.ask(&ask.header("Authorization", "Basic eDp5")).await;
    let asked = world.listener.request().await;
    assert_eq!(asked.header("Authorization"), Some(&"Basic eDp5".into()));
    assert_eq!(asked.field("requestTarget"), "/hyco?x=1&&&sb-hc-undefined&");
}

#[tokio::test]
async fn targets_are_raw_for_those_who_agreed_on_it_and_decoded_for_all_others() {
    for (features, targets) in [
        ("", ["/hyco/a b/ü/%2F%3F?q=%20+&&", "/HYCO/x", "/hyco", "/hyco/", "/hyco//x"]),
        ("raw-target", ["/hyco/a%20b/%C3%BC/%2F%3F?q=%20+&&", "/HYCO/x", "/hyco", "/hyco/", "/hyco//x"]),
    ] {
        let mut world = World::with_features(features).await;
        let token = world.token.clone();
        let paths = ["/hyco/a%20b/%C3%BC/%2F%3F?q=%20+&&", "/HYCO/x", "/hyco?", "/hyco/?sb-hc-x=1", "/hyco//x"];
        for (path, target) in paths.into_iter().zip(targets) {
            world.ask(&Ask::http("GET", path).token(&token)).await;
            let asked = world.listener.request().await;
            assert_eq!(asked.field("requestTarget"), target);
            world.listener.respond(asked.response(204, false), None).await;
            world.sender.response().await;
        }
    }
}

#[tokio::test]
async fn headers_of_several_values_are_arrays_where_that_was_agreed_on() {
    let mut world = World::with_features("header-arrays").await;
    world.ask(&world.request("GET", "").header("X-A", "1, 2").header("X-A", "3").header("X-B", "4")).await;
    let asked = world.listener.request().await;
    assert_eq!(asked.header("X-A"), Some(&json!(["1, 2", "3"])));
    assert_eq!(asked.header("X-B"), Some(&json!("4")));
    let mut response = asked.response(200, false);
    response["responseHeaders"] = json!({"Set-Cookie": ["a=1", "b=2"], "X-C": ["5", "6"]});
    world.listener.respond(response, None).await;
    let response = world.sender.response().await;
    assert_eq!(response.values("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.values("x-c").collect::<Vec<_>>(), ["5", "6"]);
}

#[tokio::test]
async fn a_sender_gets_the_listeners_headers_and_no_more_than_that() {
    let mut world = World::plain().await;
    let response = answered(&mut world, json!({"statusCode": 200, "responseHeaders": {
        "Content-Type": "text/plain", "Content-Length": "5", "Transfer-Encoding": "chunked", "Connection": "close, X-Private",
        "X-Private": "1", "Keep-Alive": "timeout=5", "TE": "x", "Trailer": "x", "Upgrade": "x", "Close": "x",
        "Proxy-Connection": "x", "Server": "mine", "Date": "yesterday", "Via": "1.1 behind",
        "Set-Cookie": "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT,b=2; Path=/",
        "X-Split": "a\r\nX-Injected: b", "Bad Name": "x", "X:Y": "x", "X-Number": 7, "X-Null": null, "X-Nul": "a\u{0}b",
    }}))
    .await;
    let mut lines: Vec<(&str, &str)> =
        response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ("content-length", "0"),
            ("content-type", "text/plain"),
            ("date", "yesterday"),
            ("server", "mine"),
            ("set-cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
            ("set-cookie", "b=2; Path=/"),
            ("via", "1.1 127.0.0.1"),
            ("via", "1.1 behind"),
        ]
    );
    world.works().await;
}

#[tokio::test]
async fn every_status_and_reason_passes() {
    let mut world = World::plain().await;
    let printable: String = (' '..='~').filter(|character| *character != ' ').collect();
    for (fields, status, reason) in [
        (json!({"statusCode": 200}), 200, "OK"),
        (json!({"statusCode": "201", "body": "False"}), 201, "Created"),
        (
            json!({"statusCode": 200, "statusDescription": "Fine, \"thanks\" [really]"}),
            200,
            "Fine, \"thanks\" [really]",
        ),
        (json!({"statusCode": 202, "statusDescription": printable}), 202, printable.as_str()),
        (json!({"statusCode": 204, "statusDescription": ""}), 204, ""),
        (json!({"statusCode": 306}), 306, ""),
        (json!({"statusCode": 418}), 418, "I'm a teapot"),
        (json!({"statusCode": 450, "statusDescription": "Blocked"}), 450, "Blocked"),
        (json!({"statusCode": 502}), 502, "Bad Gateway"),
        (json!({"statusCode": 504}), 504, "Gateway Timeout"),
        (json!({"statusCode": 599, "responseHeaders": null}), 599, ""),
        (json!({"statusCode": 999}), 999, ""),
        (json!({"statusCode": 200, "statusDescription": "a\r\nX-Injected: b"}), 200, "aX-Injected: b"),
        (json!({"statusCode": 200, "statusDescription": "né"}), 200, "n%C3%A9"),
    ] {
        let response = answered(&mut world, fields.clone()).await;
        assert_eq!((response.status, &*response.reason), (status, reason), "{fields}");
        assert_eq!(response.header("via"), Some("1.1 127.0.0.1"), "a listener answered");
        assert_eq!(response.header("x-injected"), None);
    }
    world.works().await;
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_the_listener_sends() {
    let mut world = World::plain().await;
    for (method, status) in [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)] {
        for rendezvous in [false, true] {
            world.ask(&world.request(method, "")).await;
            let asked = world.listener.request().await;
            assert_eq!((asked.field("method"), &asked.fields["body"]), (method, &json!(false)));
            let mut response = asked.response(status, true);
            response["responseHeaders"] = json!({"Content-Length": "12345", "ETag": "\"7\""});
            if rendezvous {
                let mut ws = asked.upgrade().await;
                hybridrelay_tests::wire::requests::respond(&mut ws, response, Some(b"not for you")).await;
                hybridrelay_tests::wire::requests::closed(&mut ws, 1000).await;
            } else {
                world.listener.respond(response, Some(b"not for you")).await;
            }
            let response = world.sender.head().await;
            let length = (method == "HEAD").then_some("12345");
            assert_eq!((response.status, response.header("content-length")), (status, length));
            assert_eq!((response.header("transfer-encoding"), response.header("etag")), (None, Some("\"7\"")));
        }
    }
    // Nothing stands between those answers.
    world.works().await;
}

#[tokio::test]
async fn a_head_that_fits_no_control_message_is_fetched() {
    let mut world = World::plain().await;
    // Each quotation mark takes two bytes in JSON.
    let quotes = "\"".repeat(30 << 10);
    let long = format!("?{}", "x".repeat(8 << 10));
    for body in [None, Some(b"body".to_vec())] {
        let ask = world.request("POST", &long).header("X-Quotes", &quotes);
        let ask = match &body {
            Some(body) => ask.body(body.clone()),
            None => ask,
        };
        world.ask(&ask).await;
        let marker = world.listener.request().await;
        assert!(marker.is_marker());
        let (mut ws, asked) = marker.fetch().await;
        assert_eq!(asked.header("X-Quotes"), Some(&quotes.as_str().into()));
        assert_eq!(asked.body, body);
        hybridrelay_tests::wire::requests::respond(&mut ws, asked.response(204, false), None).await;
        assert_eq!(world.sender.response().await.status, 204);
    }
}
