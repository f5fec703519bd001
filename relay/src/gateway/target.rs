//! What stands in `requestTarget` (protocol.md 5.7 and 10, decision 24).

use std::ops::Range;

/// Path and query for a listener. `path` has no slash in front; both are as the sender wrote them, without the relay's parameters.
///
/// `raw` leaves them so; otherwise the path is decoded as far as Azure's listeners expect it and nothing can be mistaken.
pub(crate) fn request_target(path: &str, query: Option<&str>, raw: bool) -> String {
    let mut target = String::with_capacity(1 + path.len() + query.map_or(0, |query| 1 + query.len()));
    target.push('/');
    if raw {
        target.push_str(path);
    } else {
        decode_into(path, &mut target);
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Whether a path holds an encoded NUL, at which programs of another language may cut it.
pub(super) fn holds_nul(path: &str) -> bool {
    path.contains("%00")
}

/// Decodes unreserved characters, spaces, and UTF-8 beyond ASCII; leaves reserved and control characters, `%` itself and what is no
/// UTF-8 as they are.
fn decode_into(path: &str, target: &mut String) {
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        target.push_str(&rest[..at]);
        let encoded = &rest[at..];
        let run: Vec<u8> = encoded.as_bytes().chunks(3).map_while(byte).collect();
        if run.is_empty() {
            target.push('%');
            rest = &encoded[1..];
            continue;
        }
        let mut done = 0;
        while done < run.len() {
            let (decoded, len) = first(&run[done..]);
            match decoded {
                Some(character) => target.push(character),
                None => target.push_str(&encoded[text_of(done..done + len)]),
            }
            done += len;
        }
        rest = &encoded[text_of(0..done).end..];
    }
    target.push_str(rest);
}

/// The bytes of a run as they stand in the text.
fn text_of(bytes: Range<usize>) -> Range<usize> {
    bytes.start * 3..bytes.end * 3
}

/// `%XX` as a byte.
fn byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low] = text else { return None };
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The first character of some bytes if it is to be decoded, and how many bytes it or what stands instead of it takes.
fn first(bytes: &[u8]) -> (Option<char>, usize) {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let Some(character) = valid.chars().next() else { return (None, 1) };
    let plain = character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~' | ' ');
    let decoded = plain || !character.is_ascii() && !character.is_control();
    (decoded.then_some(character), character.len_utf8())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_decoded_as_far_as_nothing_can_be_mistaken() {
        for (path, compat) in [
            ("hyco/extra%20Path", "/hyco/extra Path"),
            ("hyco/%41%7e%2E%2d%5F", "/hyco/A~.-_"),
            ("hyco/%2F%5c%3F%23%25", "/hyco/%2F%5c%3F%23%25"),
            ("hyco/%26%3D%3A%40%21", "/hyco/%26%3D%3A%40%21"),
            ("hyco/%0D%0a%09%7F", "/hyco/%0D%0a%09%7F"),
            ("hyco/gr%C3%BCn/%F0%9F%8C%8D", "/hyco/grün/🌍"),
            ("hyco/%FF%C3%28%C3", "/hyco/%FF%C3%28%C3"),
            ("hyco/%C3%A9%FF%41", "/hyco/é%FFA"),
            ("hyco/%C2%85", "/hyco/%C2%85"),
            ("hyco/%/%4/%zz/%%41", "/hyco/%/%4/%zz/%A"),
            ("hyco/%2541", "/hyco/%2541"),
            ("", "/"),
        ] {
            assert_eq!(request_target(path, None, false), compat, "{path}");
            assert_eq!(request_target(path, None, true), format!("/{path}"));
        }
    }

    #[test]
    fn a_query_is_never_touched() {
        assert_eq!(request_target("a%41", Some("x=%41&&"), false), "/aA?x=%41&&");
        assert_eq!(request_target("a", Some(""), true), "/a?");
    }

    proptest! {
        #[test]
        fn nothing_a_sender_writes_panics_or_puts_control_characters_in(path in "[%0-9a-fA-F/é~ ]{0,60}") {
            prop_assert!(!request_target(&path, None, false).chars().any(char::is_control));
        }
    }
}
