//! Answers other than 101, as any server may send them: whatever reason and body say, an error for people comes out, and a reason
//! phrase for the next hop.
//!
//! The first two bytes of the input are the status; the rest up to a zero byte is the reason phrase, what follows it the body.
#![no_main]

use std::time::SystemTime;

use http::HeaderMap;
use hybridrelay::protocol::refusal::{Answer, classify, reason_phrase};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [high, low, rest @ ..] = data else { return };
    let status = u16::from_be_bytes([*high, *low]);
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let reason = String::from_utf8_lossy(&rest[..end]);
    let body = rest.get(end + 1..).unwrap_or_default();

    let mut headers = HeaderMap::new();
    for name in ["trackingid", "retry-after"] {
        if let Ok(value) = reason.parse() {
            headers.insert(name, value);
        }
    }
    let error = classify(&Answer { what: "cannot connect", status, reason: &reason, headers: &headers, body });
    assert_eq!(error.status(), Some(status));
    let shown = error.reason().unwrap_or_default();
    assert!(is_phrase(shown), "{shown:?}");

    let phrase = reason_phrase(&reason, "id_G0", "sb://host/hyco", SystemTime::UNIX_EPOCH);
    assert!(is_phrase(&phrase), "{phrase:?}");
    assert!(phrase.ends_with("Timestamp:1970-01-01T00:00:00"), "{phrase:?}");
});

fn is_phrase(text: &str) -> bool {
    text.len() <= 512 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
