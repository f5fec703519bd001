//! Who is told what: each address by each kind of credential.

use std::time::{Duration, SystemTime};

use hybridrelay_relay::{Namespace, Rights, Rule, Visibility};
use hybridrelay_tests::wire::raw::{Ask, RawResponse};
use serde_json::Value;

use crate::common::{ask, found, listen, token, token_until, world};

fn presence(path: &str) -> Ask {
    Ask::http("GET", format!("/$relay/presence/{path}"))
}

fn management(path: &str) -> Ask {
    Ask::http("GET", format!("/{path}")).header("X-PROCESS-AT", "ServiceBus")
}

/// What is tried: a token in the header that every address takes, or none.
fn credentials() -> Vec<(&'static str, Option<String>)> {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    vec![
        ("none", None),
        ("listen", Some(token("listen", "hyco"))),
        ("send", Some(token("send", "hyco"))),
        ("manage", Some(token("manage", "hyco"))),
        ("namespace send", Some(token("send", ""))),
        ("no right", Some(token("nothing", "hyco"))),
        ("own rule", Some(token("own", "hyco"))),
        ("own rule, whole namespace", Some(token("own", ""))),
        ("wrong entity", Some(token("send", "open"))),
        ("expired", Some(token_until("send", "hyco", hour_ago))),
        ("forged", Some(token("send", "hyco").replace("sig=", "sig=AAAA"))),
        ("malformed", Some("SharedAccessSignature x".to_owned())),
    ]
}

/// The statuses by the order of [`credentials`].
async fn statuses(relay: &hybridrelay_tests::wire::setup::Served, asked: impl Fn() -> Ask) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (_, token) in credentials() {
        let asked = match token {
            Some(token) => asked().token(&token),
            None => asked(),
        };
        statuses.push(ask(&relay.door, asked).await.status);
    }
    statuses
}

#[tokio::test]
async fn each_address_opens_to_those_who_have_the_right() {
    let relay = world(Namespace::with_discovery).await;
    //                    none lis  send man  ns   none own  own/ns other exp forg malf
    for (asked, expected) in [
        (presence("hyco"), [401, 200, 200, 200, 200, 403, 200, 200, 401, 401, 401, 401]),
        (presence("nowhere"), [401, 401, 401, 401, 404, 401, 401, 401, 401, 401, 401, 401]),
        (presence("open"), [200, 401, 401, 401, 200, 401, 401, 401, 200, 401, 401, 401]),
        (management("hyco"), [401, 200, 403, 200, 403, 403, 403, 403, 401, 401, 401, 401]),
        (management("open"), [401, 401, 401, 401, 403, 401, 401, 401, 403, 401, 401, 401]),
        (Ask::http("GET", "/"), [200, 200, 200, 200, 200, 200, 200, 200, 200, 401, 401, 401]),
    ] {
        let got = statuses(&relay, || asked.clone()).await;
        assert_eq!(got, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn details_are_for_managers() {
    let relay = world(|namespace| namespace).await;
    let _listeners = (listen(&relay, "hyco").await, listen(&relay, "open").await);
    for (path, rule, details) in
        [("hyco", "listen", false), ("hyco", "send", false), ("hyco", "own", false), ("hyco", "manage", true)]
    {
        let told = ask(&relay.door, presence(path).token(&token(rule, path))).await;
        let told: Value = serde_json::from_str(told.text()).expect("JSON");
        assert_eq!((told["count"].as_u64(), told.get("listeners").is_some()), (Some(1), details), "{rule}");
    }
    let anybody: Value = serde_json::from_str(ask(&relay.door, presence("open")).await.text()).expect("JSON");
    assert_eq!((anybody["count"].as_u64(), anybody.get("listeners")), (Some(1), None));
}

fn paths(answer: &RawResponse) -> Vec<String> {
    let told: Value = serde_json::from_str(answer.text()).expect("JSON");
    let endpoints = told["endpoints"].as_array().expect("a list");
    endpoints.iter().map(|endpoint| endpoint["path"].as_str().expect("a path").to_owned()).collect()
}

#[tokio::test]
async fn whoever_looks_for_endpoints_finds_what_is_public_and_what_they_may_send_to() {
    let relay = world(|namespace| {
        let own = |path| found(path, Visibility::Authorised).with_rule(Rule::new("own", Rights::SEND, "own"));
        let namespace = namespace.with_discovery().with_entity(found("public", Visibility::Public));
        namespace.with_entity(own("mine")).with_entity(found("theirs", Visibility::Authorised))
    })
    .await;
    let mut listeners = Vec::new();
    for path in ["public", "mine", "theirs", "open"] {
        listeners.push(listen(&relay, path).await);
    }
    let public = ["public"].as_slice();
    for (who, expected) in [
        (None, public),
        (Some(token("listen", "")), public),
        (Some(token("nothing", "")), public),
        (Some(token("send", "")), &["mine", "public", "theirs"]),
        (Some(token("manage", "")), &["mine", "public", "theirs"]),
        (Some(token("send", "theirs")), &["public", "theirs"]),
        (Some(token("own", "mine")), &["mine", "public"]),
        (Some(token("own", "")), &["mine", "public"]),
        (Some(token("send", "nowhere")), public),
    ] {
        let asked = Ask::http("GET", "/").header("Accept", "application/json");
        let asked = who.iter().fold(asked, |asked, token| asked.header("Authorization", token));
        assert_eq!(paths(&ask(&relay.door, asked).await), expected, "{who:?}");
    }
}
