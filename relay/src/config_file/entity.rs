//! Reading and showing how an entity's senders and listeners meet; what `auto_create` says of those it makes as well.

use ::http::HeaderName;
use toml::de::DeValue;

use super::http;
use super::problem::Report;
use super::table::{Table, place_of, suggestion, whole_number};
use crate::namespace::{
    Choice, Discoverable, Distribution, EntitySettings, EventSettings, NoSubscriber, SlowSubscriber, StickyBy,
    Visibility, WebSocketPaths,
};
use crate::units::{parse_size, write_size};

const PATHS: [(&str, WebSocketPaths); 2] = [("hc-only", WebSocketPaths::HcOnly), ("any-path", WebSocketPaths::AnyPath)];
const SLOW: [(&str, SlowSubscriber); 3] = [
    ("drop-oldest", SlowSubscriber::DropOldest),
    ("disconnect", SlowSubscriber::Disconnect),
    ("block", SlowSubscriber::Block),
];
const NOBODY: [(&str, NoSubscriber); 2] = [("accept", NoSubscriber::Accept), ("not-found", NoSubscriber::NotFound)];
const VISIBILITIES: [(&str, Option<Visibility>); 3] =
    [("no", None), ("public", Some(Visibility::Public)), ("authorised", Some(Visibility::Authorised))];

/// The largest event that may be allowed, and the most that may wait for a subscriber.
const MOST_OF_EVENTS: u64 = 256 << 20;

pub(super) fn read(table: &mut Table<'_>, report: &mut Report<'_>) -> EntitySettings {
    EntitySettings {
        websocket: word(table, "websocket", &PATHS, report).unwrap_or_default(),
        http: http::read(table, report),
        distribution: distribution(table, report),
        choice: choice(table, report),
        discoverable: discoverable(table, report),
    }
}

/// A key that takes one of these words.
pub(super) fn word<T: Clone>(
    table: &mut Table<'_>,
    key: &'static str,
    known: &[(&str, T)],
    report: &mut Report<'_>,
) -> Option<T> {
    let text = table.text(key, report)?;
    let found = known.iter().find(|(word, _)| *word == text.value);
    if found.is_none() {
        let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        report.error(text.place, format!("{key} cannot be {:?}", text.value), suggestion(text.value, &words));
    }
    found.map(|(_, value)| value.clone())
}

/// The word that stands for a value.
pub(super) fn word_of<T: PartialEq>(known: &[(&'static str, T)], value: &T) -> &'static str {
    known.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

/// A number of bytes.
pub(super) fn bytes(table: &mut Table<'_>, key: &'static str, most: u64, report: &mut Report<'_>) -> Option<u64> {
    let value = table.value(key)?;
    let size = size_of(value.get_ref()).filter(|size| (1..=most).contains(size));
    if size.is_none() {
        let advice = format!("write a number of bytes or a size such as \"1 MiB\", up to {}", write_size(most));
        report.error(place_of(value), format!("{key} is no size that can be"), advice);
    }
    size
}

/// A number of bytes, or a size with its unit.
pub(super) fn size_of(value: &DeValue<'_>) -> Option<u64> {
    whole_number(value).or_else(|| parse_size(value.as_str()?).ok())
}

fn distribution(table: &mut Table<'_>, report: &mut Report<'_>) -> Distribution {
    let to_all = word(table, "distribution", &[("one", false), ("all", true)], report).unwrap_or_default();
    let mut events = EventSettings::default();
    for (key, slot) in [("max_event", &mut events.max_event), ("event_queue", &mut events.queue)] {
        if let Some(size) = bytes(table, key, MOST_OF_EVENTS, report) {
            *slot = usize::try_from(size).unwrap_or(usize::MAX);
        }
    }
    events.slow_subscriber = word(table, "slow_subscriber", &SLOW, report).unwrap_or_default();
    events.no_subscriber = word(table, "no_subscriber", &NOBODY, report).unwrap_or_default();
    if to_all {
        return Distribution::All(events);
    }
    if events != EventSettings::default() {
        let message = format!("{} tells how events go to all listeners, and they do not", table.name());
        report.warning(table.place(), message, "write distribution = \"all\", or leave those keys out");
    }
    Distribution::One
}

fn choice(table: &mut Table<'_>, report: &mut Report<'_>) -> Choice {
    let known =
        [("random", Choice::Random), ("least-busy", Choice::LeastBusy), ("sticky", Choice::Sticky(StickyBy::Address))];
    let choice = word(table, "choice", &known, report).unwrap_or_default();
    let Some(text) = table.text("sticky_by", report) else { return choice };
    let by = match text.value.split_once(':') {
        None if text.value == "address" => Some(StickyBy::Address),
        Some(("header", name)) => HeaderName::try_from(name).ok().map(StickyBy::Header),
        Some(("query", name)) if !name.is_empty() && !name.contains(['&', '=', '#', ' ']) => {
            Some(StickyBy::Query(name.to_owned()))
        }
        _ => None,
    };
    match (by, choice) {
        (Some(by), Choice::Sticky(_)) => Choice::Sticky(by),
        (Some(_), choice) => {
            report.error(text.place, "sticky_by needs choice = \"sticky\"", "write both, or none of them");
            choice
        }
        (None, choice) => {
            let message = format!("sticky_by cannot be {:?}", text.value);
            report.error(text.place, message, "write \"address\", \"header:NAME\" or \"query:NAME\"");
            choice
        }
    }
}

fn discoverable(table: &mut Table<'_>, report: &mut Report<'_>) -> Option<Discoverable> {
    let visibility = word(table, "discoverable", &VISIBILITIES, report).flatten();
    let mut text = |key| table.text(key, report).map(|text| text.value.to_owned()).unwrap_or_default();
    let (title, summary) = (text("title"), text("summary"));
    let tags: Vec<_> = table.texts("tags", report).into_iter().flatten().map(|text| text.value.to_owned()).collect();
    if visibility.is_none() && !(title.is_empty() && summary.is_empty() && tags.is_empty()) {
        let message = format!("{} describes an endpoint of which nobody is told", table.name());
        report.warning(table.place(), message, "write discoverable = \"public\" or \"authorised\"");
    }
    Some(Discoverable { visibility: visibility?, title, summary, tags })
}

/// The keys and values as the file writes them.
pub(super) fn show(settings: &EntitySettings) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| super::show::quoted(text);
    let mut lines = vec![("websocket", quoted(word_of(&PATHS, &settings.websocket)))];
    lines.extend(http::show(&settings.http));
    match &settings.distribution {
        Distribution::One => lines.push(("distribution", quoted("one"))),
        Distribution::All(events) => lines.extend([
            ("distribution", quoted("all")),
            ("max_event", size(events.max_event as u64)),
            ("event_queue", size(events.queue as u64)),
            ("slow_subscriber", quoted(word_of(&SLOW, &events.slow_subscriber))),
            ("no_subscriber", quoted(word_of(&NOBODY, &events.no_subscriber))),
        ]),
    }
    let (choice, by) = match &settings.choice {
        Choice::Random => ("random", None),
        Choice::LeastBusy => ("least-busy", None),
        Choice::Sticky(StickyBy::Address) => ("sticky", Some("address".to_owned())),
        Choice::Sticky(StickyBy::Header(name)) => ("sticky", Some(format!("header:{name}"))),
        Choice::Sticky(StickyBy::Query(name)) => ("sticky", Some(format!("query:{name}"))),
    };
    lines.push(("choice", quoted(choice)));
    lines.extend(by.map(|by| ("sticky_by", quoted(&by))));
    let visibility = settings.discoverable.as_ref().map(|discoverable| discoverable.visibility);
    lines.push(("discoverable", quoted(word_of(&VISIBILITIES, &visibility))));
    if let Some(Discoverable { title, summary, tags, .. }) = &settings.discoverable {
        lines.extend([("title", quoted(title)), ("summary", quoted(summary)), ("tags", super::show::list(tags))]);
    }
    lines
}

/// A size, quoted unless it is a plain number.
pub(super) fn size(bytes: u64) -> String {
    match write_size(bytes) {
        plain if plain.bytes().all(|byte| byte.is_ascii_digit()) => plain,
        text => super::show::quoted(text),
    }
}
