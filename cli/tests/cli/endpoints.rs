//! `endpoints`: what is online in a namespace.

use serde_json::{Value, json};

use crate::harness::{Process, Relay, command, run};
use crate::serve_file::{FileRelay, PLAIN};

#[tokio::test]
async fn what_may_be_found_is_listed_and_followed() {
    let described = "path = \"orders\"\ndiscoverable = \"authorised\"\ntitle = \"Orders\"\ntags = [\"shop\", \"eu\"]";
    let text = PLAIN.replace("path = \"orders\"", described);
    let text = text.replace("[namespace.\"localhost\"]", "[namespace.\"localhost\"]\ndiscovery = true");
    let relay = FileRelay::start(&text).await;
    let (authority, target) = (format!("localhost:{}", relay.port()), relay.connection_string("orders", "the-key"));
    let endpoints = |arguments: &[&str]| {
        let mut command = command(relay.folder());
        command.arg("endpoints").args(arguments).env("HYBRIDRELAY_CONNECTION_STRING", &target);
        command
    };
    let nothing = run(&mut endpoints(&[]), "").await;
    assert_eq!(nothing.text(), format!("no endpoint at {authority} is online\n"));

    let mut watch = Process::start(&mut endpoints(&["--watch"]));
    assert_eq!(watch.line().await, nothing.text());
    let listener = relay.listener("orders").await;
    let came = watch.line().await;
    assert!(came.ends_with(" UTC  + orders  Orders\n"), "{came}");

    let told = run(&mut endpoints(&[]), "").await;
    let lines: Vec<_> = told.text().lines().collect();
    let [heading, row] = lines[..] else { panic!("two lines: {lines:?}") };
    assert!(heading.starts_with("PATH    TITLE   SINCE") && heading.ends_with("SENDERS  TAGS"), "{heading}");
    assert!(row.starts_with("orders  Orders  ") && row.ends_with(" ago  token    shop eu"), "{row}");
    let told: Value = serde_json::from_slice(&run(&mut endpoints(&["--json"]), "").await.ok()).expect("JSON");
    assert_eq!(told["endpoints"][0]["url"], json!(format!("http://{authority}/orders")));

    let stranger = format!("http://{authority}/");
    let hidden = run(&mut endpoints(&["--connection-string", &stranger]), "").await;
    assert_eq!(hidden.text(), nothing.text(), "it is for those who may send");
    listener.close().await;
    assert!(watch.line().await.ends_with(" UTC  - orders\n"));
}

#[tokio::test]
async fn a_relay_that_does_not_tell_is_named_as_one() {
    let relay = Relay::start().await;
    let output = run(relay.command().args(["--json", "endpoints"]), "").await;
    assert_eq!(output.code, Some(1));
    let failure = output.last_event();
    assert_eq!(failure["kind"], "Unsupported", "{failure}");
    assert!(failure["message"].as_str().is_some_and(|text| text.ends_with("does not offer 'discovery'")), "{failure}");
    assert!(failure["advice"].as_str().is_some_and(|text| text.contains("discovery = true")), "{failure}");
}
