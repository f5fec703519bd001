//! Why something is refused, in words that never change.

macro_rules! reasons {
    ($($name:ident $word:literal $meaning:literal,)+) => {
        /// A cause of refusals: what metrics count by, and what the log and events tell.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $(#[doc = $meaning] $name,)+
            /// A limit of the configuration, by its name.
            Limit(&'static str),
        }

        impl Reason {
            /// All but the limits.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            /// The word.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                    Self::Limit(name) => name,
                }
            }

            #[cfg(test)]
            pub(crate) fn describe(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                    Self::Limit(_) => "a limit of the configuration",
                }
            }
        }
    };
}

reasons! {
    BadRequest "bad_request" "the request is not as the protocol wants it",
    UpgradeRequired "upgrade_required" "the WebSocket version is another than 13",
    HandshakeTimeout "handshake_timeout" "a socket waited too long for its turn, or its TLS handshake and first request took too long; closed unanswered",
    MissingToken "missing_token" "no token where one is needed",
    MalformedToken "malformed_token" "a token that cannot be read",
    InvalidSignature "invalid_signature" "a token that no key of the rule signed, or of an unknown rule",
    ExpiredToken "expired_token" "a token whose time is over",
    TokenLife "token_life" "a token that lives longer than `max_token_life` allows",
    InvalidAudience "invalid_audience" "a token for something else",
    MissingRight "missing_right" "a valid token that does not give the right",
    EndpointNotFound "endpoint_not_found" "there is no such hybrid connection",
    NoListeners "no_listeners" "nobody listens on the hybrid connection",
    NoAllowedListener "no_allowed_listener" "the sender's choice leaves no listener",
    NotAccepted "not_accepted" "no listener dialled in time",
    ListenerBusy "listener_busy" "the listener's queue stayed full",
    BadTicket "bad_ticket" "a rendezvous address that is not valid, or not any more",
    BadRejection "bad_rejection" "a listener rejected a sender with a status that is none",
    ShuttingDown "shutting_down" "the relay is about to end",
    BodyTooLarge "body_too_large" "a request body above what the hybrid connection takes",
    SlowSender "slow_sender" "a request body that did not go on in time",
    NoResponse "no_response" "the listener did not answer a request in time",
    ListenerGone "listener_gone" "the listener has gone with a request that it was given",
    Instructed "instructed" "a test has ordered it; never outside of a relay that is embedded in one",
    BadResponse "bad_response" "the listener's response is not as the protocol wants it",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_clients_read_are_ours() {
        for (word, _) in hybridrelay::protocol::refusal::REASONS {
            assert!(Reason::ALL.iter().any(|reason| reason.as_str() == word), "{word}");
        }
    }
}
