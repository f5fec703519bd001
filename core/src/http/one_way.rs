//! What became of a one-way request (protocol.md 5.10).

use http::{HeaderMap, StatusCode, header};

use crate::protocol::headers::{ONE_WAY, RELAY_DELIVERED, RELAY_DELIVERY, TRACKING_ID};

/// A one-way request that was handed over: see [`Sender::send_one_way`](crate::Sender::send_one_way).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneWay {
    tracking_id: String,
    listeners: u64,
}

impl OneWay {
    /// The id under which the relay's logs and the listener know the request.
    pub fn tracking_id(&self) -> &str {
        &self.tracking_id
    }

    /// How many listeners have it: 1, or at a hybrid connection for events as many as were online.
    pub fn listeners(&self) -> u64 {
        self.listeners
    }

    /// Reads the relay's answer; `None` if it is no answer to a one-way request: such a relay knows none, and has passed the request on
    /// as an ordinary one.
    pub(super) fn read(status: StatusCode, fields: &HeaderMap) -> Option<Self> {
        let is_ours = status == StatusCode::ACCEPTED && is_one_way(fields) && !fields.contains_key(header::VIA);
        let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
        is_ours.then(|| Self {
            tracking_id: text(TRACKING_ID).unwrap_or_default().to_owned(),
            listeners: text(RELAY_DELIVERED).and_then(|count| count.parse().ok()).unwrap_or(1),
        })
    }
}

/// Whether headers mark a one-way request, or the answer to it.
pub(super) fn is_one_way(fields: &HeaderMap) -> bool {
    fields.get(RELAY_DELIVERY).is_some_and(|value| value == ONE_WAY)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(status: u16, lines: &[(&'static str, &'static str)]) -> Option<(String, u64)> {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let read = OneWay::read(StatusCode::from_u16(status).unwrap(), &lines.iter().map(line).collect());
        read.map(|one_way| (one_way.tracking_id().to_owned(), one_way.listeners()))
    }

    #[test]
    fn only_the_marked_answer_of_our_relay_says_that_a_request_was_handed_over() {
        const MARK: (&str, &str) = ("relay-delivery", "one-way");
        const ID: (&str, &str) = ("trackingid", "7_G0");
        assert_eq!(read(202, &[MARK, ID]), Some(("7_G0".to_owned(), 1)));
        assert_eq!(read(202, &[MARK, ID, ("relay-delivered", "12")]), Some(("7_G0".to_owned(), 12)));
        assert_eq!(read(202, &[MARK, ID, ("relay-delivered", "0")]), Some(("7_G0".to_owned(), 0)));
        // A listener's, even if it sends the mark back.
        assert_eq!(read(202, &[MARK, ID, ("via", "1.1 relay")]), None);
        assert_eq!(read(202, &[ID]), None);
        assert_eq!(read(200, &[MARK, ID]), None);
    }
}
