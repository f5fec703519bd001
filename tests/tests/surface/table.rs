//! `tests/surface.toml`, read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Concepts by their kind and name.
#[derive(Deserialize)]
pub(crate) struct Table {
    languages: Vec<String>,
    #[serde(flatten)]
    kinds: BTreeMap<String, BTreeMap<String, BTreeMap<String, Cell>>>,
}

/// What a language has for a concept.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Cell {
    One(String),
    Several(Vec<String>),
    None { without: String },
}

impl Cell {
    pub(crate) fn symbols(&self) -> &[String] {
        match self {
            Self::One(symbol) => std::slice::from_ref(symbol),
            Self::Several(symbols) => symbols,
            Self::None { .. } => &[],
        }
    }
}

impl Table {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(root().join("tests/surface.toml")).expect("the table");
        toml::from_str(&text).unwrap_or_else(|error| panic!("tests/surface.toml: {error}"))
    }

    /// The symbols of a language, and the concepts that they stand for.
    pub(crate) fn symbols<'a>(&'a self, language: &'a str) -> impl Iterator<Item = (String, &'a str)> {
        self.concepts().flat_map(move |(concept, cells)| {
            let symbols = cells.get(language).map_or(&[][..], Cell::symbols);
            symbols.iter().map(move |symbol| (concept.clone(), symbol.as_str()))
        })
    }

    /// Whether a concept is there.
    fn has(&self, kind: &str, name: &str) -> bool {
        self.kinds.get(kind).is_some_and(|concepts| concepts.contains_key(name))
    }

    fn concepts(&self) -> impl Iterator<Item = (String, &BTreeMap<String, Cell>)> {
        let of_kind = |(kind, concepts): (&String, _)| (kind.clone(), concepts);
        self.kinds.iter().map(of_kind).flat_map(
            |(kind, concepts): (String, &BTreeMap<String, BTreeMap<String, Cell>>)| {
                concepts.iter().map(move |(name, cells)| (format!("{kind}.{name}"), cells))
            },
        )
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the repository").to_owned()
}

#[test]
fn every_concept_has_a_symbol_or_a_reason_in_every_language() {
    let table = Table::read();
    for (concept, cells) in table.concepts() {
        assert_eq!(cells.keys().collect::<Vec<_>>(), sorted(&table.languages), "the languages of {concept}");
        for (language, cell) in cells {
            let says_something = match cell {
                Cell::One(symbol) => !symbol.is_empty(),
                Cell::Several(symbols) => !symbols.is_empty() && symbols.iter().all(|symbol| !symbol.is_empty()),
                Cell::None { without } => without.len() > 1,
            };
            assert!(says_something, "{concept} in {language}: neither a symbol nor a reason");
        }
        assert!(cells.values().any(|cell| !cell.symbols().is_empty()) || concept.starts_with("control."), "{concept}");
    }
}

#[test]
fn every_kind_of_error_is_a_concept() {
    let table = Table::read();
    for kind in hybridrelay::ErrorKind::ALL {
        assert!(table.has("kind", &format!("{kind:?}")), "{kind:?}");
    }
}

fn sorted(languages: &[String]) -> Vec<&String> {
    let mut sorted: Vec<_> = languages.iter().collect();
    sorted.sort();
    sorted
}
