//! The relay inside of a program, for its tests.

use hybridrelay_relay::{Discoverable, Distribution, LocalRelay, Visibility};

use crate::errors::Result;

/// What a hybrid connection is beyond one for senders with a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Every listener gets everything.
    pub events: bool,
    /// Senders need no token.
    pub anonymous: bool,
    /// It is among the endpoints of everybody while somebody listens.
    pub discoverable: bool,
}

/// Makes a hybrid connection, or makes it anew.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no name of one.
pub fn add(relay: &LocalRelay, entity: &str, kind: Kind) -> Result<()> {
    relay.add(entity.parse()?, |mut entity| {
        if kind.events {
            entity = entity.with_distribution(Distribution::All(Default::default()));
        }
        if kind.anonymous {
            entity = entity.anonymous();
        }
        if kind.discoverable {
            entity = entity.discoverable(Discoverable::new(Visibility::Public));
        }
        entity
    });
    Ok(())
}
