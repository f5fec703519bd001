//! What this program does wrong on purpose, so that it can be shown that somebody notices.

use hybridrelay::Message;

/// Names what is done wrong: `byte` or `code`.
const VARIABLE: &str = "HYBRIDRELAY_TESTEE_BREAKS";

fn breaks(what: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|chosen| chosen == what)
}

/// The message to send: with another last byte than it should have.
pub(crate) fn of_message(message: Message) -> Message {
    match message {
        Message::Binary(data) if breaks("byte") && !data.is_empty() => {
            let mut data = data.to_vec();
            if let Some(last) = data.last_mut() {
                *last ^= 1;
            }
            data.into()
        }
        other => other,
    }
}

/// The code to report.
pub(crate) fn of_code(code: u32) -> u32 {
    if breaks("code") { code + 1 } else { code }
}
