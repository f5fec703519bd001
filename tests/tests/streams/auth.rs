//! Who may do what (protocol.md 2, decisions 1, 6, 8, 9, 10, 56, 58).

use std::time::{Duration, SystemTime};

use hybridrelay::token::SasToken;
use hybridrelay_relay::{Config, Namespace, Rights, Rule};
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::{Answer, Ask};
use hybridrelay_tests::wire::setup::{self, Served, entity};
use serde_json::Value;

const HOST: &str = "contoso.example.net";

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors/sas.json")).unwrap()
}

/// A namespace with the vectors' host, rule and key, and one hybrid connection.
async fn contoso() -> Served {
    let vectors = vectors();
    let rule = Rule::new(vectors["skn"].as_str().unwrap(), Rights::MANAGE, vectors["key"].as_str().unwrap());
    let paths = ["hyco", "a", "a/b", "other"];
    let namespace = Namespace::new("contoso").with_hosts([HOST]).with_rule(rule);
    let namespace = paths.into_iter().fold(namespace, |namespace, path| namespace.with_entity(entity(path)));
    // What is refused here is refused for what it is, and not because so much was refused before.
    let mut config = Config::default();
    config.limits.failed_authorizations_per_minute = u64::MAX;
    setup::serve([namespace], config).await
}

fn listen(path: &str) -> Ask {
    Ask::websocket(format!("/$hc/{path}?sb-hc-action=listen")).header("Host", HOST)
}

fn connect(path: &str) -> Ask {
    Ask::websocket(format!("/$hc/{path}")).header("Host", HOST)
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.status_line);
    assert!(answer.text().contains(text), "{}", answer.status_line);
}

#[tokio::test]
async fn every_clients_signature_verifies_and_a_flipped_byte_does_not() {
    let served = contoso().await;
    let vectors = vectors();
    let signatures = vectors["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 7);
    for vector in signatures {
        let (sr, sig, by) = (vector["sr"].as_str().unwrap(), vector["sig"].as_str().unwrap(), &vector["by"]);
        let encoded = percent_encode(sig);
        for good in [
            format!("SharedAccessSignature sr={sr}&sig={encoded}&se=4102444800&skn=tester"),
            // Some helpers encode nothing, write the fields in another order and the names in another case.
            format!("sharedaccesssignature sig={sig}&se=4102444800&skn=TESTER&sr={sr}"),
            format!("Bearer SharedAccessSignature sr={sr}&sig={encoded}&se=4102444800&skn=tester"),
        ] {
            let listener = listen("hyco").token(&good).send(&served.door).await;
            assert_eq!(listener.status, 101, "{by} as listener: {}", listener.status_line);
            drop(listener);
            let sender = connect("hyco/x?y=1").token(&good).send(&served.door).await;
            assert!(matches!(sender.status, 101 | 404 | 504), "{by} as sender: {}", sender.status_line);
        }
        let flipped =
            if let Some(rest) = sig.strip_prefix('A') { format!("B{rest}") } else { format!("A{}", &sig[1..]) };
        for bad in [
            format!("SharedAccessSignature sr={sr}&sig={}&se=4102444800&skn=tester", percent_encode(&flipped)),
            format!("SharedAccessSignature sr={sr}x&sig={encoded}&se=4102444800&skn=tester"),
            format!("SharedAccessSignature sr={sr}&sig={encoded}&se=4102444801&skn=tester"),
            format!("SharedAccessSignature sr={sr}&sig={encoded}&se=4102444800&skn=nobody"),
        ] {
            for ask in [listen("hyco"), connect("hyco")] {
                let answer = ask.token(&bad).send(&served.door).await;
                assert_refused(&answer, 401, "token has an invalid signature");
                assert!(answer.reason.contains(&format!("sb://{HOST}/hyco,")), "the entity's path");
            }
        }
    }
}

#[tokio::test]
async fn an_audience_covers_what_lies_below_it_and_nothing_else() {
    let served = contoso().await;
    let vectors = vectors();
    for case in vectors["audiences"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let token = token(text("audience"), "tester", vectors["key"].as_str().unwrap());
        let answer = connect(&format!("{}{}", text("entity"), text("suffix"))).token(&token).send(&served.door).await;
        match case["covers"].as_bool().unwrap() {
            true => assert_refused(&answer, 404, "There are no listeners"),
            false => assert_refused(&answer, 401, "InvalidAudience"),
        }
    }
    // The host is one of the namespace's, whatever its case.
    let key = vectors["key"].as_str().unwrap();
    for (audience, status) in
        [("http://CONTOSO.example.NET/hyco", 404), ("http://fabrikam.example.net/hyco", 401), ("http://hyco", 401)]
    {
        let answer = connect("hyco").token(&token(audience, "tester", key)).send(&served.door).await;
        assert_eq!(answer.status, status, "{audience}");
    }
}

#[tokio::test]
async fn any_host_may_stand_in_a_token_where_the_namespace_takes_any() {
    let namespace = Namespace::new("n").with_rule(Rule::new("r", Rights::MANAGE, "k")).with_entity(entity("hyco"));
    let served = setup::serve([namespace], Config::default()).await;
    let token = token("http://whatever.example/hyco", "r", "k");
    assert_eq!(listen("hyco").token(&token).send(&served.door).await.status, 101);
}

#[tokio::test]
async fn a_token_may_stand_in_the_header_or_the_query_and_the_right_one_wins() {
    let served = contoso().await;
    let key = vectors()["key"].as_str().unwrap().to_owned();
    let good = token("http://contoso.example.net/hyco/", "tester", &key);
    let bad = token("http://contoso.example.net/hyco/", "tester", "wrong");
    let in_query = |path: &str, token: &str| format!("/{path}?a=1&sb-hc-token={}&b=2", percent_encode(token));
    let ws = |token: &str| Ask::websocket(in_query("$hc/hyco", token)).header("Host", HOST);
    let http = |token: &str| Ask::http("GET", in_query("hyco", token)).header("Host", HOST);

    // WebSocket: the header wins.
    assert_refused(&ws(&good).send(&served.door).await, 404, "There are no listeners");
    assert_refused(&ws(&bad).send(&served.door).await, 401, "invalid signature");
    assert_refused(&ws(&bad).token(&good).send(&served.door).await, 404, "There are no listeners");
    assert_refused(&ws(&good).token(&bad).send(&served.door).await, 401, "invalid signature");
    let authorization = connect("hyco").header("Authorization", &good).send(&served.door).await;
    assert_refused(&authorization, 401, "MissingToken");

    // HTTP: the query wins, and Authorization is the last resort.
    assert_refused(&http(&good).token(&bad).send(&served.door).await, 404, "There are no listeners");
    assert_refused(&http(&bad).token(&good).send(&served.door).await, 401, "invalid signature");
    let plain = || Ask::http("GET", "/hyco").header("Host", HOST);
    assert_refused(
        &plain().token(&good).header("Authorization", &bad).send(&served.door).await,
        404,
        "There are no listeners",
    );
    assert_refused(&plain().header("Authorization", &good).send(&served.door).await, 404, "There are no listeners");
    assert_refused(&plain().header("Authorization", "Basic eDp5").send(&served.door).await, 401, "MalformedToken");

    // A key in the query opens nothing.
    let key = format!("hyco?sb-hc-sas-key-name=tester&sb-hc-sas-key={}", percent_encode(&key));
    assert_refused(&connect(&key).send(&served.door).await, 401, "MissingToken");
}

#[tokio::test]
async fn what_is_no_token_is_named_malformed() {
    let served = contoso().await;
    for text in [
        "x",
        "SharedAccessSignature",
        "SharedAccessSignature sr=a&sig=b&se=1",
        "SharedAccessSignature sr=a&sig=%%%&se=1&skn=tester",
        "SharedAccessSignature sr=a&sig=AAAA&se=soon&skn=tester",
        "SharedAccessSignature sr=a&sig=AAAA&se=-1&skn=tester",
        "eyJ0eXAiOiJKV1QifQ.e30.c2ln",
    ] {
        assert_refused(&connect("hyco").token(text).send(&served.door).await, 401, "MalformedToken");
    }
}

#[tokio::test]
async fn a_token_of_a_namespace_root_signed_by_an_entitys_rule_is_good_for_that_entity_only() {
    let namespace = Namespace::new("n")
        .with_entity(entity("hyco").with_rule(Rule::new("r", Rights::SEND, "k")))
        .with_entity(entity("hyco/deeper"))
        .with_entity(entity("other"));
    let served = setup::serve([namespace], Config::default()).await;
    // What the Java sender signs: without the path.
    let java = token("sb://127.0.0.1", "r", "k");
    assert_refused(&connect("hyco").token(&java).send(&served.door).await, 404, "There are no listeners");
    assert_refused(&connect("hyco/suffix").token(&java).send(&served.door).await, 404, "There are no listeners");
    for foreign in ["other", "hyco/deeper", "nobody"] {
        assert_refused(&connect(foreign).token(&java).send(&served.door).await, 401, "token has an invalid signature");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_403_and_where_asked_for_401() {
    for strict in [false, true] {
        let rules =
            [("l", Rights::LISTEN), ("s", Rights::SEND), ("ls", Rights::LISTEN_AND_SEND), ("m", Rights::MANAGE)];
        let namespace = Namespace::new("n").with_entity(entity("hyco"));
        let namespace = rules
            .into_iter()
            .fold(namespace, |namespace, (name, rights)| namespace.with_rule(Rule::new(name, rights, "k")));
        let config = Config { strict_dotnet_errors: strict, ..Config::default() };
        let served = setup::serve([namespace], config).await;
        let missing = if strict { 401 } else { 403 };
        for (rule, may_listen, may_send) in
            [("l", true, false), ("s", false, true), ("ls", true, true), ("m", true, true)]
        {
            let token = token("http://127.0.0.1/", rule, "k");
            let sender = connect("hyco").token(&token).send(&served.door).await;
            let http = Ask::http("GET", "/hyco").token(&token).send(&served.door).await;
            let listener = listen("hyco").token(&token).send(&served.door).await;
            let told = |answer: &Answer, right: &str| assert_refused(answer, missing, &format!("right to {right}"));
            if may_send {
                assert_refused(&sender, 404, "There are no listeners");
                assert_refused(&http, 404, "There are no listeners");
            } else {
                told(&sender, "send");
                told(&http, "send");
            }
            if may_listen {
                listener.websocket().send_close(Some(1000), "").await;
                setup::until(|| served.handle.listeners("n", "hyco").is_empty()).await;
            } else {
                told(&listener, "listen");
            }
        }
    }
}

#[tokio::test]
async fn of_two_rules_with_one_name_the_entitys_comes_first_and_the_namespaces_second() {
    let shared = Rule::new("same", Rights::LISTEN, "namespace key").with_secondary_key("namespace spare");
    let own = Rule::new("Same", Rights::LISTEN, "entity key").with_secondary_key("entity spare");
    let namespace = Namespace::new("n").with_rule(shared).with_entity(entity("hyco").with_rule(own));
    let served = setup::serve([namespace], Config::default()).await;
    for (key, entity_rule, secondary) in [
        ("entity key", true, false),
        ("entity spare", true, true),
        ("namespace key", false, false),
        ("namespace spare", false, true),
    ] {
        let answer = listen("hyco").token(&token("http://x/hyco", "SAME", key)).send(&served.door).await;
        let mut listener = RawListener::new(&served.door, answer);
        let record = served.handle.listeners("n", "hyco").pop().expect("it is online");
        assert_eq!((record.key.entity_rule, record.key.secondary), (entity_rule, secondary), "{key}");
        assert_eq!(record.key.rule, if entity_rule { "Same" } else { "same" });
        listener.ws.send_close(Some(1000), "").await;
        setup::until(|| served.handle.listeners("n", "hyco").is_empty()).await;
    }
    let answer = listen("hyco").token(&token("http://x/hyco", "same", "third")).send(&served.door).await;
    assert_refused(&answer, 401, "token has an invalid signature");
}

#[tokio::test]
async fn a_token_is_good_for_a_minute_beyond_its_expiry_and_never_too_young() {
    let namespace = Namespace::new("n").with_rule(Rule::new("r", Rights::MANAGE, "k")).with_entity(entity("hyco"));
    let config = Config { max_token_life: Some(Duration::from_secs(24 * 3600)), ..Config::default() };
    let served = setup::serve([namespace], config).await;
    let now = SystemTime::now();
    let seconds = Duration::from_secs;
    for (end, status, text) in [
        (now - seconds(30), 404, "There are no listeners"),
        (now - seconds(120), 401, "ExpiredToken"),
        (SystemTime::UNIX_EPOCH, 401, "ExpiredToken"),
        (now + seconds(23 * 3600), 404, "There are no listeners"),
        (now + seconds(25 * 3600), 401, "lives longer"),
    ] {
        let token = SasToken::create("http://x/hyco", "r", "k", end).to_text();
        assert_refused(&connect("hyco").token(&token).send(&served.door).await, status, text);
    }
    let forever = "SharedAccessSignature sr=x&sig=AAAA&se=18446744073709551615&skn=r";
    assert_refused(&connect("hyco").token(forever).send(&served.door).await, 401, "invalid signature");
}

#[tokio::test]
async fn a_public_hybrid_connection_asks_senders_for_nothing_and_listeners_for_a_token() {
    let namespace =
        Namespace::new("n").with_rule(Rule::new("r", Rights::LISTEN, "k")).with_entity(entity("hyco").anonymous());
    let served = setup::serve([namespace], Config::default()).await;
    assert_refused(&listen("hyco").send(&served.door).await, 401, "MissingToken");
    let answer = listen("hyco").token(&token("http://x/hyco", "r", "k")).send(&served.door).await;
    let mut control = RawListener::new(&served.door, answer);
    // A token that comes all the same is neither needed nor checked nor passed on; Authorization is the application's.
    let ask = connect("hyco?sb-hc-token=garbage&x=1").token("garbage too").header("Authorization", "Basic eDp5");
    let (sender, ()) = tokio::join!(ask.send(&served.door), async {
        let invitation = control.invitation().await;
        assert_eq!(invitation.header("Authorization"), Some("Basic eDp5"));
        assert_eq!(invitation.header("ServiceBusAuthorization"), None);
        assert!(!invitation.field("address").contains("garbage"));
        assert!(invitation.field("address").contains("?x=1&sb-hc-action=accept"));
        invitation.dial().await.websocket();
    });
    sender.websocket();
    let http = Ask::http("GET", "/hyco?x=1&sb-hc-token=garbage").token("garbage").header("Authorization", "Basic eDp5");
    let (answer, ()) = tokio::join!(http.send(&served.door), async {
        let asked = control.request().await;
        assert_eq!(asked.header("Authorization"), Some(&"Basic eDp5".into()));
        assert_eq!((asked.header("ServiceBusAuthorization"), asked.field("requestTarget")), (None, "/hyco?x=1"));
        control.respond(asked.response(204, false), None).await;
    });
    assert_eq!(answer.status, 204);
    assert_refused(&connect("hycox").send(&served.door).await, 401, "MissingToken");
}
