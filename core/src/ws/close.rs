//! What a Close frame says (RFC 6455 5.5.1, 7.4).

use super::{ControlPayload, FrameError};

/// The code and the reason in a Close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why, as a number.
    pub code: u16,
    /// Why, in words; may be empty.
    pub reason: String,
}

impl CloseFrame {
    /// The most bytes of a reason that fit beside the code.
    pub const MAX_REASON_LEN: usize = ControlPayload::MAX_LEN - 2;

    /// Reads a Close payload; `None` if it is empty.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(code) = parse_code(payload)? else { return Ok(None) };
        let reason = std::str::from_utf8(&payload[2..]).map_err(|_| FrameError::InvalidUtf8)?;
        Ok(Some(Self { code, reason: reason.to_owned() }))
    }

    /// The payload that says this. A reason that is too long is cut on a character border; a code that may not stand on
    /// the wire, such as 1005 for "none", gives the empty payload.
    pub fn encode(&self) -> ControlPayload {
        let mut payload = ControlPayload::EMPTY;
        if close_code_is_valid(self.code) {
            payload.push(&self.code.to_be_bytes());
            // Index 0 is always a border, so one is found.
            let longest = self.reason.len().min(Self::MAX_REASON_LEN);
            let end = (0..=longest).rev().find(|&end| self.reason.is_char_boundary(end)).unwrap_or(0);
            payload.push(&self.reason.as_bytes()[..end]);
        }
        payload
    }
}

impl ControlPayload {
    /// The code in a Close payload, its reason unchecked, as a relay needs it (protocol.md 10, decision 54); `None` if
    /// the payload is empty.
    pub fn close_code(&self) -> Result<Option<u16>, FrameError> {
        parse_code(self)
    }
}

/// Whether `code` may stand in a Close frame: what RFC 6455 7.4 and IANA assign, and the ranges of libraries and programs.
pub fn close_code_is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn parse_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some(code) = payload.first_chunk() else { return Err(FrameError::TruncatedCloseCode) };
    let code = u16::from_be_bytes(*code);
    if !close_code_is_valid(code) {
        return Err(FrameError::InvalidCloseCode(code));
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_reason_read_back() {
        let close = CloseFrame { code: 1001, reason: "grün".to_owned() };
        let payload = close.encode();
        assert_eq!(&*payload, b"\x03\xE9gr\xC3\xBCn");
        assert_eq!(CloseFrame::parse(&payload), Ok(Some(close)));
        assert_eq!(CloseFrame::parse(b""), Ok(None));
    }

    #[test]
    fn codes_that_may_not_stand_on_the_wire_are_refused_and_never_written() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!close_code_is_valid(code), "{code}");
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()), Err(FrameError::InvalidCloseCode(code)));
            assert_eq!(CloseFrame { code, reason: "why".to_owned() }.encode(), ControlPayload::EMPTY);
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert!(close_code_is_valid(code), "{code}");
        }
    }

    #[test]
    fn half_a_code_and_a_reason_that_is_not_utf8_are_refused() {
        assert_eq!(CloseFrame::parse(&[3]), Err(FrameError::TruncatedCloseCode));
        assert_eq!(CloseFrame::parse(b"\x03\xE8\xFF"), Err(FrameError::InvalidUtf8));
        assert_eq!(ControlPayload::new(b"\x03\xE8\xFF").unwrap().close_code(), Ok(Some(1000)));
    }

    #[test]
    fn a_long_reason_is_cut_on_a_character_border() {
        let reason = format!("x{}", "€".repeat(60));
        let payload = CloseFrame { code: 1000, reason: reason.clone() }.encode();
        let cut = CloseFrame::parse(&payload).unwrap().unwrap().reason;
        assert_eq!(cut.len(), 121);
        assert!(reason.starts_with(&cut));
    }
}
