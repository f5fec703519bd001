//! What is read from a file, and what is said about one that is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::namespace::{
    Choice, Discoverable, Distribution, EventSettings, NoListener, NoSubscriber, OneWay, Right, Rights, SlowSubscriber,
    StickyBy, Visibility, WebSocketPaths,
};
use crate::store::{MemoryStore, Store};

/// A file that can be used, without TLS and with a key in it.
const PLAIN: &str = r#"version = 1
[[listen]]
url = "http://127.0.0.1:0"
[namespace."relay.test"]
[[namespace."relay.test".rule]]
name = "all"
rights = ["Manage"]
primary_key = "a-key-of-the-file"
[[namespace."relay.test".entity]]
path = "orders"
"#;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Writes a file that only its owner reads.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

fn load_in(folder: &Path, text: &str) -> Result<ConfigFile, Problems> {
    let path = folder.join("relay.toml");
    write(&path, text);
    ConfigFile::load(&Env::system(), &path)
}

fn load(text: &str) -> Result<ConfigFile, Problems> {
    load_in(folder().path(), text)
}

/// `line:column: message; advice` of each problem.
fn problems(text: &str) -> Vec<String> {
    lines(&load(text).expect_err("a file that cannot be used").0)
}

fn lines(problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| {
        let advice = problem.advice.as_deref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{}:{}: {}{advice}", problem.line, problem.column, problem.message)
    };
    problems.iter().map(line).collect()
}

/// A certificate and its key in PEM, valid in these years.
fn certificate(from: i32, to: i32) -> (String, String) {
    let mut params = CertificateParams::new(["relay.test".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[test]
fn a_small_file_is_enough() {
    let file = load(PLAIN).expect("usable");
    assert_eq!(file.warnings(), []);
    assert_eq!((file.drain(), file.config().limits.listeners_per_entity), (Duration::from_secs(30), 25));
    assert_eq!(file.log(), &LogSettings { filter: "info".to_owned(), format: LogFormat::Text });
    let [namespace] = &*file.loaded.namespaces else { panic!("one namespace") };
    assert_eq!(namespace.hosts, ["relay.test", "*"], "alone, it answers to every host");
    assert_eq!(namespace.rules[0].primary_key, "a-key-of-the-file");
    assert!(namespace.entity("orders").is_some_and(|entity| entity.requires_client_authorization));
}

#[test]
fn everything_that_can_be_said_arrives() {
    let text = r#"
version = 1
[[listen]]
url = "http://127.0.0.1:0"
[metrics]
listen = "[::1]:9090"
[relay]
public_url = "https://node1.relay.test:8443"
trusted_proxies = ["::ffff:10.0.0.1", "2001:db8::1"]
strict_dotnet_errors = true
max_token_life = "1d"
[limits]
sockets = 1_000
header_block = "16 KiB"
control_text = 70000
failed_authorizations_per_minute = 5
connections_per_second_per_key = 7
connections_per_second_per_entity = "unlimited"
bytes_per_second_per_namespace = "16 MiB"
accept = "1m30s"
drain_lead = "5s"
drain = "2m"
[log]
filter = "warn,hybridrelay_relay=debug"
format = "json"
[namespace."a.test"]
hosts = ["A2.test", "[2001:db8::2]"]
entity_hosts = "*.Apps.test"
discovery = true
auto_create = { public = ["web/*"], events = ["events/*"], websocket = "any-path", choice = "least-busy", limit = 5 }
[[namespace."a.test".rule]]
name = "l"
rights = ["listen", "Send"]
primary_key = "k1"
secondary_key = "k2"
[[namespace."a.test".entity]]
path = "Orders/new"
anonymous = true
websocket = "any-path"
user_metadata = "of sales"
host = "Orders.test"
response_timeout = "2h"
idle_timeout = "5m"
max_body = "10 MiB"
no_listener = 502
cors = ["https://app.test", "*"]
one_way = "allowed"
one_way_max = "1 MiB"
distribution = "all"
max_event = 65536
event_queue = "2 MiB"
slow_subscriber = "disconnect"
no_subscriber = "not-found"
choice = "sticky"
sticky_by = "header:X-Session"
discoverable = "authorised"
title = "New orders"
summary = "Takes them."
tags = ["shop"]
[[namespace."a.test".entity.rule]]
name = "own"
rights = ["Send"]
primary_key = "k3"
[namespace."b.test"]
hosts = ["*"]
auto_create = {}
"#;
    let file = load(text).expect("usable");
    let config = file.config();
    assert_eq!(file.settings.metrics, Some("[::1]:9090".parse().expect("an address")));
    assert_eq!(
        config.public_url.as_ref().and_then(|url| url.authority()).map(|a| a.as_str()),
        Some("node1.relay.test:8443")
    );
    assert_eq!(format!("{:?}", config.trusted_proxies), "[10.0.0.1, 2001:db8::1]");
    assert!(config.strict_dotnet_errors);
    assert_eq!(config.max_token_life, Some(Duration::from_secs(86_400)));
    let limits = &config.limits;
    assert_eq!((limits.sockets, limits.header_block, limits.control_text), (1000, 16 << 10, 70_000));
    assert_eq!(limits.failed_authorizations_per_minute, 5);
    assert_eq!((limits.connections_per_second_per_key, limits.connections_per_second_per_entity), (Some(7), None));
    assert_eq!(limits.bytes_per_second_per_namespace, Some(16 << 20));
    assert_eq!((config.timings.accept, config.timings.drain_lead), (Duration::from_secs(90), Duration::from_secs(5)));
    assert_eq!(file.drain(), Duration::from_secs(120));
    assert_eq!(file.log(), &LogSettings { filter: "warn,hybridrelay_relay=debug".to_owned(), format: LogFormat::Json });

    let [a, b] = &*file.loaded.namespaces else { panic!("two namespaces") };
    assert_eq!(a.hosts, ["a.test", "a2.test", "2001:db8::2"]);
    assert_eq!(b.hosts, ["b.test", "*"]);
    let policy = a.auto_create.as_ref().expect("a policy");
    assert_eq!(
        (&*policy.public, policy.settings.websocket, policy.limit),
        (&["web/*".to_owned()][..], WebSocketPaths::AnyPath, 5)
    );
    let made = |path: &str| policy.entity(path.parse().expect("a path"), SystemTime::UNIX_EPOCH).settings.distribution;
    assert_eq!(made("events/doors"), Distribution::All(EventSettings::default()));
    assert_eq!(made("web/events"), Distribution::One);
    assert_eq!(a.rules[0].rights, Rights::LISTEN_AND_SEND);
    assert_eq!((&*a.rules[0].primary_key, a.rules[0].secondary_key.as_deref()), ("k1", Some("k2")));
    let entity = a.entity("orders/NEW").expect("a hybrid connection");
    assert_eq!((entity.path.as_str(), entity.settings.websocket), ("Orders/new", WebSocketPaths::AnyPath));
    assert_eq!((a.entity_hosts.as_deref(), entity.host.as_deref()), (Some("*.apps.test"), Some("orders.test")));
    let http = &entity.settings.http;
    assert_eq!((http.response_timeout, http.idle_timeout), (Duration::from_secs(7_200), Duration::from_secs(300)));
    assert_eq!((http.max_body, http.no_listener), (Some(10 << 20), NoListener::BadGateway));
    assert_eq!(http.cors, ["https://app.test", "*"]);
    assert_eq!((http.one_way, http.one_way_max), (OneWay::Allowed, 1 << 20));
    let Distribution::All(events) = &entity.settings.distribution else { panic!("to all") };
    assert_eq!((events.max_event, events.queue), (64 << 10, 2 << 20));
    assert_eq!((events.slow_subscriber, events.no_subscriber), (SlowSubscriber::Disconnect, NoSubscriber::NotFound));
    let session = ::http::HeaderName::from_static("x-session");
    assert_eq!(entity.settings.choice, Choice::Sticky(StickyBy::Header(session)));
    let (title, summary, tags) = ("New orders".to_owned(), "Takes them.".to_owned(), vec!["shop".to_owned()]);
    let discoverable = Discoverable { visibility: Visibility::Authorised, title, summary, tags };
    assert_eq!(entity.settings.discoverable, Some(discoverable));
    assert!(a.discovery && !b.discovery);
    assert_eq!(policy.settings.choice, Choice::LeastBusy);
    assert_eq!((&*entity.user_metadata, entity.requires_client_authorization), ("of sales", false));
    assert!(entity.rules[0].rights.allow(Right::Send) && !entity.rules[0].rights.allow(Right::Listen));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place_and_what_to_do() {
    let text = r#"version = 2
[[listen]]
url = "https://127.0.0.1:0"
[[listen]]
url = "127.0.0.1:80"
colour = "red"
[limits]
sokets = 5
drain = "soon"
handshakes = 0
bytes_per_second_per_key = 0
control_gone = "10s"
revocation = "2m"
[namespace."x"]
hosts = ["a b"]
[[namespace."x".rule]]
name = "r"
rights = ["Sned"]
primary_key = "k"
primary_key_file = "k"
[[namespace."x".rule]]
name = "s"
[[namespace."x".entity]]
path = "e"
anonymus = true
websocket = "anypath"
host = "a/b"
response_timeout = "0s"
idle_timeout = "soon"
max_body = "much"
no_listener = 500
cors = ["app.test", "https://app.test/"]
"#;
    let expected = [
        "1:11: version 2 of the format is not known; write version = 1",
        "2:1: https://127.0.0.1:0 is https and has no certificate; add tls.cert = \"…\" and tls.key = \"…\", the paths of PEM files",
        "5:7: url cannot be \"127.0.0.1:80\"; write https://host:port or http://host:port",
        "6:1: unknown key \"colour\" in [[listen]]; known are \"url\", \"tls\"",
        "8:1: unknown key \"sokets\" in [limits]; did you mean \"sockets\"?",
        "9:9: drain in [limits] cannot be \"soon\"; write a duration such as \"30s\", \"5m\" or \"1h30m\"",
        "10:14: handshakes in [limits] cannot be 0; write 1 or more, or leave the key out for its default",
        "11:28: bytes_per_second_per_key in [limits] cannot be 0; for no limit write \"unlimited\"",
        "12:16: control_gone must be longer than control_ping; write a longer control_gone or a shorter control_ping",
        "13:14: revocation cannot be longer than 60 s; write \"60s\" or less",
        "15:10: \"a b\" is no host; write the name alone, without scheme, port and path",
        "18:11: \"Sned\" is no right; did you mean \"Send\"?",
        "20:20: [[namespace.\"x\".rule]] has primary_key and primary_key_file; keep one of the two",
        "21:1: [[namespace.\"x\".rule]] gives no rights; write rights = [\"Listen\"], [\"Send\"], both, or [\"Manage\"] for everything",
        "21:1: [[namespace.\"x\".rule]] has no key; add primary_key_file = \"…\", or primary_key = \"${env:…}\"",
        "25:1: unknown key \"anonymus\" in [[namespace.\"x\".entity]]; did you mean \"anonymous\"?",
        "26:13: websocket cannot be \"anypath\"; did you mean \"any-path\"?",
        "27:8: \"a/b\" is no host; write the name alone, without scheme, port and path",
        "28:20: response_timeout cannot be \"0s\"; write a time such as \"60s\" or \"2h\"",
        "29:16: idle_timeout cannot be \"soon\"; write a time such as \"60s\" or \"2h\"",
        "30:12: max_body is no size; write a number of bytes, a size such as \"10 MiB\", or \"unlimited\"",
        "31:15: no_listener cannot be 500; did you mean \"502\"?",
        "32:9: \"app.test\" in cors is no origin; write scheme and host, such as \"https://app.example.net\", or \"*\"",
        "32:21: \"https://app.test/\" in cors is no origin; write scheme and host, such as \"https://app.example.net\", or \"*\"",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn a_file_that_says_nothing_is_told_what_is_needed() {
    assert_eq!(
        problems(""),
        [
            "1:1: the version of the format is not given; begin the file with version = 1",
            "1:1: there is no address to listen on; write [[listen]] and url = \"https://0.0.0.0:443\", tls.cert = \"…\", tls.key = \"…\"",
            "1:1: there is no namespace; write [namespace.\"relay.example.net\"], the host by which clients reach the relay",
        ]
    );
    let missing = ConfigFile::load(&Env::system(), "/nowhere/relay.toml".as_ref()).expect_err("no file");
    assert!(missing.to_string().starts_with("/nowhere/relay.toml: error: the file cannot be read: "), "{missing}");
}

#[test]
fn what_is_no_toml_is_told_with_its_place_and_so_is_the_rest() {
    let text = PLAIN.replace("path = \"orders\"", "path = \"orders\nanonymus = true");
    let found = problems(&text);
    assert!(found[0].starts_with("10:"), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("11:1: unknown key \"anonymus\"")), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("has no path")), "nothing is missing that only could not be read");
}

#[test]
fn types_are_checked() {
    let text = r#"version = "1"
listen = "https://x"
metrics = 9090
[relay]
trusted_proxies = ["10.0.0.0/8", 5]
public_url = "relay.test"
strict_dotnet_errors = "yes"
[log]
level = "verbose"
format = "xml"
[namespace]
x = 1
"#;
    let found = problems(text);
    for (at, expected) in [
        "1:11: version at the top cannot be a string; write a whole number, 0 or more",
        "2:10: listen at the top cannot be a string; write a list of tables: write [[listen]] with two brackets",
        "3:11: metrics at the top cannot be an integer; write a table: [metrics]",
        "5:20: \"10.0.0.0/8\" in trusted_proxies is no IP address; write an address such as \"192.0.2.1\" or \"2001:db8::1\"",
        "5:34: trusted_proxies in [relay] cannot be an integer; write a list of texts: [\"…\", \"…\"]",
        "6:14: public_url cannot be \"relay.test\"; write https://host or https://host:port, by which listeners reach this relay",
        "7:24: strict_dotnet_errors in [relay] cannot be a string; write true or false",
        "9:9: level cannot be \"verbose\"; known are \"error\", \"warn\", \"info\", \"debug\", \"trace\", \"off\"",
        "10:10: format cannot be \"xml\"; known are \"text\", \"json\"",
        "12:1: namespace.\"x\" is no table; write [namespace.\"…\"]",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(found.get(at).map(String::as_str), Some(*expected), "{found:#?}");
    }
}

#[test]
fn a_host_leads_to_one_namespace_and_names_are_not_used_twice() {
    let text = PLAIN.to_owned()
        + r#"[[namespace."relay.test".entity]]
path = "ORDERS"
[[namespace."relay.test".rule]]
name = "All"
rights = ["Listen"]
primary_key = "k"
[namespace."other.test"]
hosts = ["Relay.test", "*"]
auto_create = {}
[[listen]]
url = "http://127.0.0.1:9080"
[[listen]]
url = "http://127.0.0.1:9080"
"#;
    assert_eq!(
        problems(&text),
        [
            "11:1: the hybrid connection ORDERS is there twice; keep one of them; case does not make a difference",
            "13:1: the rule \"All\" is there twice; give each rule a name of its own; case does not make a difference",
            "18:10: relay.test leads to the namespace \"relay.test\" already; give each host to one namespace",
            "22:1: http://127.0.0.1:9080 is there twice; keep one of them",
        ]
    );
}

#[test]
fn keys_come_from_files_the_environment_and_credentials() {
    let folder = folder();
    write(&folder.path().join("k1"), "key-of-a-file\n");
    write(&folder.path().join("k2"), "another-key\r\n");
    let keys = |primary: &str, secondary: &str| {
        PLAIN.replace("primary_key = \"a-key-of-the-file\"", &format!("{primary}\n{secondary}"))
    };
    let file = load_in(folder.path(), &keys("primary_key_file = \"k1\"", "secondary_key = \"${file:k2}\""));
    let file = file.expect("usable");
    let rule = &file.loaded.namespaces[0].rules[0];
    assert_eq!((&*rule.primary_key, rule.secondary_key.as_deref()), ("key-of-a-file", Some("another-key")));

    let text = keys("primary_key = \"${env:HYBRIDRELAY_NO_SUCH_KEY}\"", "secondary_key = \"${credential:send}\"");
    let found = lines(&load_in(folder.path(), &text).expect_err("neither is there").0);
    assert_eq!(
        found[0],
        "8:15: the environment variable HYBRIDRELAY_NO_SUCH_KEY is not set; set HYBRIDRELAY_NO_SUCH_KEY, or name a file"
    );
    assert!(
        found[1].starts_with("9:17: ${credential:send} leads nowhere: CREDENTIALS_DIRECTORY is not set; "),
        "{found:?}"
    );
}

#[test]
fn a_key_that_is_no_good_is_told_of_and_not_shown() {
    let folder = folder();
    write(&folder.path().join("empty"), "\n");
    for (key, told) in [
        ("primary_key = \"top secret\"", "primary_key holds characters that a connection string cannot carry"),
        ("primary_key = \"${vault:topsecret}\"", "primary_key is no reference"),
        ("primary_key = \"[redacted]\"", "primary_key was left out when the file was shown"),
        ("primary_key_file = \"empty\"", "empty is empty"),
        ("primary_key_file = \"absent\"", "absent cannot be read: No such file or directory (os error 2)"),
    ] {
        let text = PLAIN.replace("primary_key = \"a-key-of-the-file\"", key);
        let [problem] = &*load_in(folder.path(), &text).expect_err(key).0 else { panic!("one problem: {key}") };
        assert!(problem.message.ends_with(told), "{problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[test]
fn secrets_that_others_can_read_are_warned_of() {
    let folder = folder();
    let open = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        path
    };
    let warnings = |path: &Path| lines(ConfigFile::load(&Env::system(), path).expect("usable").warnings());

    let found = warnings(&open("relay.toml", PLAIN));
    assert!(
        found[0].starts_with("8:15: this file holds a key and can be read by others than its owner; "),
        "{found:?}"
    );
    let key = open("key", "k");
    let named = PLAIN.replace("primary_key = \"a-key-of-the-file\"", "primary_key_file = \"key\"");
    let found = warnings(&open("relay.toml", &named));
    let expected = format!("8:20: {0} can be read by others than its owner; run chmod 600 {0}", key.display());
    assert_eq!(found, [expected]);
}

#[test]
fn certificates_are_loaded_and_must_be_their_keys() {
    let folder = folder();
    let ((certificate, key), (_, other_key)) = (certificate(2020, 2100), self::certificate(2020, 2100));
    let text = PLAIN.replace(
        "url = \"http://127.0.0.1:0\"",
        "url = \"https://127.0.0.1:0\"\ntls.cert = \"cert.pem\"\ntls.key = \"key.pem\"",
    );
    let outcome = |certificate: &str, key: &str| {
        write(&folder.path().join("cert.pem"), certificate);
        write(&folder.path().join("key.pem"), key);
        match load_in(folder.path(), &text) {
            Ok(file) => lines(file.warnings()),
            Err(problems) => lines(&problems.0),
        }
    };
    assert_eq!(outcome(&certificate, &key), [""; 0]);
    let expect = |outcome: Vec<String>, place: &str, told: &str| {
        assert!(outcome.len() == 1 && outcome[0].starts_with(place) && outcome[0].contains(told), "{outcome:?}");
    };
    expect(
        outcome(&certificate, &other_key),
        "5:11:",
        "key.pem is not the certificate's; name the two files that were made together",
    );
    expect(outcome("nothing", &key), "4:12:", "cert.pem holds no certificate; ");
    expect(outcome(&certificate, &certificate), "5:11:", "key.pem holds no private key; ");
    assert_eq!(outcome("nothing", "nothing").len(), 2, "both are told of");

    let (expired, key) = self::certificate(2020, 2021);
    expect(outcome(&expired, &key), "4:12:", "has expired: Fri, 01 Jan 2021 00:00:00 GMT; renew it");
    let (early, key) = self::certificate(2099, 2100);
    expect(outcome(&early, &key), "4:12:", "is not valid before Thu, 01 Jan 2099 00:00:00 GMT; ");
}

#[test]
fn what_a_hybrid_connection_says_is_checked() {
    for (line, expected) in [
        ("choice = \"stiky\"", "11:10: choice cannot be \"stiky\"; did you mean \"sticky\"?"),
        (
            "choice = \"sticky\"\nsticky_by = \"cookie:a\"",
            "12:13: sticky_by cannot be \"cookie:a\"; write \"address\", \"header:NAME\" or \"query:NAME\"",
        ),
        ("sticky_by = \"address\"", "11:13: sticky_by needs choice = \"sticky\"; write both, or none of them"),
        ("distribution = \"every\"", "11:16: distribution cannot be \"every\"; known are \"one\", \"all\""),
        (
            "event_queue = \"1 GiB\"",
            "11:15: event_queue is no size that can be; write a number of bytes or a size such as \"1 MiB\", up to 256 MiB",
        ),
        (
            "one_way = true",
            "11:11: one_way in [[namespace.\"relay.test\".entity]] cannot be a boolean; write a text in quotes",
        ),
        (
            "discoverable = \"all\"",
            "11:16: discoverable cannot be \"all\"; known are \"no\", \"public\", \"authorised\"",
        ),
    ] {
        assert_eq!(problems(&format!("{PLAIN}{line}\n")), [expected]);
    }
    for (line, expected) in [
        ("max_event = 100", "tells how events go to all listeners, and they do not"),
        ("tags = [\"a\"]", "describes an endpoint of which nobody is told"),
    ] {
        let file = load(&format!("{PLAIN}{line}\n")).expect("usable");
        assert!(lines(file.warnings()).iter().any(|warning| warning.contains(expected)), "{line}");
    }
}

#[test]
fn what_is_shown_can_be_read_again_and_holds_no_key() {
    let folder = folder();
    let path = folder.path().join("relay.toml");
    let show = |text: &str| {
        write(&path, text);
        Settings::read(&path).expect("usable").to_toml()
    };
    let shown = show(PLAIN);
    assert!(shown.contains("primary_key = \"[redacted]\"") && !shown.contains("a-key-of-the-file"), "{shown}");
    for line in [
        "level = \"info\"",
        "drain = \"30s\"",
        "listeners_per_entity = 25",
        "queued_bytes = \"4 MiB\"",
        "hosts = [\"*\"]",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    assert!(load(&shown).is_err(), "a file whose keys were left out is none to be used");

    // With quotes and backslashes where somebody might put them.
    let text =
        EXAMPLE.replace("path = \"orders\"", "path = \"orders\"\nuser_metadata = 'say \"hi\" \\'\nanonymous = true\ndistribution = \"all\"\nchoice = \"sticky\"\nsticky_by = \"query:s\"\ndiscoverable = \"public\"\ntitle = 'a \"b\"'");
    let text = text.replace(
        "# [namespace.\"relay.example.net\".auto_create]\n# public",
        "[namespace.\"relay.example.net\".auto_create]\npublic",
    );
    let text = text.replace("# events = ", "events = ");
    let shown = show(&text);
    assert!(shown.contains("events = [\"events/*\"]"), "{shown}");
    assert!(shown.contains("anonymous = true") && shown.contains("primary_key_file = \"keys/send\""), "{shown}");
    assert_eq!(show(&shown), shown);
}

#[test]
fn the_example_can_be_used_when_its_files_are_there() {
    let folder = folder();
    for directory in ["keys", "tls"] {
        fs::create_dir(folder.path().join(directory)).expect("a folder");
    }
    let found = load_in(folder.path(), EXAMPLE).expect_err("no files").0.len();
    assert_eq!(found, 4, "a certificate and three keys");
    let (certificate, key) = certificate(2020, 2100);
    for (name, text) in
        [("tls/fullchain.pem", &*certificate), ("tls/privkey.pem", &key), ("keys/listen", "kl"), ("keys/send", "ks")]
    {
        write(&folder.path().join(name), text);
    }
    let file = load_in(folder.path(), EXAMPLE).expect("usable");
    assert_eq!(file.warnings(), []);
    // And it says what it says it says: the keys that are commented out are known, too.
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let problems = load_in(folder.path(), &uncommented).map_or_else(|problems| lines(&problems.0), |_| Vec::new());
    assert_eq!(problems, [""; 0], "{uncommented}");
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/relay.toml");
    assert_eq!(
        fs::read_to_string(committed).expect("there is such a file"),
        EXAMPLE,
        "contrib/relay.toml is the example"
    );
}

#[test]
fn hybrid_connections_that_listeners_made_outlive_a_reload_as_long_as_there_is_a_policy() {
    let policy = "auto_create = { public = [\"new*\"] }";
    let with = |more: &str| {
        let text = PLAIN.replace("[namespace.\"relay.test\"]", &format!("[namespace.\"relay.test\"]\n{more}"));
        load(&text).expect("usable").loaded.namespaces
    };
    let (old, without_orders) = (
        with("auto_create = {}"),
        load(
            &PLAIN
                .replace("orders", "other")
                .replace("[namespace.\"relay.test\"]", &format!("[namespace.\"relay.test\"]\n{policy}")),
        ),
    );
    let store = MemoryStore::new(old.clone());
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    store.create_on_listen("relay.test", "newcomer".parse().expect("a path"), at(1)).expect("allowed");
    store.replace_with(|present| {
        running::with_created(present, &old, without_orders.expect("usable").loaded.namespaces, at(2))
    });
    let snapshot = store.snapshot();
    let namespace = snapshot.namespace("relay.test").expect("still there");
    let paths: Vec<_> = namespace.entities().map(|entity| entity.path.as_str()).collect();
    assert_eq!(paths, ["newcomer", "other"], "what the file no longer names is gone");
    assert!(
        namespace.entity("newcomer").is_some_and(|entity| !entity.requires_client_authorization),
        "as the policy is now"
    );
    let times = |path| namespace.entity(path).map(|entity| (entity.created_at, entity.updated_at));
    assert_eq!(times("newcomer"), Some((Some(at(1)), Some(at(2)))), "it has become public");
    assert_eq!(times("other"), Some((Some(at(2)), None)));

    store.replace_with(|present| running::with_created(present, &old, with(""), at(3)));
    let snapshot = store.snapshot();
    assert!(snapshot.namespace("relay.test").is_some_and(|namespace| namespace.entity("newcomer").is_none()));
}
