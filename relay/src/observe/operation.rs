//! The names of what happens.

use std::fmt;

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What happened, by the names of Azure's diagnostic log (protocol.md 7.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[doc = $doc])+ $name),+
        }

        impl Operation {
            /// The name as it stands in the log, in the field `operation`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

operations! {
    /// A token was missing or was refused.
    InvalidSasToken,
    /// A valid token does not give the right.
    AuthorizationFailed,
    /// A listener is online.
    NewListenerRegistered,
    /// A listener is not online any more.
    ListenerUnregistered,
    /// A listener gave no sign of life and was cut off.
    ListenerUnresponsive,
    /// A listener's token has expired, and so it was closed.
    ListenerClosingFromExpiredToken,
    /// A listener renewed its token. Not a name of Azure's.
    TokenRenewed,
    /// A sender was let in and looks for a listener.
    NewSenderRegistering,
    /// A listener was told of a sender.
    MessageSentToListener,
    /// A listener dialled to accept a sender.
    ListenerAcceptingConnection,
    /// No listener dialled in time.
    ListenerAcceptingConnectionTimeout,
    /// A listener refused a sender.
    ListenerRejectedConnection,
    /// Sender and listener are joined.
    SenderListenerConnectionEstablished,
    /// A relayed connection has ended.
    SenderConnectionClosed,
    /// A sender's HTTP request was let in and looks for a listener.
    SenderSentHttpRequest,
    /// A relayed HTTP request has ended with its whole response.
    ListenerReturningHttpResponse,
    /// A relayed HTTP request has ended before the end of its response.
    ListenerReturningHttpResponseFailed,
    /// Anything else was refused.
    ProcessingRequestFailed,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
