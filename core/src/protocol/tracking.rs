//! Tracking ids (protocol.md 3.9).

use std::fmt;

/// The length of a GUID in text.
const GUID_LEN: usize = 36;

/// `<guid>` or `<guid>_G<n>`: the id under which an attempt is known at every hop.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackingId {
    guid: String,
    gateway: bool,
}

impl TrackingId {
    /// A random id (GUID version 4) from 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0F) | 0x40;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 0x0F)]);
        let mut guid = String::with_capacity(GUID_LEN);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                guid.push('-');
            }
            guid.extend([digit(byte >> 4), digit(*byte)]);
        }
        Self { guid, gateway: false }
    }

    /// Takes over an id that a peer chose, if it begins with a GUID; suffixes are cut off (protocol.md 10, decision 13).
    pub fn adopt(text: &str) -> Option<Self> {
        let guid = text.get(..GUID_LEN)?;
        let well_formed = guid.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        let ends = text.len() == GUID_LEN || text.as_bytes()[GUID_LEN] == b'_';
        (well_formed && ends).then(|| Self { guid: guid.to_owned(), gateway: false })
    }

    /// The same id with the suffix of this hop, `_G0`, once.
    pub fn with_gateway(mut self) -> Self {
        self.gateway = true;
        self
    }

    /// The GUID alone.
    pub fn activity(&self) -> &str {
        &self.guid
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.guid)?;
        if self.gateway { f.write_str("_G0") } else { Ok(()) }
    }
}

impl fmt::Debug for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_is_a_version_4_guid() {
        assert_eq!(TrackingId::from_random([0xFF; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn suffixes_are_cut_and_ours_is_added_once() {
        let id = TrackingId::adopt("ca496b91-f5a3-4761-8eda-9a66dd9a2558_G17_G30").unwrap();
        assert_eq!(id.activity(), "ca496b91-f5a3-4761-8eda-9a66dd9a2558");
        assert_eq!(id.with_gateway().with_gateway().to_string(), "ca496b91-f5a3-4761-8eda-9a66dd9a2558_G0");
    }

    #[test]
    fn what_does_not_begin_with_a_guid_is_not_adopted() {
        for text in [
            "",
            "demo",
            "ca496b91-f5a3-4761-8eda-9a66dd9a255",
            "ca496b91-f5a3-4761-8eda-9a66dd9a2558x",
            "ca496b91_f5a3-4761-8eda-9a66dd9a2558",
            "ü".repeat(40).as_str(),
        ] {
            assert_eq!(TrackingId::adopt(text), None, "{text}");
        }
    }
}
