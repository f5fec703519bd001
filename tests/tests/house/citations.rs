//! Comments and documents cite `docs/protocol.md` by section and by decision; every citation leads somewhere.
//!
//! Written `protocol.md 6.2, 6.3`, `protocol.md 2.1 to 2.3`, `protocol.md 2.3, 2.5 and 10, decisions 1 and 6`, or `decision 19` alone.

use crate::files::{self, File};
use crate::protocol::{self, Place};

const TEXTS: [&str; 9] = ["rs", "md", "toml", "js", "mjs", "ts", "py", "sh", "json"];

#[test]
fn every_citation_of_the_protocol_leads_to_a_section_or_decision() {
    let known = protocol::known();
    let mut dangling = Vec::new();
    let mut citing = Vec::new();
    for file in files::all().iter().filter(|file| file.is_one_of(&TEXTS)) {
        for (line, place) in citations(file) {
            if !known.contains(&place) {
                dangling.push(format!("{}:{line} cites {place}", file.path));
            }
            citing.push(file.path.clone());
        }
    }
    assert!(dangling.is_empty(), "{} has no such place:\n{}", protocol::PATH, dangling.join("\n"));
    for folder in ["core/src/", "relay/src/", "docs/"] {
        assert!(citing.iter().any(|path| path.starts_with(folder)), "no citation was found in {folder}");
    }
}

/// The places that a file cites, with the line of each.
fn citations(file: &File) -> Vec<(usize, Place)> {
    let flat = Flat::new(file);
    let mut found = Vec::new();
    for (at, word) in flat.text.match_indices("protocol.md") {
        let behind = flat.after(at + word.len(), &["`", "\"", ")"], &["sections ", "section "]);
        sections(&flat, behind, &mut found);
    }
    for word in ["decision", "Decision"] {
        for (at, _) in flat.text.match_indices(word) {
            let behind = flat.after(at + word.len(), &["s"], &[]);
            decisions(&flat, behind, &mut found);
        }
    }
    if file.path == protocol::PATH {
        // The document cites itself as `section 10` and as `(2.3)`.
        for (at, word) in flat.text.match_indices("section ") {
            sections(&flat, at + word.len(), &mut found);
        }
        for (at, _) in flat.text.match_indices('(') {
            if let Some((place @ Place::Section(_, Some(_)), end)) = section(&flat.text, at + 1)
                && flat.text[end..].starts_with(')')
            {
                found.push((flat.line(at), place));
            }
        }
    }
    found
}

/// Reads a list of sections; a range counts with all that is in it.
fn sections(flat: &Flat, at: usize, found: &mut Vec<(usize, Place)>) {
    let Some((mut last, mut end)) = section(&flat.text, at) else { return };
    found.push((flat.line(at), last));
    while let Some((separator, start)) = separator(&flat.text, end) {
        let Some((place, behind)) = section(&flat.text, start) else { return };
        let line = flat.line(start);
        match (separator, last, place) {
            (" to ", Place::Section(chapter, Some(from)), Place::Section(same, Some(to))) if chapter == same => {
                found.extend((from + 1..=to).map(|section| (line, Place::Section(chapter, Some(section)))));
            }
            _ => found.push((line, place)),
        }
        (last, end) = (place, behind);
    }
}

/// Reads a list of decisions.
fn decisions(flat: &Flat, at: usize, found: &mut Vec<(usize, Place)>) {
    let mut next = number(&flat.text, at).map(|(number, end)| (at, number, end));
    while let Some((at, number, end)) = next {
        found.push((flat.line(at), Place::Decision(number)));
        next = separator(&flat.text, end)
            .and_then(|(_, start)| self::number(&flat.text, start).map(|(number, end)| (start, number, end)));
    }
}

/// `6` or `6.3`, and where it ends.
fn section(text: &str, at: usize) -> Option<(Place, usize)> {
    let (chapter, end) = number(text, at)?;
    match text[end..].starts_with('.').then(|| number(text, end + 1)).flatten() {
        Some((section, end)) => Some((Place::Section(chapter, Some(section)), end)),
        None => Some((Place::Section(chapter, None), end)),
    }
}

/// A number that is no part of a word, and where it ends.
fn number(text: &str, at: usize) -> Option<(u32, usize)> {
    let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
    let end = at + digits;
    let is_word = text[end..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
    if is_word { None } else { Some((text[at..end].parse().ok()?, end)) }
}

/// What stands between two members of a list, and where the next one begins.
fn separator(text: &str, at: usize) -> Option<(&'static str, usize)> {
    [", and ", ", ", " and ", " to "]
        .into_iter()
        .find(|separator| text[at..].starts_with(separator))
        .map(|separator| (separator, at + separator.len()))
}

/// A file as one line, free of what marks comments, so that a citation may be broken over two.
struct Flat {
    text: String,
    /// Where each line of the file begins in the text.
    starts: Vec<usize>,
}

impl Flat {
    fn new(file: &File) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for (_, line) in file.lines() {
            starts.push(text.len());
            text.push_str(line.trim().trim_start_matches(['/', '!', '#', '*', '>']).trim_start());
            text.push(' ');
        }
        Self { text, starts }
    }

    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Steps over what may stand between a word and its numbers: marks at once behind it, a space, and other words.
    fn after(&self, mut at: usize, marks: &[&str], words: &[&str]) -> usize {
        while let Some(mark) = marks.iter().find(|mark| self.text[at..].starts_with(**mark)) {
            at += mark.len();
        }
        if !self.text[at..].starts_with(' ') {
            // No number follows at once: nothing is cited.
            return self.text.len();
        }
        at += 1;
        at + words.iter().find(|word| self.text[at..].starts_with(**word)).map_or(0, |word| word.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let file = File { path: "x.rs".to_owned(), text: text.to_owned() };
        citations(&file).iter().map(|(line, place)| format!("{line}: {place}")).collect()
    }

    #[test]
    fn all_forms_of_citations_are_understood() {
        for (text, cited) in [
            ("(protocol.md 6.2, 6.3).", &["1: section 6.2", "1: section 6.3"][..]),
            ("protocol.md 2.1 to 2.3", &["1: section 2.1", "1: section 2.2", "1: section 2.3"]),
            ("protocol.md 2.", &["1: section 2"]),
            ("`docs/protocol.md` section 4.4: x", &["1: section 4.4"]),
            ("(protocol.md 10, decision 38)", &["1: section 10", "1: decision 38"]),
            ("decision 19 alone, decisions 5 and 17", &["1: decision 19", "1: decision 5", "1: decision 17"]),
            (
                "//! x (protocol.md 6.3 and 10,\n//! decisions 1, 6)",
                &["1: section 6.3", "1: section 10", "2: decision 1", "2: decision 6"],
            ),
            ("    // protocol.md\n    // 3.10", &["2: section 3.10"]),
        ] {
            assert_eq!(read(text), cited, "{text}");
        }
    }

    #[test]
    fn numbers_that_cite_nothing_are_left_alone() {
        for text in
            ["RFC 6455 4.2", "see protocol.md.", "a decision 3x", "2 decisions", "protocol.md, 5 s", "[protocol.md]"]
        {
            assert_eq!(read(text), [""; 0], "{text}");
        }
    }
}
