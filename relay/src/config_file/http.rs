//! Reading and showing what an entity says about HTTP requests.

use std::time::Duration;

use super::entity::{bytes, size, size_of, word, word_of};
use super::problem::Report;
use super::show::{list, quoted};
use super::table::{Table, place_of, suggestion};
use crate::namespace::{HttpSettings, NoListener, OneWay};
use crate::units::{parse_duration, write_duration};

const ONE_WAY: [(&str, OneWay); 3] =
    [("on-request", OneWay::OnRequest), ("allowed", OneWay::Allowed), ("always", OneWay::Always)];

/// The largest one-way request that may be allowed: the relay holds it until it is handed over.
const MOST_ONE_WAY: u64 = 256 << 20;

pub(super) fn read(table: &mut Table<'_>, report: &mut Report<'_>) -> HttpSettings {
    let mut settings = HttpSettings::default();
    for (key, slot) in
        [("response_timeout", &mut settings.response_timeout), ("idle_timeout", &mut settings.idle_timeout)]
    {
        if let Some(time) = time(table, key, report) {
            *slot = time;
        }
    }
    settings.max_body = max_body(table, report);
    settings.no_listener = no_listener(table, report);
    for origin in table.texts("cors", report).into_iter().flatten() {
        let is_origin = origin.value.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
        });
        if is_origin || origin.value == "*" {
            settings.cors.push(origin.value.to_owned());
        } else {
            let message = format!("{:?} in cors is no origin", origin.value);
            report.error(origin.place, message, "write scheme and host, such as \"https://app.example.net\", or \"*\"");
        }
    }
    settings.one_way = word(table, "one_way", &ONE_WAY, report).unwrap_or_default();
    if let Some(most) = bytes(table, "one_way_max", MOST_ONE_WAY, report) {
        settings.one_way_max = most;
    }
    settings
}

fn time(table: &mut Table<'_>, key: &'static str, report: &mut Report<'_>) -> Option<Duration> {
    let text = table.text(key, report)?;
    match parse_duration(text.value) {
        Ok(time) if !time.is_zero() => Some(time),
        _ => {
            let message = format!("{key} cannot be {:?}", text.value);
            report.error(text.place, message, "write a time such as \"60s\" or \"2h\"");
            None
        }
    }
}

fn max_body(table: &mut Table<'_>, report: &mut Report<'_>) -> Option<u64> {
    let value = table.value("max_body")?;
    if value.get_ref().as_str() == Some(UNLIMITED) {
        return None;
    }
    let size = size_of(value.get_ref());
    if size.is_none() {
        let advice = "write a number of bytes, a size such as \"10 MiB\", or \"unlimited\"";
        report.error(place_of(value), "max_body is no size", advice);
    }
    size
}

fn no_listener(table: &mut Table<'_>, report: &mut Report<'_>) -> NoListener {
    const KNOWN: [&str; 2] = ["404", "502"];
    let Some(status) = table.count("no_listener", report) else { return NoListener::default() };
    match status.value {
        404 => NoListener::NotFound,
        502 => NoListener::BadGateway,
        other => {
            let advice = suggestion(&other.to_string(), &KNOWN);
            report.error(status.place, format!("no_listener cannot be {other}"), advice);
            NoListener::default()
        }
    }
}

const UNLIMITED: &str = "unlimited";

/// The keys and values as the file writes them.
pub(super) fn show(settings: &HttpSettings) -> [(&'static str, String); 7] {
    let status = match settings.no_listener {
        NoListener::NotFound => "404",
        NoListener::BadGateway => "502",
    };
    [
        ("response_timeout", quoted(write_duration(settings.response_timeout))),
        ("idle_timeout", quoted(write_duration(settings.idle_timeout))),
        ("max_body", settings.max_body.map_or(quoted(UNLIMITED), size)),
        ("no_listener", status.to_owned()),
        ("cors", list(&settings.cors)),
        ("one_way", quoted(word_of(&ONE_WAY, &settings.one_way))),
        ("one_way_max", size(settings.one_way_max)),
    ]
}
