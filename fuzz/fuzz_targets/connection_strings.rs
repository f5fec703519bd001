//! Connection strings, as users paste them: one that was read is written as the same one, and neither its picture nor an error shows
//! a secret.
#![no_main]

use hybridrelay::ConnectionString;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let shown = match text.parse::<ConnectionString>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_connection_string().parse::<ConnectionString>().unwrap(), parsed);
            assert!(parsed.address().is_ok());
            let _ = parsed.token_provider();
            format!("{parsed} {parsed:?}")
        }
        Err(error) => format!("{error} {error:?} {}", error.hint().unwrap_or_default()),
    };
    for piece in text.split(';') {
        let Some((key, value)) = piece.split_once('=') else { continue };
        let is_secret = ["SharedAccessKey", "SharedAccessSignature"].iter().any(|name| name.eq_ignore_ascii_case(key));
        // Short ones are part of anything, words are part of messages; one that stands elsewhere too, in whatever case, is shown for what
        // it is there.
        let is_telling = value.len() >= 12 && value.contains(|c: char| c.is_ascii_digit()) && !value.contains(' ');
        let stands_once = || text.to_ascii_lowercase().matches(&value.to_ascii_lowercase()).count() == 1;
        if is_secret && is_telling && stands_once() {
            assert!(!shown.contains(value));
        }
    }
});
