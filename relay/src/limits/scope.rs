//! Who is counted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::directory::{EntityKey, KeyIdentity, ListenerId};

/// One whose use is counted. Cheap to clone: each request is counted for several, several times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Relay,
    Namespace(Arc<str>),
    Entity(EntityKey),
    Listener(ListenerId),
    Key(RuleKey),
    Address(AddressBlock),
    /// An address, as far as it wants to listen on one hybrid connection.
    AddressAt(AddressBlock, EntityKey),
}

/// A rule of a namespace, or of one hybrid connection. Its two keys count as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleKey {
    namespace: Arc<str>,
    entity: Option<EntityKey>,
    rule: Arc<str>,
}

/// An address as limits see it: of IPv6 a /64, since a host may choose any address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressBlock(IpAddr);

impl AddressBlock {
    /// Its bytes.
    pub(crate) fn octets(self) -> Vec<u8> {
        match self.0 {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }
}

/// Whom a listener or a relayed connection is charged to.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) entity: EntityKey,
    /// The rule that let it in; `None` if no token was needed.
    rule: Option<RuleKey>,
    /// Where it comes from; `None` behind a proxy that does not say.
    pub(crate) address: Option<AddressBlock>,
}

impl Account {
    pub(crate) fn new(entity: EntityKey, key: Option<&KeyIdentity>, address: Option<AddressBlock>) -> Self {
        let rule = key.map(|key| RuleKey {
            namespace: entity.shared_namespace(),
            entity: key.entity_rule.then(|| entity.clone()),
            rule: key.rule.to_ascii_lowercase().into(),
        });
        Self { entity, rule, address }
    }

    /// Everybody who is charged.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        [Scope::Namespace(self.entity.shared_namespace()), Scope::Entity(self.entity.clone())]
            .into_iter()
            .chain(self.rule.clone().map(Scope::Key))
            .chain(self.address.map(Scope::Address))
    }
}

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 => v4,
        })
    }
}

/// In the words of a refusal.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relay => "relay",
            Self::Namespace(_) => "namespace",
            Self::Entity(_) => "hybrid connection",
            Self::Listener(_) => "listener",
            Self::Key(_) => "key",
            Self::Address(_) | Self::AddressAt(..) => "address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str) -> AddressBlock {
        AddressBlock::from(address.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn addresses_of_one_64_are_one_and_a_mapped_address_is_the_ipv4_address() {
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::7"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }

    #[test]
    fn rules_of_one_name_are_one_key_only_where_they_are_one_rule() {
        let key = |entity_rule, path: &str, secondary| {
            let identity = KeyIdentity { entity_rule, rule: "Send".to_owned(), secondary };
            let account = Account::new(EntityKey::new("ns", path), Some(&identity), None);
            account.scopes().find(|scope| matches!(scope, Scope::Key(_)))
        };
        assert_eq!(key(false, "a", false), key(false, "b", true));
        assert_ne!(key(true, "a", false), key(true, "b", false));
        assert_ne!(key(true, "a", false), key(false, "a", false));
    }
}
