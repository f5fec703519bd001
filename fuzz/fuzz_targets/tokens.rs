//! Shared access signatures and audiences, as anybody may send them: a token that was read is written as the same token, and an
//! audience covers the path it names.
#![no_main]

use hybridrelay::token::{Audience, SasToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = SasToken::parse(text) {
        assert_eq!(SasToken::parse(&token.to_text()), Ok(token.clone()));
        // Neither a time nor a rule that nobody has is a reason to fall over.
        let _ = (token.expires_at(), token.audience(), token.signature_matches("key"), format!("{token:?}"));
    }

    let _ = Audience::parse(text).covers(text);
    let is_plain_path = !text.contains(['?', '#']) && !text.trim_start_matches('/').to_lowercase().starts_with("$hc");
    if is_plain_path && !text.contains('%') {
        assert!(Audience::parse(&format!("http://host/{text}")).covers(text));
    }
});
