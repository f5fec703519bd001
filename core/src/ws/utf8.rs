//! Checking text that arrives in pieces.

use super::FrameError;

/// Validates UTF-8 across any split, and fails at the first byte after which the text can no longer become valid.
#[derive(Clone, Debug, Default)]
pub struct Utf8Validator {
    /// The beginning of a character whose end has not come: at most three bytes.
    partial: [u8; 4],
    len: usize,
}

impl Utf8Validator {
    /// A validator at the beginning of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next piece of the text.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let rest = self.complete_partial(bytes)?;
        let Err(error) = std::str::from_utf8(rest) else { return Ok(()) };
        // An error without a length is a character that the end of the piece cut; std knows it to be at most three bytes.
        if error.error_len().is_some() {
            return Err(FrameError::InvalidUtf8);
        }
        let cut = &rest[error.valid_up_to()..];
        self.partial[..cut.len()].copy_from_slice(cut);
        self.len = cut.len();
        Ok(())
    }

    /// Checks that the text does not end inside a character, and starts over.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        match std::mem::take(&mut self.len) {
            0 => Ok(()),
            _ => Err(FrameError::InvalidUtf8),
        }
    }

    /// Adds bytes to the cut character until it is whole; what is left of `bytes` stands on a character border.
    fn complete_partial<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], FrameError> {
        while self.len > 0 {
            let Some((&next, rest)) = bytes.split_first() else { break };
            bytes = rest;
            // A character has at most four bytes: a fourth one makes it whole or wrong, so the index stays below four.
            self.partial[self.len] = next;
            self.len += 1;
            match std::str::from_utf8(&self.partial[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(FrameError::InvalidUtf8),
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_bytes(text: &[u8]) -> Result<(), usize> {
        let mut validator = Utf8Validator::new();
        for (at, byte) in text.iter().enumerate() {
            validator.push(&[*byte]).map_err(|_| at)?;
        }
        validator.finish().map_err(|_| text.len())
    }

    #[test]
    fn text_that_cannot_become_valid_fails_at_once() {
        // Autobahn 6.3, 6.4 and the borders of RFC 3629, each with the index of the byte that decides.
        for (text, at) in [
            (&b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited"[..], 12),
            (b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited", 12),
            (b"\xF4\x90", 1),
            (b"\xE0\x80", 1),
            (b"\xF0\x80", 1),
            (b"\xED\xA0", 1),
            (b"\xC0", 0),
            (b"\xF5", 0),
            (b"\x80", 0),
            (b"\xFF", 0),
            (b"a\xC3", 2),
        ] {
            assert_eq!(by_bytes(text), Err(at), "{text:x?}");
        }
    }

    #[test]
    fn a_character_cut_at_the_end_of_the_text_is_an_error_and_the_next_text_starts_afresh() {
        let mut validator = Utf8Validator::new();
        validator.push("ü".as_bytes().split_at(1).0).unwrap();
        assert_eq!(validator.finish(), Err(FrameError::InvalidUtf8));
        validator.push(b"next").unwrap();
        assert_eq!(validator.finish(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_agrees_with_the_standard_library(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..64),
                (any::<String>(), any::<u8>(), any::<String>())
                    .prop_map(|(a, byte, b)| [a.as_bytes(), &[byte], b.as_bytes()].concat()),
            ],
            pieces in prop::collection::vec(1usize..9, 1..20),
        ) {
            let mut validator = Utf8Validator::new();
            let mut rest = &bytes[..];
            let mut verdict = Ok(());
            for size in pieces.iter().cycle() {
                if rest.is_empty() || verdict.is_err() {
                    break;
                }
                let (piece, behind) = rest.split_at((*size).min(rest.len()));
                verdict = validator.push(piece);
                rest = behind;
            }
            let verdict = verdict.and_then(|()| validator.finish());
            prop_assert_eq!(verdict.is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
