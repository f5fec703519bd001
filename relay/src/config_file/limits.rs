//! The one list of the keys of `[limits]`: what the file may say, and what `docs/limits.md` is made of.

use std::time::Duration;

use super::problem::Report;
use super::table::{Table, place_of, whole_number};
use crate::config::Config;
use crate::units::{parse_duration, parse_size, write_duration, write_size};

/// What can be set in numbers.
#[derive(Clone, Debug)]
pub(super) struct Tunables {
    pub(super) config: Config,
    /// How long open connections may go on when the relay is told to end.
    pub(super) drain: Duration,
}

impl Default for Tunables {
    fn default() -> Self {
        Self { config: Config::default(), drain: Duration::from_secs(30) }
    }
}

/// One key.
pub(super) struct Limit {
    pub(super) key: &'static str,
    field: Field,
    /// What it bounds, in a sentence without its full stop.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) bounds: &'static str,
    /// What becomes of whoever exceeds it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) exceeded: &'static str,
    /// What counts them.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) metric: Metric,
}

/// Where the number is kept and how it is written. What is optional may be `"unlimited"`.
#[derive(Clone, Copy)]
enum Field {
    Count(fn(&mut Tunables) -> &mut usize),
    Size(fn(&mut Tunables) -> &mut usize),
    PerMinute(fn(&mut Tunables) -> &mut u64),
    PerSecond(fn(&mut Tunables) -> &mut Option<u64>),
    SizePerSecond(fn(&mut Tunables) -> &mut Option<u64>),
    /// Longer than nothing.
    Time(fn(&mut Tunables) -> &mut Duration),
    /// May be nothing.
    TimeOrNone(fn(&mut Tunables) -> &mut Duration),
}

/// The metric that counts what a limit did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// `hybridrelay_refusals_total` with the key as its reason.
    Refusals,
    /// The same with another reason.
    Reason(&'static str),
    /// A metric of its own.
    Named(&'static str),
    None,
}

/// What stands for no limit.
const UNLIMITED: &str = "unlimited";

macro_rules! limits {
    ($($field:ident $($member:ident).+ $bounds:literal, $exceeded:expr, $metric:expr;)+) => {
        pub(super) const LIMITS: &[Limit] = &[$(Limit {
            key: last!($($member)+),
            field: Field::$field(|tunables| &mut tunables.$($member).+),
            bounds: $bounds,
            exceeded: $exceeded,
            metric: $metric,
        }),+];
    };
}

macro_rules! last {
    ($last:ident) => { stringify!($last) };
    ($first:ident $($rest:ident)+) => { last!($($rest)+) };
}

const UNANSWERED: &str = "the socket is closed unanswered";
const WAITS: &str = "it waits for its turn, as long as `handshake`, and is then closed unanswered";
const FORBIDDEN: &str = "403 `QuotaExceeded`";
const BUSY: &str = "429, or 503 for a WebSocket, with `Retry-After`";
const SLOWED: &str = "nothing is lost: the relay reads less, and TCP slows the peers";
const NOBODY: &str = "nobody is refused";
const CUT: &str = "the connection is cut";

use Metric::{Named, None as Uncounted, Reason as Because, Refusals};

limits! {
    Count config.limits.sockets "Accepted sockets at once, in whatever state", UNANSWERED, Refusals;
    Count config.limits.unauthenticated "Sockets at once that have not been authorised for anything", UNANSWERED, Refusals;
    Count config.limits.unauthenticated_per_address "The same per address", UNANSWERED, Refusals;
    Count config.limits.handshakes
        "Handshakes at once: TLS and the first request, up to its admission", WAITS, Because("handshake_timeout");
    Count config.limits.handshakes_per_address "The same per address", WAITS, Because("handshake_timeout");
    Size config.limits.header_block "Request line and header fields of one request", "431", Refusals;
    PerMinute config.limits.failed_authorizations_per_minute
        "Refused tokens in a minute per address; then no token from there is looked at for a while, valid ones included",
        BUSY, Refusals;

    Count config.limits.listeners_per_namespace "Listeners online per namespace", FORBIDDEN, Refusals;
    Count config.limits.listeners_per_entity "Listeners online per hybrid connection", FORBIDDEN, Refusals;
    Count config.limits.subscribers_per_entity "The same where every listener gets everything", FORBIDDEN, Refusals;
    Count config.limits.listeners_per_key "Listeners online per key", FORBIDDEN, Refusals;
    Count config.limits.listeners_per_address "Listeners online per address", FORBIDDEN, Refusals;

    PerMinute config.limits.refused_listens_per_minute
        "Listeners that are refused by one of these five limits and told at once, in a minute per address and hybrid \
         connection", "more are told at this rate, each in its turn", Uncounted;
    Count config.limits.held_refusals_per_address
        "Listeners at once per address that wait to be told", "more are told at once", Uncounted;

    Count config.limits.waiting_per_entity
        "Senders that wait for a listener's dial per hybrid connection", BUSY, Refusals;
    Count config.limits.waiting_per_address "The same per address of the sender", BUSY, Refusals;

    Count config.limits.connections_per_namespace
        "Relayed connections at once per namespace, those that wait for their listener included", BUSY, Refusals;
    Count config.limits.connections_per_entity "The same per hybrid connection", BUSY, Refusals;
    Count config.limits.connections_per_key "The same per key of the sender", BUSY, Refusals;
    Count config.limits.connections_per_address "The same per address of the sender", BUSY, Refusals;

    Count config.limits.requests_per_entity
        "HTTP requests in flight per hybrid connection, which count as relayed connections, too",
        "503 with `Retry-After`", Refusals;
    Count config.limits.requests_per_listener
        "The same per listener; others are asked first", "503 with `Retry-After`", Refusals;

    PerSecond config.limits.connections_per_second_per_namespace
        "New relayed connections in a second per namespace; as many may come at once as in one second", BUSY, Refusals;
    PerSecond config.limits.connections_per_second_per_entity "The same per hybrid connection", BUSY, Refusals;
    PerSecond config.limits.connections_per_second_per_key "The same per key of the sender", BUSY, Refusals;
    PerSecond config.limits.connections_per_second_per_address "The same per address of the sender", BUSY, Refusals;

    SizePerSecond config.limits.bytes_per_second_per_namespace
        "Bytes relayed in a second per namespace, both directions together",
        SLOWED, Named("hybridrelay_throttled_seconds_total");
    SizePerSecond config.limits.bytes_per_second_per_entity
        "The same per hybrid connection", SLOWED, Named("hybridrelay_throttled_seconds_total");
    SizePerSecond config.limits.bytes_per_second_per_key
        "The same per key of the sender", SLOWED, Named("hybridrelay_throttled_seconds_total");
    SizePerSecond config.limits.bytes_per_second_per_address
        "The same per address of the sender", SLOWED, Named("hybridrelay_throttled_seconds_total");

    Count config.limits.queued_deliveries
        "Messages queued for one listener", "503 after `queue_full`", Because("listener_busy");
    Size config.limits.queued_bytes "Bytes queued for one listener", "503 after `queue_full`", Because("listener_busy");
    Size config.limits.control_text
        "Longest text message on a control channel", "the control channel is closed with 1009", Uncounted;
    Size config.limits.control_binary
        "Longest binary message on a control channel", "the control channel is closed with 1009", Uncounted;
    Count config.limits.entities_in_metrics
        "Hybrid connections with series of their own in the metrics; a change needs a restart",
        "later ones share the label `other`", Uncounted;

    Time config.timings.handshake
        "From the beginning of a handshake to the end of the first request's head, TLS included; as long at most may a \
         socket wait for its turn before that", UNANSWERED, Because("handshake_timeout");
    Time config.timings.header_read
        "A further request's head, counted from the previous response", UNANSWERED, Uncounted;
    Time config.timings.upgrade "Between a 101 and the socket that belongs to it", CUT, Uncounted;
    Time config.timings.accept "From telling a listener of a sender to the listener's dial", "504", Because("not_accepted");
    Time config.timings.request_dial
        "From telling a listener of an HTTP request that has to be fetched to its dial", "504", Because("no_response");
    Time config.timings.queue_full
        "How long a delivery waits for room in a listener's queue", "503", Because("listener_busy");
    Time config.timings.write_stall
        "How long a write to a listener may stall before the listener is taken for dead", CUT, Uncounted;
    Time config.timings.control_ping "Silence on a control channel before a Ping", NOBODY, Uncounted;
    Time config.timings.control_gone
        "Silence on a control channel after which the listener is gone; longer than `control_ping`", CUT, Uncounted;
    Time config.timings.control_close
        "How long a closing control channel waits for the listener's Close", CUT, Uncounted;
    Time config.timings.relayed_ping "Silence on a relayed socket before a Ping", NOBODY, Uncounted;
    Time config.timings.relayed_gone
        "Silence on a relayed socket after which it is gone; longer than `relayed_ping`", CUT, Uncounted;
    Time config.timings.half_close
        "After one side's Close, the time without progress until both are finished", CUT, Uncounted;
    TimeOrNone config.timings.clock_skew
        "How far a token's expiry may lie in the past at connect", "401", Because("expired_token");
    TimeOrNone config.timings.expiry_grace
        "How long an expired token keeps a control channel alive", "the control channel is closed with 1008", Uncounted;
    TimeOrNone config.timings.revocation
        "From a change that takes a listener's right away to the close of its channel; at most 60 s",
        "the control channel is closed with 1008", Uncounted;
    TimeOrNone config.timings.drain_lead
        "How long a relay that is to end says so at `/$relay/readyz` before it takes nothing new", NOBODY, Uncounted;
    TimeOrNone drain
        "How long open connections may go on after that", "connections are closed with 1001, then cut", Uncounted;
}

impl Limit {
    /// The value as the file writes it.
    pub(super) fn write(&self, tunables: &mut Tunables) -> String {
        let quoted = |text: String| format!("\"{text}\"");
        let size = |bytes: u64| match write_size(bytes) {
            plain if plain.bytes().all(|byte| byte.is_ascii_digit()) => plain,
            text => quoted(text),
        };
        match self.field {
            Field::Count(field) => field(tunables).to_string(),
            Field::Size(field) => size(*field(tunables) as u64),
            Field::PerMinute(field) => field(tunables).to_string(),
            Field::PerSecond(field) => field(tunables).map_or(quoted(UNLIMITED.into()), |rate| rate.to_string()),
            Field::SizePerSecond(field) => field(tunables).map_or(quoted(UNLIMITED.into()), size),
            Field::Time(field) | Field::TimeOrNone(field) => quoted(write_duration(*field(tunables))),
        }
    }

    fn read(&self, table: &mut Table<'_>, tunables: &mut Tunables, report: &mut Report<'_>) {
        let Some(value) = table.value(self.key) else { return };
        let number = whole_number(value.get_ref());
        let text = value.get_ref().as_str();
        let size = || number.or_else(|| parse_size(text?).ok());
        let read = match self.field {
            Field::Count(field) => number.map(|number| *field(tunables) = saturate(number)),
            Field::Size(field) => size().map(|bytes| *field(tunables) = saturate(bytes)),
            Field::PerMinute(field) => number.map(|number| *field(tunables) = number),
            Field::PerSecond(field) if text != Some(UNLIMITED) => number.map(|number| *field(tunables) = Some(number)),
            Field::SizePerSecond(field) if text != Some(UNLIMITED) => size().map(|size| *field(tunables) = Some(size)),
            Field::PerSecond(field) | Field::SizePerSecond(field) => {
                *field(tunables) = None;
                Some(())
            }
            Field::Time(field) | Field::TimeOrNone(field) => {
                text.and_then(|text| parse_duration(text).ok()).map(|time| *field(tunables) = time)
            }
        };
        if read.is_none() {
            let message = format!("{} in {} cannot be {}", self.key, table.name(), shown(value.get_ref()));
            report.error(place_of(value), message, format!("write {}", self.field.how()));
        } else if self.is_nothing(tunables) {
            let advice = match self.field {
                Field::PerSecond(_) | Field::SizePerSecond(_) => "for no limit write \"unlimited\"",
                _ => "write 1 or more, or leave the key out for its default",
            };
            report.error(place_of(value), format!("{} in {} cannot be 0", self.key, table.name()), advice);
        }
    }

    /// Whether it lets nobody do anything, which nobody wants.
    fn is_nothing(&self, tunables: &mut Tunables) -> bool {
        match self.field {
            Field::Count(field) | Field::Size(field) => *field(tunables) == 0,
            Field::PerMinute(field) => *field(tunables) == 0,
            Field::PerSecond(field) | Field::SizePerSecond(field) => *field(tunables) == Some(0),
            Field::Time(field) => field(tunables).is_zero(),
            Field::TimeOrNone(_) => false,
        }
    }
}

impl Field {
    fn how(self) -> &'static str {
        match self {
            Self::Count(_) | Self::PerMinute(_) => "a whole number",
            Self::Size(_) => "a number of bytes, or a size such as \"64 KiB\"",
            Self::PerSecond(_) => "a whole number, or \"unlimited\"",
            Self::SizePerSecond(_) => "a number of bytes, a size such as \"16 MiB\", or \"unlimited\"",
            Self::Time(_) | Self::TimeOrNone(_) => "a duration such as \"30s\", \"5m\" or \"1h30m\"",
        }
    }
}

/// Reads `[limits]`.
pub(super) fn read(mut table: Table<'_>, tunables: &mut Tunables, report: &mut Report<'_>) {
    for limit in LIMITS {
        limit.read(&mut table, tunables, report);
    }
    let timings = &tunables.config.timings;
    let mut lasting = |shorter: &'static str, longer: &'static str, in_order: bool| {
        let value = table.value(longer).or_else(|| table.value(shorter));
        if let Some(value) = value.filter(|_| !in_order) {
            let message = format!("{longer} must be longer than {shorter}");
            report.error(place_of(value), message, format!("write a longer {longer} or a shorter {shorter}"));
        }
    };
    lasting("control_ping", "control_gone", timings.control_ping < timings.control_gone);
    lasting("relayed_ping", "relayed_gone", timings.relayed_ping < timings.relayed_gone);
    if let Some(value) = table.value("revocation")
        && timings.revocation > Duration::from_secs(60)
    {
        // protocol.md 10, decision 57.
        report.error(place_of(value), "revocation cannot be longer than 60 s", "write \"60s\" or less");
    }
    table.finish(report);
}

fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn shown(value: &toml::de::DeValue<'_>) -> String {
    match value.as_str() {
        Some(text) => format!("{text:?}"),
        None => value.as_integer().map_or_else(|| format!("a {}", value.type_str()), ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::config::{Limits, Timings};
    use crate::refusal::Reason;

    /// Set to write the page anew: `UPDATE_DOCS=1 cargo test -p hybridrelay-relay --features config-file documentation`.
    const UPDATE: &str = "UPDATE_DOCS";

    #[test]
    fn every_limit_and_timing_can_be_set() {
        let fields = format!("{:#?}{:#?}", Limits::default(), Timings::default());
        let fields: Vec<&str> = fields
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(':'))
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with(' '))
            .collect();
        assert!(fields.len() > 40, "{fields:?}");
        for field in &fields {
            assert_eq!(LIMITS.iter().filter(|limit| limit.key == *field).count(), 1, "{field}");
        }
        assert_eq!(LIMITS.len(), fields.len() + 1, "and one for the drain");
    }

    #[test]
    fn the_reasons_that_are_named_are_those_that_are_counted() {
        for limit in LIMITS {
            if let Metric::Reason(word) = limit.metric {
                assert!(Reason::ALL.iter().any(|reason| reason.as_str() == word), "{word} of {}", limit.key);
            }
        }
    }

    #[test]
    fn the_page_in_the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
        let page = page();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, &page).expect("the documentation can be written");
        }
        let written = std::fs::read_to_string(path).expect("there is such a page");
        assert_eq!(written, page, "set {UPDATE}=1 to write docs/limits.md anew");
    }

    fn page() -> String {
        let mut page = String::from(INTRODUCTION);
        page.push_str(
            "| key | default | unit | what it bounds | whoever exceeds it | metric |\n|---|---|---|---|---|---|\n",
        );
        for limit in LIMITS {
            let default = limit.write(&mut Tunables::default());
            let metric = match limit.metric {
                Metric::Refusals => format!("`hybridrelay_refusals_total{{reason=\"{}\"}}`", limit.key),
                Metric::Reason(reason) => format!("`hybridrelay_refusals_total{{reason=\"{reason}\"}}`"),
                Metric::Named(name) => format!("`{name}`"),
                Metric::None => String::new(),
            };
            let unit = match limit.field {
                Field::Count(_) => "number",
                Field::Size(_) => "bytes",
                Field::PerMinute(_) => "per minute",
                Field::PerSecond(_) => "per second",
                Field::SizePerSecond(_) => "bytes per second",
                Field::Time(_) | Field::TimeOrNone(_) => "time",
            };
            let (key, bounds, exceeded) = (limit.key, limit.bounds, limit.exceeded);
            writeln!(page, "| `{key}` | `{default}` | {unit} | {bounds} | {exceeded} | {metric} |")
                .expect("a string takes everything");
        }
        page
    }

    const INTRODUCTION: &str = "\
# Limits

<!-- Made from relay/src/config_file/limits.rs by the test that compares both; UPDATE_DOCS=1 writes this page anew. -->

The keys of `[limits]` in the configuration file; each is a field of `Limits` or `Timings` for programs that embed the relay. Sizes and
durations are texts (`\"64 KiB\"`, `\"1h30m\"`), `\"unlimited\"` is a value where it is the default. Counting is done on each node for
itself. A *key* is a rule of a namespace or of one hybrid connection, whichever of its two keys signed; whoever needs no token has none. An
*address* is an IPv4 address or the /64 of an IPv6 address.

When the configuration is read again, a changed value holds for what comes from then on: whoever has a place keeps it, and a relayed
connection keeps the timings and rates with which it began.

";
}
