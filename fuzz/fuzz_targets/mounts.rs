//! Targets as a listener gets them from any relay: taken apart behind the hybrid connection's name without losing a byte.
#![no_main]

use hybridrelay::fuzzing::mount_and_target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for entity in ["hyco", "a/hyco"] {
        let entity = entity.parse().unwrap();
        let (mount, path, query, uri) = mount_and_target(text, &entity);
        assert!(path.is_empty() || path.starts_with('/'));
        assert!(mount.is_empty() || mount.starts_with('/'));
        assert_eq!(query.is_some(), text.contains('?'));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/%-._~!$&'()*+,;=:@?".contains(&byte);
        if text.starts_with('/') && text.bytes().all(plain) {
            // Nothing had to be encoded: put together again it is what came.
            let again = format!("{mount}{path}{}", query.as_ref().map_or(String::new(), |query| format!("?{query}")));
            assert_eq!(again, text);
        }
        if let Some(uri) = uri {
            assert!(uri.authority().is_none() && uri.scheme().is_none());
            assert_eq!(uri.path(), if path.is_empty() { "/" } else { &path });
            assert_eq!(uri.query(), query.as_deref());
        }
    }
});
