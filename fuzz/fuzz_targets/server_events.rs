//! Server-sent events as the SDK reads them from a relay, and a listener's labels as a relay reads them.
#![no_main]

use hybridrelay::fuzzing::server_events;
use hybridrelay::protocol::labels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = server_events(&[bytes]).unwrap();
    // Where the bytes are cut makes no difference.
    let (first, second) = bytes.split_at(bytes.first().map_or(0, |first| usize::from(*first) % (bytes.len() + 1)));
    assert_eq!(server_events(&[first, second]).unwrap(), whole);
    for (id, name, data) in whole {
        assert!(![id.unwrap_or_default(), name].concat().contains(['\n', '\r']) && !data.contains('\r'));
    }
    if let Some(labels) = std::str::from_utf8(bytes).ok().and_then(|text| labels::parse(text).ok()) {
        // What was written shorter than we write may be too long for us.
        if let Ok(written) = labels::write(&labels) {
            assert_eq!(labels::parse(&written), Ok(labels));
        }
    }
});
