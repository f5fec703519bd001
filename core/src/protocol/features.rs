//! What our ends agree on beyond the protocol (protocol.md 3.10).

use std::collections::BTreeSet;
use std::fmt;

/// A set of feature names. Absence means none, as with Azure Relay and the official clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<&'static str>);

impl Features {
    /// The relay tells a listener that the sender of a request has gone.
    pub const CANCEL: &'static str = "cancel";
    /// The relay tells a listener how many events it missed.
    pub const EVENTS: &'static str = "events";
    /// Header values may be arrays of strings.
    pub const HEADER_ARRAYS: &'static str = "header-arrays";
    /// Request targets arrive byte for byte (decision 24).
    pub const RAW_TARGET: &'static str = "raw-target";

    /// The relay tells who listens. Not agreed on, but named by the relay's own addresses (protocol.md 7.4).
    pub const PRESENCE: &'static str = "presence";
    /// The namespace tells which hybrid connections are online. As [`PRESENCE`](Self::PRESENCE) (protocol.md 7.5).
    pub const DISCOVERY: &'static str = "discovery";

    const KNOWN: [&'static str; 4] = [Self::CANCEL, Self::EVENTS, Self::HEADER_ARRAYS, Self::RAW_TARGET];

    /// No feature.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every feature that this version knows.
    pub fn known() -> Self {
        Self(Self::KNOWN.into_iter().collect())
    }

    /// Reads a comma-separated list; names that this version does not know are left out.
    pub fn parse(list: &str) -> Self {
        Self::from_names(list.split(','))
    }

    /// The known ones among these names.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = |name: &str| Self::KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()));
        Self(names.into_iter().filter_map(known).collect())
    }

    /// Whether the feature was agreed on.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What both sides know.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_left_out_and_order_does_not_matter() {
        let features = Features::parse("raw-target,  teleport, CANCEL");
        assert_eq!(features.to_string(), "cancel, raw-target");
        assert!(features.has(Features::RAW_TARGET) && !features.has(Features::HEADER_ARRAYS));
        assert_eq!(Features::parse(&features.to_string()), features);
    }

    #[test]
    fn both_sides_must_know_a_feature() {
        assert_eq!(Features::known().intersection(&Features::parse("cancel")), Features::parse("cancel"));
        assert!(Features::known().intersection(&Features::none()).is_empty());
    }
}
