//! What is online in a namespace (protocol.md 7.5).

use hybridrelay_relay::{Discoverable, Entity, Namespace, Visibility};
use hybridrelay_tests::wire::events::EventStream;
use hybridrelay_tests::wire::raw::{Ask, RawHttp};
use hybridrelay_tests::wire::setup::{Served, entity};
use serde_json::{Value, json};

use crate::common::{ask, found, listen, token, vanish, world};

fn described() -> Entity {
    let discoverable = Discoverable {
        visibility: Visibility::Public,
        title: "Orders & <more>".to_owned(),
        summary: "Where orders go".to_owned(),
        tags: vec!["shop".to_owned(), "eu".to_owned()],
    };
    entity("Shop/orders").discoverable(discoverable)
}

async fn shop() -> Served {
    world(|namespace| namespace.with_discovery().with_entity(described())).await
}

fn json_of(path: &str) -> Ask {
    Ask::http("GET", path).header("Accept", "application/json")
}

#[tokio::test]
async fn nothing_is_told_unless_it_is_wanted() {
    let relay = world(|namespace| namespace.with_entity(described())).await;
    let _listener = listen(&relay, "shop/orders").await;
    for asked in [Ask::http("GET", "/"), json_of("/"), Ask::http("GET", "/").token(&token("manage", ""))] {
        let answer = ask(&relay.door, asked).await;
        assert_eq!((answer.status, answer.header("relay-features")), (404, None));
    }
}

#[tokio::test]
async fn only_what_is_online_is_listed() {
    let relay = shop().await;
    let empty = ask(&relay.door, json_of("/")).await;
    assert_eq!(empty.text(), r#"{"endpoints":[]}"#);
    let listener = listen(&relay, "shop/orders").await;
    let answer = ask(&relay.door, json_of("/")).await;
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("relay-features"), Some("discovery"));
    let told: Value = serde_json::from_str(answer.text()).expect("JSON");
    let authority = &relay.door.authority;
    let expected = json!({
        "path": "Shop/orders", "title": "Orders & <more>", "summary": "Where orders go", "tags": ["shop", "eu"],
        "url": format!("http://{authority}/Shop/orders"), "webSocket": format!("ws://{authority}/$hc/Shop/orders"),
        "requiresAuthorization": true, "since": told["endpoints"][0]["since"],
    });
    assert_eq!(told, json!({"endpoints": [expected]}));
    vanish(&relay, listener, "shop/orders").await;
    assert_eq!(ask(&relay.door, json_of("/")).await.text(), r#"{"endpoints":[]}"#);
}

#[tokio::test]
async fn a_feed_is_what_is_usual() {
    let relay = shop().await;
    let _listener = listen(&relay, "shop/orders").await;
    let answer = ask(&relay.door, Ask::http("GET", "/").header("Accept", "text/html, */*;q=0.8")).await;
    assert_eq!(answer.header("content-type"), Some("application/atom+xml;type=feed;charset=utf-8"));
    let (text, base) = (answer.text(), format!("http://{}", relay.door.authority));
    for part in [
        format!("<id>{base}/</id>"),
        format!("<id>{base}/Shop/orders</id><title>Orders &amp; &lt;more&gt;</title><updated>"),
        format!("<link rel=\"alternate\" href=\"{base}/Shop/orders\"/>"),
        format!("href=\"ws://{}/$hc/Shop/orders\"/>", relay.door.authority),
        "<category term=\"shop\"/><category term=\"eu\"/><summary>Where orders go</summary>".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn whoever_has_it_already_is_told_so() {
    let relay = shop().await;
    let first = ask(&relay.door, json_of("/")).await;
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert!(first.header("vary").is_some_and(|vary| vary.contains("Accept") && vary.contains("Authorization")));
    let again = |known: &str| ask(&relay.door, json_of("/").header("If-None-Match", known));
    let mut http = RawHttp::open(&relay.door).await;
    http.ask(&relay.door, &json_of("/").header("If-None-Match", &format!("\"x\", W/{tag}"))).await;
    let known = http.head().await;
    assert_eq!((known.status, known.header("etag")), (304, Some(&*tag)));
    assert_eq!(known.header("vary"), first.header("vary"));

    let feed = ask(&relay.door, Ask::http("GET", "/").header("If-None-Match", &tag)).await;
    assert_eq!(feed.status, 200, "another form");
    let _listener = listen(&relay, "shop/orders").await;
    let more = again(&tag).await;
    assert_eq!(more.status, 200);
    assert_ne!(more.header("etag"), Some(&*tag));
    let private = ask(&relay.door, json_of("/").token(&token("send", ""))).await;
    assert_eq!(private.header("cache-control"), Some("private, no-cache"));
}

#[tokio::test]
async fn endpoints_are_told_of_as_they_come_and_go() {
    let relay = world(|namespace| {
        let namespace = namespace.with_discovery().with_entity(described());
        namespace.with_entity(found("hidden", Visibility::Authorised))
    })
    .await;
    let watch = || Ask::http("GET", "/");
    let mut anybody = EventStream::open(&relay.door, watch()).await;
    let mut sender = EventStream::open(&relay.door, watch().token(&token("send", ""))).await;
    for stream in [&mut anybody, &mut sender] {
        assert_eq!(stream.expect("snapshot").await.data, json!({"endpoints": []}));
    }
    let hidden = listen(&relay, "hidden").await;
    assert_eq!(sender.expect("endpoint-online").await.data["path"], "hidden");
    let first = listen(&relay, "shop/orders").await;
    let second = listen(&relay, "shop/orders").await;
    let online = anybody.expect("endpoint-online").await;
    assert_eq!((&online.data["path"], &online.data["title"]), (&json!("Shop/orders"), &json!("Orders & <more>")));
    assert_eq!(sender.expect("endpoint-online").await.data, online.data);
    vanish(&relay, first, "shop/orders").await;
    vanish(&relay, second, "shop/orders").await;
    let offline = anybody.expect("endpoint-offline").await;
    assert_eq!(offline.data["path"], "Shop/orders");
    drop(anybody);
    vanish(&relay, hidden, "hidden").await;
    let _again = listen(&relay, "shop/orders").await;

    let resume = |id: &str| watch().header("Last-Event-ID", id);
    let mut anybody = EventStream::open(&relay.door, resume(&online.id)).await;
    assert_eq!(anybody.expect("endpoint-offline").await, offline);
    anybody.expect("endpoint-online").await;
    // What a sender may see is something else.
    let mut other = EventStream::open(&relay.door, resume(&online.id).token(&token("send", ""))).await;
    assert_eq!(other.expect("snapshot").await.data["endpoints"][0]["path"], "Shop/orders");
}

#[tokio::test]
async fn a_namespace_that_is_changed_is_shown_anew() {
    let relay = shop().await;
    let _listener = listen(&relay, "shop/orders").await;
    let mut stream = EventStream::open(&relay.door, Ask::http("GET", "/")).await;
    let before = stream.expect("snapshot").await;
    assert_eq!(before.data["endpoints"][0]["title"], "Orders & <more>");
    relay.store.put_entity("n", entity("unrelated"));
    relay.store.put_entity("n", found("shop/orders", Visibility::Public));
    assert_eq!(stream.expect("snapshot").await.data["endpoints"][0]["title"], "shop/orders");
    let again = Ask::http("GET", "/").header("Last-Event-ID", &before.id);
    EventStream::open(&relay.door, again).await.expect("snapshot").await;
    relay.store.edit("n", |namespace| namespace.discovery = false);
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn the_host_of_a_hybrid_connection_is_not_the_namespace() {
    let relay = world(|namespace: Namespace| {
        namespace.with_discovery().with_entity(described().anonymous().with_host("orders.example"))
    })
    .await;
    let mut listener = listen(&relay, "shop/orders").await;
    let answering = async {
        let request = listener.request().await;
        assert_eq!(request.field("requestTarget"), "/Shop/orders/");
        listener.respond(request.response(204, false), None).await;
    };
    let door = relay.door.named("orders.example");
    let (answer, ()) = tokio::join!(ask(&door, Ask::http("GET", "/")), answering);
    assert_eq!((answer.status, answer.header("relay-features")), (204, None));
    // What the relay tells itself is the same at every host.
    let presence = ask(&door, Ask::http("GET", "/$relay/presence/shop/orders")).await;
    assert_eq!((presence.status, presence.header("relay-features")), (200, Some("presence")));
}

#[tokio::test]
async fn the_list_is_only_read() {
    let relay = shop().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(&relay.door, Ask::http(method, "/")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(answer.header("relay-features"), Some("discovery"));
    }
}
