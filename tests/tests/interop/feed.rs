//! feedparser: a reader of feeds that knows nothing of relays.

use hybridrelay_relay::{Config, Discoverable, Namespace, Rights, Rule, Visibility};
use hybridrelay_tests::program::prepared;
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::Ask;
use hybridrelay_tests::wire::setup::{Served, entity, serve};
use serde_json::{Value, json};

use crate::stacks;

async fn read(relay: &Served, tag: &str) -> Value {
    let (program, script) = (prepared("target/interop/python/bin/python"), prepared("tests/interop/python/feed.py"));
    let address = format!("http://{}/", relay.door.authority);
    let script = script.to_str().expect("a path in UTF-8");
    let told = stacks::run(program.to_str().expect("a path in UTF-8"), [script, &address, tag]).await;
    serde_json::from_str(&told).expect("JSON")
}

#[tokio::test]
async fn the_list_of_endpoints_is_a_feed_without_a_fault() {
    let discoverable = Discoverable {
        visibility: Visibility::Public,
        title: "Orders & <more> ]]> \u{1}漢".to_owned(),
        summary: "\"Where\" orders go".to_owned(),
        tags: vec!["shop".to_owned(), "a & b".to_owned()],
    };
    let namespace = Namespace::new("n").with_rule(Rule::new("r", Rights::LISTEN, "k")).with_discovery();
    let namespace = namespace.with_entity(entity("Shop/orders").discoverable(discoverable));
    let relay = serve([namespace], Config::default()).await;
    let empty = read(&relay, "").await;
    assert_eq!((&empty["bozo"], &empty["entries"]), (&json!(false), &json!([])), "{empty}");

    let ask = Ask::websocket("/$hc/shop/orders?sb-hc-action=listen").token(&token("http://127.0.0.1/", "r", "k"));
    let _listener = RawListener::new(&relay.door, ask.send(&relay.door).await);
    let told = read(&relay, "").await;
    let authority = &relay.door.authority;
    assert_eq!((&told["status"], &told["bozo"], &told["why"]), (&json!(200), &json!(false), &json!("")), "{told}");
    assert_eq!((&told["version"], &told["updated"]), (&json!("atom10"), &json!(true)), "{told}");
    assert_eq!(told["id"], json!(format!("http://{authority}/")));
    let url = format!("http://{authority}/Shop/orders");
    let entry = json!({
        "id": url, "title": "Orders & <more> ]]> 漢", "summary": "\"Where\" orders go", "tags": ["shop", "a & b"],
        "links": {"alternate": url, "related": format!("ws://{authority}/$hc/Shop/orders")}, "updated": true,
    });
    assert_eq!(told["entries"], json!([entry]));
    let again = read(&relay, told["etag"].as_str().expect("a tag")).await;
    assert_eq!(again["status"], 304, "{again}");
}
