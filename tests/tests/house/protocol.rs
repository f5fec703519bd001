//! The numbers of `docs/protocol.md`: its sections, and the decisions of section 10.

use std::collections::BTreeSet;
use std::fmt;

use crate::files;

/// The document, from the root.
pub(crate) const PATH: &str = "docs/protocol.md";

/// A place in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// `6` or `6.3`.
    Section(u32, Option<u32>),
    /// A row of the table in section 10.
    Decision(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(chapter, None) => write!(f, "section {chapter}"),
            Self::Section(chapter, Some(section)) => write!(f, "section {chapter}.{section}"),
            Self::Decision(number) => write!(f, "decision {number}"),
        }
    }
}

/// All places in the order in which they stand.
pub(crate) fn places() -> Vec<Place> {
    let document = files::read(PATH);
    let mut places = Vec::new();
    let mut in_code = false;
    let mut chapter = 0;
    for line in document.text.lines() {
        in_code ^= line.starts_with("```");
        if in_code {
            continue;
        }
        let first_word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        if let Some(heading) = line.strip_prefix("# ") {
            // The title has no number.
            let Some(number) = first_word(heading).strip_suffix('.').and_then(|number| number.parse().ok()) else {
                continue;
            };
            chapter = number;
            places.push(Place::Section(chapter, None));
        } else if let Some(heading) = line.strip_prefix("## ") {
            let number = first_word(heading);
            let (of, section) = number.split_once('.').unwrap_or_else(|| panic!("{PATH}: {line:?} has no number"));
            assert_eq!(of.parse(), Ok(chapter), "{PATH}: {line:?} stands in chapter {chapter}");
            places.push(Place::Section(chapter, Some(section.parse().unwrap())));
        } else if chapter == 10
            && let Some(number) = line.strip_prefix("| ").and_then(|row| first_word(row).parse().ok())
        {
            places.push(Place::Decision(number));
        }
    }
    places
}

#[test]
fn sections_and_decisions_are_numbered_without_gaps_and_repetitions() {
    let places = places();
    let chapters = places.iter().filter_map(|place| match place {
        Place::Section(chapter, None) => Some(*chapter),
        _ => None,
    });
    let chapters: Vec<_> = chapters.collect();
    assert_eq!(chapters, (1..=11).collect::<Vec<_>>(), "chapters");
    for chapter in chapters {
        let sections = places.iter().filter_map(|place| match place {
            Place::Section(of, Some(section)) if *of == chapter => Some(*section),
            _ => None,
        });
        let sections: Vec<_> = sections.collect();
        assert_eq!(sections, (1..).take(sections.len()).collect::<Vec<_>>(), "sections of chapter {chapter}");
    }
    let decisions = places.iter().filter_map(|place| match place {
        Place::Decision(number) => Some(*number),
        Place::Section(..) => None,
    });
    let decisions: Vec<_> = decisions.collect();
    assert!(!decisions.is_empty());
    assert_eq!(decisions, (1..).take(decisions.len()).collect::<Vec<_>>(), "decisions");
}

/// The places as a set.
pub(crate) fn known() -> BTreeSet<Place> {
    places().into_iter().collect()
}
