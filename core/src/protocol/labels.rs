//! Labels: what a listener says of itself to those who look for it (protocol.md 10, decision 72).

use std::collections::BTreeMap;

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::uri::VALUE;

/// The longest value of the header.
const LONGEST: usize = 1024;

/// Labels that cannot be sent, or were sent and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// More than the header may hold.
    #[error("the labels take more than 1 KiB")]
    TooLong,
    /// A label without a key.
    #[error("a label has no key")]
    NoKey,
    /// What is no list of labels.
    #[error("the labels are not written as key=value, separated by commas")]
    Malformed,
}

/// The header's value: `key=value` for each, percent-encoded, separated by commas.
///
/// # Errors
///
/// A label without a key, or more than 1 KiB of all.
pub fn write(labels: &BTreeMap<String, String>) -> Result<String, LabelError> {
    if labels.contains_key("") {
        return Err(LabelError::NoKey);
    }
    let encode = |text| utf8_percent_encode(text, VALUE);
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    let list = pairs.join(",");
    if list.len() > LONGEST { Err(LabelError::TooLong) } else { Ok(list) }
}

/// Reads the header's value. Of a key that stands twice the last value counts.
///
/// # Errors
///
/// What is longer than 1 KiB, or not written as [`write()`] does.
pub fn parse(list: &str) -> Result<BTreeMap<String, String>, LabelError> {
    if list.len() > LONGEST {
        return Err(LabelError::TooLong);
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    let mut labels = BTreeMap::new();
    for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(LabelError::Malformed)?;
        if key.is_empty() {
            return Err(LabelError::NoKey);
        }
        let (key, value) = (decode(key), decode(value));
        labels.insert(key.map_err(|_| LabelError::Malformed)?, value.map_err(|_| LabelError::Malformed)?);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_are_written_one_behind_the_other() {
        let two = labels(&[("zone", "eu, north"), ("größe", "=")]);
        assert_eq!(write(&two).as_deref(), Ok("gr%C3%B6%C3%9Fe=%3D,zone=eu%2C%20north"));
        assert_eq!(parse(" zone=eu%2C%20north , größe=%3D,"), Ok(two));
        assert_eq!(write(&BTreeMap::new()).as_deref(), Ok(""));
        assert_eq!(parse("a=1,a=2"), Ok(labels(&[("a", "2")])));
    }

    #[test]
    fn what_cannot_be_sent_or_read_is_refused() {
        assert_eq!(write(&labels(&[("", "x")])), Err(LabelError::NoKey));
        assert_eq!(write(&labels(&[("a", &"x".repeat(1023))])), Err(LabelError::TooLong));
        assert!(write(&labels(&[("a", &"x".repeat(1022))])).is_ok());
        assert_eq!(parse(&"a".repeat(1025)), Err(LabelError::TooLong));
        assert_eq!(parse("a"), Err(LabelError::Malformed));
        assert_eq!(parse("a=%FF"), Err(LabelError::Malformed));
        assert_eq!(parse("=a"), Err(LabelError::NoKey));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(labels in proptest::collection::btree_map(".{1,5}", ".{0,5}", 0..5)) {
            if let Ok(text) = write(&labels) {
                prop_assert_eq!(parse(&text), Ok(labels));
            }
        }

        #[test]
        fn nothing_that_is_read_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
