//! Pages of other origins (protocol.md 10, decision 45).

use hybridrelay_tests::wire::raw::{Ask, RawResponse};
use serde_json::json;

use crate::common::{World, assert_refused};

const APP: &str = "https://app.example.net";

fn preflight(origin: &str) -> Ask {
    let ask = Ask::http("OPTIONS", "/hyco/x").header("Origin", origin);
    ask.header("Access-Control-Request-Method", "PUT").header("Access-Control-Request-Headers", "x-a, authorization")
}

fn allowed(response: &RawResponse) -> [Option<&str>; 4] {
    ["origin", "credentials", "methods", "headers"].map(|name| response.header(&format!("access-control-allow-{name}")))
}

#[tokio::test]
async fn without_origins_a_preflight_is_a_request_like_any_other() {
    let mut world = World::plain().await;
    let refused = world.refused(&preflight(APP)).await;
    assert_refused(&refused, 401, "TokenMissingOrInvalid", "MissingToken");
    assert_eq!(allowed(&refused), [None; 4]);

    let ask = preflight(APP).token(&world.token);
    world.ask(&ask).await;
    let asked = world.listener.request().await;
    assert_eq!((asked.field("method"), asked.header("Origin")), ("OPTIONS", Some(&json!(APP))));
    let mut response = asked.response(204, false);
    response["responseHeaders"] = json!({"Access-Control-Allow-Origin": "https://mine"});
    world.listener.respond(response, None).await;
    assert_eq!(allowed(&world.sender.response().await), [Some("https://mine"), None, None, None]);
}

#[tokio::test]
async fn an_origin_that_is_allowed_may_ask_and_read_every_answer() {
    let mut world = World::with_http(|http| http.cors = vec![APP.to_owned()]).await;
    let answer = world.refused(&preflight(APP)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(allowed(&answer), [Some(APP), Some("true"), Some("PUT"), Some("x-a, authorization")]);
    assert!(answer.header("access-control-max-age").is_some());
    assert!(answer.values("vary").any(|vary| vary.eq_ignore_ascii_case("origin")));

    let from_app = world.request("GET", "").header("Origin", APP);
    world.ask(&from_app).await;
    let asked = world.listener.request().await;
    let mut response = asked.response(200, false);
    response["responseHeaders"] = json!({"Access-Control-Allow-Origin": "*", "Vary": "Accept"});
    world.listener.respond(response, None).await;
    let response = world.sender.response().await;
    assert_eq!(allowed(&response), [Some(APP), Some("true"), None, None]);
    assert!(response.header("access-control-expose-headers").is_some_and(|names| names.contains("TrackingId")));
    assert_eq!(response.values("vary").collect::<Vec<_>>(), ["Accept", "origin"]);

    let refused = world.refused(&Ask::http("GET", "/hyco").header("Origin", APP)).await;
    assert_refused(&refused, 401, "TokenMissingOrInvalid", "MissingToken");
    assert_eq!(allowed(&refused), [Some(APP), Some("true"), None, None]);
    assert_eq!(refused.header("relay-reason"), Some("missing_token"));
    assert!(refused.header("access-control-expose-headers").is_some_and(|names| names.contains("Relay-Reason")));

    // OPTIONS that is no preflight is the listener's.
    world.ask(&world.request("OPTIONS", "").header("Origin", APP)).await;
    let asked = world.listener.request().await;
    world.listener.respond(asked.response(204, false), None).await;
    assert_eq!(world.sender.response().await.header("via"), Some("1.1 127.0.0.1"));
    world.works().await;
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_told_nothing() {
    let mut world = World::with_http(|http| http.cors = vec![APP.to_owned()]).await;
    for origin in ["https://evil.example.net", "null", "https://app.example.net.evil.example.net"] {
        let answer = world.refused(&preflight(origin)).await;
        assert_eq!((answer.status, allowed(&answer)), (204, [None; 4]), "{origin}");
    }
}

#[tokio::test]
async fn any_origin_is_let_in_without_credentials() {
    let mut world = World::with_http(|http| http.cors = vec!["*".to_owned()]).await;
    let answer = world.refused(&preflight("https://anybody")).await;
    assert_eq!(allowed(&answer), [Some("*"), None, Some("PUT"), Some("x-a, authorization")]);
}
