//! Which of several forms of an answer is wanted (RFC 9110 12.5.1).

use http::{HeaderMap, header};

/// The one of `offered` that `Accept` names with the highest weight, the first named among equals; the first offered where it names
/// none. Ranges such as `*/*` name none: whoever takes everything gets what is usual.
pub(super) fn wanted(fields: &HeaderMap, offered: &[&'static str]) -> &'static str {
    let lists = fields.get_all(header::ACCEPT).iter().filter_map(|list| list.to_str().ok());
    let mut best: Option<(&'static str, f32)> = None;
    for range in lists.flat_map(|list| list.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let Some(known) = offered.iter().find(|known| known.eq_ignore_ascii_case(name)) else { continue };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        if weight > best.map_or(0.0, |(_, best)| best) {
            best = Some((known, weight));
        }
    }
    best.map_or(offered[0], |(known, _)| known)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_named_form_of_the_highest_weight_is_wanted() {
        const OFFERED: [&str; 3] = ["application/atom+xml", "application/json", "text/event-stream"];
        for (accept, expected) in [
            ("", 0),
            ("*/*", 0),
            ("text/html,application/xml;q=0.9,*/*;q=0.8", 0),
            ("application/json", 1),
            ("Application/JSON; charset=utf-8, */*", 1),
            ("application/json;q=0.5, text/event-stream;q=0.6", 2),
            ("application/json, text/event-stream", 1),
            ("application/json;q=0", 0),
            ("application/json;q=NaN", 0),
            ("application/atom+xml;q=0.1, application/json;q=0.2", 1),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wanted(&fields, &OFFERED), OFFERED[expected], "{accept}");
        }
    }
}
