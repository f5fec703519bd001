//! Server-sent events, as HTML describes them for `EventSource`.

use std::mem;

use crate::{Error, ErrorKind, Result};

/// The longest event: a namespace may have thousands of endpoints.
const LONGEST: usize = 16 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The id of this event or, if it has none, of the one before.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Takes bytes as they come apart into events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// A carriage return ended the last line: a line feed behind it is part of the same end.
    after_return: bool,
    begun: bool,
    last_id: Option<String>,
    name: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Reads on, up to the end of the next event; what was read is taken from `bytes`. `None` if all was read and more is needed.
    ///
    /// # Errors
    ///
    /// `MessageTooLarge` for an event that does not end.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            let follows_return = mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\r' | b'\n' => {
                    if let Some(event) = self.end_of_line() {
                        return Ok(Some(event));
                    }
                }
                byte => {
                    self.line.push(*byte);
                    if self.line.len() + self.data.len() > LONGEST {
                        return Err(Error::new(
                            ErrorKind::MessageTooLarge,
                            "the relay sends an event of more than 16 MiB",
                        ));
                    }
                }
            }
        }
        Ok(None)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&mem::take(&mut self.line)).into_owned();
        let line =
            if mem::replace(&mut self.begun, true) { &line } else { line.strip_prefix('\u{FEFF}').unwrap_or(&line) };
        if line.is_empty() {
            let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
            let is_event = mem::take(&mut self.has_data);
            return is_event.then(|| Event { id: self.last_id.clone(), name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            // Comments, and what is not known.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(event) = parser.next(&mut piece).unwrap() {
                events.push(event);
            }
        }
        events
    }

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_whatever_ends_their_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let text =
                "\u{FEFF}: hello|id: 1|event: a|data: x|data:  y|retry: 5||data||: no event||event: b||id|data:z||"
                    .replace('|', end);
            let expected = [event(Some("1"), "a", "x\n y"), event(Some("1"), "", ""), event(Some(""), "", "z")];
            assert_eq!(events(&[text.as_bytes()]), expected, "{end:?}");
        }
    }

    #[test]
    fn what_has_not_ended_is_no_event() {
        assert_eq!(events(&[b"data: x\n"]), []);
        assert_eq!(events(&[b"data: x\r\n", b"\r\n"]), [event(None, "", "x")]);
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let error = (0..17).find_map(|_| parser.next(&mut &piece[..]).err()).expect("it is too long");
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(text in "((id|event|data|x)?(: ?[a-c]{0,3})?(\r\n|\n|\r)){0,12}", cut: prop::sample::Index) {
            let cut = cut.index(text.len() + 1);
            let (first, second) = text.as_bytes().split_at(cut);
            prop_assert_eq!(events(&[first, second]), events(&[text.as_bytes()]));
        }

        #[test]
        fn nothing_that_comes_panics(bytes: Vec<u8>) {
            let _ = events(&[&bytes]);
        }
    }
}
