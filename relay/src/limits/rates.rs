//! How many in a time: one table of buckets by what is counted and who is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::{Account, AddressBlock, Scope};
use crate::config::{Limits, LiveConfig};
use crate::directory::EntityKey;
use crate::node::lock;

/// The fewest bytes that a direction is granted: fewer would cost more than they are worth.
const LEAST_BYTES: u64 = 1024;

/// How many buckets there are before those at rest are looked for.
const TIDY_FROM: usize = 1024;

/// How long nothing is looked for after that.
const TIDY_PAUSE: Duration = Duration::from_secs(1);

/// The most addresses whose failures are remembered. Whoever commands more is not stopped by a limit per address.
const MOST_BUCKETS: usize = 64 * 1024;

/// The rates of one relay.
pub(crate) struct Rates {
    config: LiveConfig,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    buckets: BTreeMap<(Rate, Scope), Arc<Bucket>>,
    tidy_at: usize,
    tidied: Option<Instant>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rate {
    Bytes,
    Connections,
    FailedAuthorizations,
    RefusedListens,
}

/// A rate that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// The name of the limit in the configuration.
    pub(crate) limit: &'static str,
    pub(crate) text: String,
    pub(crate) retry_after: Duration,
}

impl Rates {
    pub(crate) fn new(config: LiveConfig) -> Self {
        Self { config, table: Mutex::default() }
    }

    /// Counts a new relayed connection, unless it is one too many for somebody who is charged.
    pub(crate) fn connect(&self, account: &Account, now: Instant) -> Result<(), TooFast> {
        let mut taken: Vec<Arc<Bucket>> = Vec::new();
        for scope in account.scopes() {
            let Some((limit, rate)) = most(&self.config.current().limits, Rate::Connections, &scope) else { continue };
            let text = || format!("The {scope} opens connections faster than it may");
            let Some(bucket) = self.bucket(Rate::Connections, &scope, rate, now) else { continue };
            match bucket.take(now) {
                Ok(()) => taken.push(bucket),
                Err(ready) => {
                    for bucket in taken {
                        bucket.give_back(1);
                    }
                    return Err(TooFast { limit, text: text(), retry_after: ready.saturating_duration_since(now) });
                }
            }
        }
        Ok(())
    }

    /// What holds the bytes of a relayed connection to the rates of everybody who is charged.
    pub(crate) fn throttle(&self, account: &Account, now: Instant) -> Throttle {
        let buckets = account.scopes().filter_map(|scope| {
            let (_, rate) = most(&self.config.current().limits, Rate::Bytes, &scope)?;
            self.bucket(Rate::Bytes, &scope, rate, now)
        });
        let buckets: Vec<_> = buckets.collect();
        // The empty one is shared by all.
        if buckets.is_empty() { Throttle::default() } else { Throttle(buckets.into()) }
    }

    /// Whether tokens from an address are looked at now.
    pub(crate) fn may_try(&self, address: AddressBlock, now: Instant) -> Result<(), TooFast> {
        let known = lock(&self.table).buckets.get(&(Rate::FailedAuthorizations, Scope::Address(address))).cloned();
        let Some(ready) = known.and_then(|bucket| bucket.empty_until(now)) else { return Ok(()) };
        Err(TooFast {
            limit: FAILED_AUTHORIZATIONS,
            text: "Too many tokens from this address were refused".to_owned(),
            retry_after: ready.saturating_duration_since(now),
        })
    }

    /// Counts a refused token.
    pub(crate) fn failed(&self, address: AddressBlock, now: Instant) {
        let scope = Scope::Address(address);
        if let Some((_, rate)) = most(&self.config.current().limits, Rate::FailedAuthorizations, &scope)
            && let Some(bucket) = self.bucket(Rate::FailedAuthorizations, &scope, rate, now)
        {
            // Empty is as empty as it gets.
            let _ = bucket.take(now);
        }
    }

    /// Counts a listener that is refused, and says when it is to be told.
    pub(crate) fn refused_listen(&self, address: AddressBlock, entity: &EntityKey, now: Instant) -> Instant {
        let scope = Scope::AddressAt(address, entity.clone());
        let most = most(&self.config.current().limits, Rate::RefusedListens, &scope);
        let bucket = most.and_then(|(_, rate)| self.bucket(Rate::RefusedListens, &scope, rate, now));
        bucket.map_or(now, |bucket| bucket.promise(now, 1, 1).1)
    }

    fn bucket(&self, rate: Rate, scope: &Scope, tokens: u64, now: Instant) -> Option<Arc<Bucket>> {
        let mut table = lock(&self.table);
        let known = table.buckets.get(&(rate, scope.clone()));
        // Whoever has one of another rate keeps it: the limit was changed.
        let outdated = known.is_some_and(|bucket| !bucket.has_rate(tokens));
        if let Some(bucket) = known.filter(|_| !outdated) {
            return Some(bucket.clone());
        }
        table.tidy(now);
        if table.buckets.len() >= MOST_BUCKETS && !outdated {
            return None;
        }
        let per = match rate {
            Rate::Bytes | Rate::Connections => Duration::from_secs(1),
            Rate::FailedAuthorizations | Rate::RefusedListens => Duration::from_secs(60),
        };
        let bucket = Arc::new(Bucket::new(tokens, per, now));
        table.buckets.insert((rate, scope.clone()), bucket.clone());
        Some(bucket)
    }
}

impl Table {
    /// Forgets buckets that nobody uses and that a new one would equal, when there are twice as many as the last time.
    fn tidy(&mut self, now: Instant) {
        let many = self.buckets.len() >= self.tidy_at.clamp(TIDY_FROM, MOST_BUCKETS);
        // A full table is not searched for everybody who comes.
        if many && self.tidied.is_none_or(|tidied| now >= tidied + TIDY_PAUSE) {
            self.tidied = Some(now);
            self.buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
            self.tidy_at = self.buckets.len() * 2;
        }
    }
}

/// The rates in bytes that one relayed connection has to keep: none is the usual case and costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Throttle(Arc<[Arc<Bucket>]>);

/// So many bytes may be read from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) bytes: usize,
    pub(crate) from: Instant,
}

impl Throttle {
    /// How many bytes may be read, at most `most`, and when: the turn is kept, so nobody has to ask again or is overtaken. What is
    /// not read has to be given back.
    pub(crate) fn grant(&self, now: Instant, most: usize) -> Grant {
        let (mut bytes, mut from) = (most as u64, now);
        for (at, bucket) in self.0.iter().enumerate() {
            // Small where many share a rate, so that nobody waits long for a turn; larger where it is high.
            let least = bucket.thousandth().max(LEAST_BYTES).min(bytes);
            let (promised, ready) = bucket.promise(now, least, bytes);
            self.0[..at].iter().for_each(|earlier| earlier.give_back(bytes - promised));
            (bytes, from) = (promised, from.max(ready));
        }
        // Not more than `most`.
        Grant { bytes: bytes as usize, from }
    }

    /// Gives back what was granted and not read.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.iter().for_each(|bucket| bucket.give_back(bytes as u64));
    }
}

const FAILED_AUTHORIZATIONS: &str = "failed_authorizations_per_minute";

/// The limit for one rate and one scope, with its name.
fn most(limits: &Limits, rate: Rate, scope: &Scope) -> Option<(&'static str, u64)> {
    let (name, most) = match (rate, scope) {
        (Rate::FailedAuthorizations, Scope::Address(_)) => {
            (FAILED_AUTHORIZATIONS, Some(limits.failed_authorizations_per_minute))
        }
        (Rate::RefusedListens, Scope::AddressAt(..)) => {
            ("refused_listens_per_minute", Some(limits.refused_listens_per_minute))
        }
        (Rate::Connections, Scope::Namespace(_)) => {
            ("connections_per_second_per_namespace", limits.connections_per_second_per_namespace)
        }
        (Rate::Connections, Scope::Entity(_)) => {
            ("connections_per_second_per_entity", limits.connections_per_second_per_entity)
        }
        (Rate::Connections, Scope::Key(_)) => ("connections_per_second_per_key", limits.connections_per_second_per_key),
        (Rate::Connections, Scope::Address(_)) => {
            ("connections_per_second_per_address", limits.connections_per_second_per_address)
        }
        (Rate::Bytes, Scope::Namespace(_)) => ("bytes_per_second_per_namespace", limits.bytes_per_second_per_namespace),
        (Rate::Bytes, Scope::Entity(_)) => ("bytes_per_second_per_entity", limits.bytes_per_second_per_entity),
        (Rate::Bytes, Scope::Key(_)) => ("bytes_per_second_per_key", limits.bytes_per_second_per_key),
        (Rate::Bytes, Scope::Address(_)) => ("bytes_per_second_per_address", limits.bytes_per_second_per_address),
        _ => return None,
    };
    most.map(|most| (name, most))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use hybridrelay::env::Env;

    use super::*;
    use crate::config::Config;

    fn rates(edit: impl FnOnce(&mut Limits)) -> (Rates, Instant) {
        let mut config = Config::default();
        edit(&mut config.limits);
        (Rates::new(LiveConfig::new(config)), Env::system().now())
    }

    fn account(path: &str, last: u8) -> Account {
        let address = AddressBlock::from(IpAddr::from([192, 0, 2, last]));
        Account::new(EntityKey::new("ns", path), None, Some(address))
    }

    #[test]
    fn a_connection_too_many_is_charged_to_nobody() {
        let (rates, now) = rates(|limits| {
            limits.connections_per_second_per_entity = Some(3);
            limits.connections_per_second_per_address = Some(1);
        });
        rates.connect(&account("a", 1), now).expect("the first");
        for _ in 0..5 {
            let refused = rates.connect(&account("a", 1), now).expect_err("one in a second");
            assert_eq!(refused.limit, "connections_per_second_per_address");
            assert_eq!(refused.retry_after, Duration::from_secs(1));
        }
        rates.connect(&account("a", 2), now).expect("the hybrid connection has room for three");
        rates.connect(&account("a", 3), now).expect("the hybrid connection has room for three");
        let refused = rates.connect(&account("a", 4), now).expect_err("and not for four");
        assert_eq!(refused.limit, "connections_per_second_per_entity");
        rates.connect(&account("b", 4), now).expect("another hybrid connection");
    }

    #[test]
    fn after_twenty_refused_tokens_the_address_waits() {
        let (rates, now) = rates(|_| {});
        let address = |last| AddressBlock::from(IpAddr::from([192, 0, 2, last]));
        for _ in 0..20 {
            rates.may_try(address(1), now).expect("not yet");
            rates.failed(address(1), now);
        }
        let refused = rates.may_try(address(1), now).expect_err("twenty failed");
        assert_eq!((refused.limit, refused.retry_after.as_millis()), ("failed_authorizations_per_minute", 3_000));
        rates.may_try(address(2), now).expect("another address");
        rates.may_try(address(1), now + refused.retry_after).expect("the time is over");
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded_and_goes_away() {
        let (rates, now) = rates(|_| {});
        let address = |n: u32| {
            let v6 = Ipv6Addr::new(0x2001, 0xdb8, (n >> 16) as u16, n as u16, 0, 0, 0, 1);
            AddressBlock::from(IpAddr::from(v6))
        };
        for n in 0..100_000 {
            rates.failed(address(n), now);
        }
        assert_eq!(lock(&rates.table).buckets.len(), MOST_BUCKETS);
        rates.failed(address(0xFFFF_FFFF), now + Duration::from_secs(60));
        assert_eq!(lock(&rates.table).buckets.len(), 1);
    }

    #[test]
    fn a_throttled_connection_gets_what_the_slowest_of_its_rates_has() {
        let (rates, now) = rates(|limits| {
            limits.bytes_per_second_per_namespace = Some(100_000);
            limits.bytes_per_second_per_entity = Some(10_000);
        });
        let throttle = rates.throttle(&account("a", 1), now);
        assert_eq!(throttle.grant(now, 65_536), Grant { bytes: 10_000, from: now });
        let later = throttle.grant(now, 65_536);
        assert_eq!((later.bytes, later.from - now), (1_024, Duration::from_micros(102_400)));
        // The namespace was charged with no more than what was given.
        let other = rates.throttle(&account("b", 1), now);
        assert_eq!(other.grant(now, 65_536), Grant { bytes: 10_000, from: now });
        other.give_back(9_000);
        assert_eq!(other.grant(now, 65_536), Grant { bytes: 9_000, from: now });
    }

    #[test]
    fn a_rate_that_is_changed_holds_for_connections_that_come_then() {
        let (rates, now) = rates(|limits| limits.connections_per_second_per_entity = Some(1));
        rates.connect(&account("a", 1), now).expect("the first");
        rates.connect(&account("a", 1), now).expect_err("one in a second");
        let mut config = Config::default();
        config.limits.connections_per_second_per_entity = Some(2);
        rates.config.replace(config);
        rates.connect(&account("a", 1), now).expect("the first of two");
        rates.connect(&account("a", 1), now).expect("the second of two");
        rates.connect(&account("a", 1), now).expect_err("two in a second");
        rates.config.replace(Config::default());
        rates.connect(&account("a", 1), now).expect("no limit");
    }

    #[test]
    fn without_limits_everything_is_granted() {
        let (rates, now) = rates(|_| {});
        let throttle = rates.throttle(&account("a", 1), now);
        assert_eq!(throttle.grant(now, 65_536), Grant { bytes: 65_536, from: now });
    }
}
