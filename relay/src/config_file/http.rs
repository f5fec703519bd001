//! Reading and showing what an entity says about HTTP requests.

use std::time::Duration;

use super::problem::Report;
use super::table::{Table, place_of, suggestion, whole_number};
use crate::namespace::{HttpSettings, NoListener};
use crate::units::{parse_duration, parse_size, write_duration, write_size};

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
    let text = value.get_ref().as_str();
    if text == Some(UNLIMITED) {
        return None;
    }
    let size = whole_number(value.get_ref()).or_else(|| parse_size(text?).ok());
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
pub(super) fn show(settings: &HttpSettings) -> [(&'static str, String); 5] {
    let quoted = |text: &str| format!("{text:?}");
    let size = |bytes: u64| match write_size(bytes) {
        plain if plain.bytes().all(|byte| byte.is_ascii_digit()) => plain,
        text => quoted(&text),
    };
    let status = match settings.no_listener {
        NoListener::NotFound => "404",
        NoListener::BadGateway => "502",
    };
    let origins: Vec<String> = settings.cors.iter().map(|origin| quoted(origin)).collect();
    [
        ("response_timeout", quoted(&write_duration(settings.response_timeout))),
        ("idle_timeout", quoted(&write_duration(settings.idle_timeout))),
        ("max_body", settings.max_body.map_or(quoted(UNLIMITED), size)),
        ("no_listener", status.to_owned()),
        ("cors", format!("[{}]", origins.join(", "))),
    ]
}
