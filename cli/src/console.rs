//! What a command says on standard error beside its logs.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// Standard error, for a person or, with `--json`, for a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Tells that something happened: `text` to a person, `fields` and the event's name to a program.
    pub(crate) fn event(self, name: &str, fields: Value, text: &str) {
        if self.json { write_json(&Event { event: name, fields }) } else { write_line(text) }
    }

    /// Tells what only a program asked for.
    pub(crate) fn quiet_event(self, name: &str, fields: Value) {
        if self.json {
            self.event(name, fields, "");
        }
    }

    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            write_json(&Event { event: "error", fields: failure.to_json() });
        } else {
            write_line(&failure.to_text());
        }
    }
}

/// One line for a program; the event's name comes first.
#[derive(Serialize)]
struct Event<'a> {
    event: &'a str,
    #[serde(flatten)]
    fields: Value,
}

/// Whether colours and other decorations are welcome on standard error.
pub(crate) fn decorated() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn write_json(event: &Event<'_>) {
    write_line(&serde_json::to_string(event).expect("an object with text for keys always serialises"));
}

fn write_line(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// This program as the person called it, for commands to paste.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next();
    quote(&called.map_or("hybridrelay".into(), |name| name.to_string_lossy().into_owned()))
}

/// Quotes a word for a POSIX shell, if it needs that.
pub(crate) fn quote(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+=:@%,".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, quoted) in [("/a/b-c.pem", "/a/b-c.pem"), ("a;b", "'a;b'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(quote(word), quoted);
        }
    }
}
