//! Header fields at the gateway, and targets at both ends: whatever a sender or a listener writes, nothing of one connection gets to the
//! next, nothing is made up, and paths pass byte for byte.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use hybridrelay::protocol::control::{FromListener, FromRelay};
use hybridrelay::protocol::headers::without_hop_by_hop;
use hybridrelay_relay::fuzzing::{request_target, to_listener, to_sender};
use libfuzzer_sys::fuzz_target;

/// What must never pass, either way.
const NEVER: [&str; 8] =
    ["connection", "te", "trailer", "transfer-encoding", "upgrade", "keep-alive", "close", "proxy-authorization"];

fuzz_target!(|input: &[u8]| {
    let fields = read(input);
    for used_authorization in [false, true] {
        let sent = to_listener(&fields, used_authorization, Version::HTTP_11, "relay.example.net");
        // Values with control characters other than a tab do not travel as text.
        check(&fields, &sent, |value| hybridrelay::protocol::headers::text(value).is_some());
        assert!(!sent.contains_key("content-length") && !sent.contains_key("servicebusauthorization"));
        assert!(!used_authorization || !sent.contains_key("authorization"));
        // The listener filters once more, and what reaches a program is the same.
        assert_eq!(without_hop_by_hop(&sent), sent);
    }
    for length in [false, true] {
        let given = to_sender(fields.clone(), length, "relay.example.net");
        check(&fields, &given, |_| true);
        match given.get("content-length") {
            Some(value) => assert!(length && value.to_str().unwrap().parse::<u64>().is_ok()),
            None => assert!(!length || !fields.get_all("content-length").iter().any(is_length)),
        }
        // Cookies are told apart once: each is then one.
        let again = to_sender(given.clone(), length, "relay.example.net");
        let cookies = |fields: &HeaderMap| fields.get_all("set-cookie").iter().cloned().collect::<Vec<_>>();
        assert_eq!(cookies(&again), cookies(&given));
    }

    // A response as a listener writes it, on its way to the sender.
    if let Ok(FromListener::Response(response)) = FromListener::parse(input) {
        let given = to_sender(response.response_headers.clone(), false, "relay.example.net");
        check(&response.response_headers, &given, |_| true);
    }
    // A request as a relay writes it.
    if let Ok(FromRelay::Request(request)) = FromRelay::parse(input) {
        let kept = without_hop_by_hop(&request.request_headers);
        assert!(NEVER[..7].iter().all(|name| !kept.contains_key(*name)));
    }

    if let Ok(text) = std::str::from_utf8(input) {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let target = request_target(path, query, true);
        assert_eq!(target.strip_prefix('/'), Some(text));
        let decoded = request_target(path, query, false);
        // Only what is text in every language is decoded: no control characters, no borders of segments, no beginning of a query.
        for border in ['/', '?', '#', '\r', '\n', '\0', '\\'] {
            let in_path =
                |target: &str| target.split_once('?').map_or(target, |(path, _)| path).matches(border).count();
            assert_eq!(in_path(&decoded), in_path(&target));
        }
    }
});

/// Lines of `name: value`, as far as they are headers.
fn read(input: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(1000) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

fn check(before: &HeaderMap, after: &HeaderMap, travels: impl Fn(&HeaderValue) -> bool) {
    assert!(NEVER.iter().all(|name| !after.contains_key(*name)));
    let vias =
        if is_named(before, "via") { 0 } else { before.get_all("via").iter().filter(|via| travels(via)).count() };
    assert_eq!(after.get_all("via").iter().count(), vias + 1);
    for (name, value) in after {
        let of_ours = name == "via" || name == "set-cookie" || name == "content-length";
        assert!(of_ours || before.get_all(name).iter().any(|known| known == value), "{name} is made up");
    }
}

/// Whether `Connection` takes a header for its own.
fn is_named(fields: &HeaderMap, header: &str) -> bool {
    let lists = fields.get_all("connection").iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|name| name.trim().eq_ignore_ascii_case(header))
}

fn is_length(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.trim().parse::<u64>().is_ok())
}
