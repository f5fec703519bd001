//! The one list of metrics: what is registered, and what `docs/metrics.md` is made of.

use prometheus_client::registry::{Metric as Source, Registry};

/// One metric.
pub(super) struct Metric {
    /// As it is served, with its suffix; of a histogram what comes before the suffixes.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) labels: &'static [&'static str],
    /// A sentence without its full stop.
    pub(super) help: &'static str,
    /// The metric of Azure Monitor that means the same, if there is one.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(super) azure: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Metric {
    /// Registers what is served under the name.
    pub(super) fn register(&self, registry: &mut Registry, source: impl Source) {
        registry.register(self.family(), self.help, source);
    }

    /// The name of the family: without the suffix that belongs to its kind.
    pub(super) fn family(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

const ENTITY: &[&str] = &["namespace", "entity"];
const RESULT: &[&str] = &["namespace", "entity", "result"];
const DIRECTION: &[&str] = &["namespace", "entity", "direction"];

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $labels:expr, $azure:expr, $help:literal;)+) => {
        $(
            pub(super) const $id: Metric =
                Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help, azure: $azure };
        )+

        /// All of them, in the order in which they are served.
        #[cfg(test)]
        pub(super) const TABLE: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD = Info "hybridrelay_build_info" &["version"], None,
        "The relay's version; the value is always 1";
    LISTENER_CONNECTIONS = Counter "hybridrelay_listener_connections_total" RESULT,
        Some("ListenerConnections-Success, -ClientError, -ServerError; their sum is -TotalRequests"),
        "Listeners that asked to come online, by how they were answered";
    SENDER_CONNECTIONS = Counter "hybridrelay_sender_connections_total" RESULT,
        Some("SenderConnections-Success, -ClientError, -ServerError; their sum is -TotalRequests"),
        "Senders that asked for a connection, HTTP requests included, by how they were answered; a listener's rejection or response counts by its status";
    ACTIVE_LISTENERS = Gauge "hybridrelay_active_listeners" ENTITY, Some("ActiveListeners"),
        "Listeners online";
    ACTIVE_CONNECTIONS = Gauge "hybridrelay_active_connections" ENTITY, Some("ActiveConnections"),
        "Relayed connections open, and HTTP requests in flight";
    TRANSFERRED_BYTES = Counter "hybridrelay_transferred_bytes_total" DIRECTION, Some("BytesTransferred"),
        "Payload bytes relayed; a connection adds to it each mebibyte, each ten seconds while it moves, and at its end";
    LISTENER_DISCONNECTS = Counter "hybridrelay_listener_disconnects_total" ENTITY, Some("ListenerDisconnects"),
        "Listeners that went offline, for whatever reason";
    SENDER_DISCONNECTS = Counter "hybridrelay_sender_disconnects_total" ENTITY, Some("SenderDisconnects"),
        "Relayed connections and HTTP requests that ended, for whatever reason";
    RENDEZVOUS_SECONDS = Histogram "hybridrelay_rendezvous_seconds" &["namespace"], None,
        "Time from telling a listener of a sender to the listener's dial";
    BLOCKED_SECONDS = Counter "hybridrelay_blocked_seconds_total" DIRECTION, None,
        "Time in which the receiver of a direction did not take what there was for it";
    THROTTLED_SECONDS = Counter "hybridrelay_throttled_seconds_total" ENTITY, None,
        "Time in which a direction was not read because of a limit of bytes per second";
    EVENTS_PUBLISHED = Counter "hybridrelay_events_published_total" ENTITY, None,
        "Events from publishers, where every listener gets everything";
    EVENTS_DELIVERED = Counter "hybridrelay_events_delivered_total" ENTITY, None,
        "Events handed to subscribers, each as often as there were subscribers";
    EVENTS_DROPPED = Counter "hybridrelay_events_dropped_total" ENTITY, None,
        "Events that subscribers missed because they were too slow, each as often as there were such subscribers";
    SLOW_SUBSCRIBERS = Counter "hybridrelay_events_slow_subscribers_total" ENTITY, None,
        "Subscribers that were disconnected because they were too slow";
    REFUSALS = Counter "hybridrelay_refusals_total" &["namespace", "reason"], None,
        "What the relay refused, by reason";
    SOCKETS = Gauge "hybridrelay_sockets" &[], None,
        "Accepted sockets, in whatever state";
    UNAUTHENTICATED_SOCKETS = Gauge "hybridrelay_unauthenticated_sockets" &[], None,
        "Accepted sockets that have not been authorised for anything";
    HANDSHAKES = Gauge "hybridrelay_handshakes" &[], None,
        "Handshakes in flight: TLS and the first request, up to its admission";
    ACCEPT_PAUSES = Counter "hybridrelay_accept_pauses_total" &[], None,
        "How often accepting sockets was interrupted because the system had none to give";
    DESCRIPTORS_EXHAUSTED = Counter "hybridrelay_descriptors_exhausted_total" &[], None,
        "Sockets that could not be accepted because no descriptor was left";
    DRAIN_STAGE = Gauge "hybridrelay_drain_stage" &[], None,
        "How far the relay's end has come: 0 running, 1 announced at readyz, 2 taking nothing new, 3 stopped";
}

#[cfg(test)]
impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::refusal::Reason;

    /// Set to write the page anew: `UPDATE_DOCS=1 cargo test -p hybridrelay-relay documentation`.
    const UPDATE: &str = "UPDATE_DOCS";

    #[test]
    fn the_page_in_the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = page();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, &page).expect("the documentation can be written");
        }
        let written = std::fs::read_to_string(path).expect("there is such a page");
        assert_eq!(written, page, "set {UPDATE}=1 to write docs/metrics.md anew");
    }

    fn page() -> String {
        let mut page = String::from(INTRODUCTION);
        page.push_str("| name | type | labels | meaning | Azure Monitor |\n|---|---|---|---|---|\n");
        for metric in TABLE {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                metric.name,
                metric.kind.as_str(),
                labels.join(", "),
                metric.help,
                metric.azure.unwrap_or_default()
            )
            .expect("a string takes everything");
        }
        page.push_str(REASONS);
        page.push_str("| `reason` | meaning |\n|---|---|\n");
        for reason in Reason::ALL {
            writeln!(page, "| `{}` | {} |", reason.as_str(), reason.describe()).expect("a string takes everything");
        }
        page
    }

    const INTRODUCTION: &str = "\
# Metrics

<!-- Made from relay/src/observe/metrics/table.rs by the test that compares both; UPDATE_DOCS=1 writes this page anew. -->

A relay serves its metrics in the OpenMetrics text format at `GET /metrics`, on a socket of its own (`[metrics] listen` in the
configuration file), never on the sockets that listeners and senders use; a program that embeds the relay reads the same text with `RelayHandle::metrics_text()`.

`namespace` and `entity` name the hybrid connection. The first 1 000 hybrid connections have series of their own
([`entities_in_metrics`](limits.md)); all later ones share the entity `other`. Requests that lead to no hybrid connection have an empty entity.
`direction` is `to_listener` or `to_sender`. `result` is `success` for an answer of 101, and for HTTP requests for a status that is no
error; `server_error` for a status of 500 or above, else `client_error`.

";

    const REASONS: &str = "
## Reasons of refusals

The log has them in the field `reason`, events too. Besides these, each [limit](limits.md) of the configuration is a reason by its own name, such as
`connections_per_entity` or `failed_authorizations_per_minute`.

";
}
