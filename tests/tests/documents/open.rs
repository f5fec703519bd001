//! Output that a document shows, where parts of it are left open.
//!
//! `…` in a line stands for anything in that line, also nothing; a line that is only `…` for any number of lines. Several spaces count as
//! one, and spaces at a line's ends as none.

/// Whether this is what the document shows.
pub(crate) fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, more)| line_matches(line, first) && matches(rest, more))
        }
    }
}

/// Whether this begins with what the document shows.
pub(crate) fn begins(shown: &[String], printed: &[String]) -> bool {
    (0..=printed.len()).any(|len| matches(shown, &printed[..len]))
}

fn line_matches(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (squeeze(shown), squeeze(printed));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(shown: &str, printed: &str) -> bool {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        matches(&lines(shown), &lines(printed))
    }

    #[test]
    fn what_is_left_open_matches_and_nothing_else() {
        for (shown, printed) in [
            ("a  b", "a b"),
            ("took … ms", "took 12 ms"),
            ("…:… ok", "localhost:9443 is ok"),
            ("a\n…\nz", "a\nz"),
            ("a\n…\nz", "a\nb\nc\nz"),
            ("…", ""),
        ] {
            assert!(holds(shown, printed), "{shown:?} and {printed:?}");
        }
        for (shown, printed) in [
            ("took … ms", "took 12 s"),
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a\n…\nz", "a\nz\nb"),
            ("ab…ba", "aba"),
            ("a", "A"),
        ] {
            assert!(!holds(shown, printed), "{shown:?} and {printed:?}");
        }
    }
}
