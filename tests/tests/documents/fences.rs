//! Fenced blocks of every document.

use std::fs;
use std::path::{Path, PathBuf};

use crate::instead::UNCHECKED;

/// A block between fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// From the repository's root.
    pub(crate) document: String,
    /// The number of the line that opens it.
    pub(crate) line: usize,
    /// What stands behind the opening fence.
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    /// For messages: where it stands.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// Languages that have a rule.
const KNOWN: [&str; 8] = ["", "rust", "console", "toml", "json", "nginx", "yaml", "c"];

/// Folders without documents of ours.
const NOT_OURS: [&str; 7] = ["target", "node_modules", ".git", ".venv", "__pycache__", "artifacts", "coverage"];

/// The blocks of a language, in the order in which they stand.
pub(crate) fn of(language: &str) -> Vec<Block> {
    all().into_iter().filter(|block| block.language == language).collect()
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the repository").to_owned()
}

fn all() -> Vec<Block> {
    let root = root();
    let mut documents = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
        blocks(&name, &fs::read_to_string(path).expect("text"))
    };
    documents.iter().flat_map(read).collect()
}

fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, opening)) = lines.next() {
        let Some(language) = opening.trim_start().strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text = inside.flat_map(|line| [line, "\n"]).collect();
        blocks.push(Block { document: document.to_owned(), line, language: language.trim().to_owned(), text });
    }
    blocks
}

#[test]
fn every_block_has_a_rule() {
    let excuses = |block: &Block| {
        UNCHECKED.iter().position(|(document, language, _)| {
            (block.document.as_str(), block.language.as_str()) == (*document, *language)
        })
    };
    let all = all();
    let excused: Vec<_> = all.iter().filter_map(excuses).collect();
    assert!((0..UNCHECKED.len()).all(|row| excused.contains(&row)), "a row of UNCHECKED stands for no block any more");
    let unknown: Vec<_> = all
        .iter()
        .filter(|block| !KNOWN.contains(&&*block.language) && excuses(block).is_none())
        .map(Block::place)
        .collect();
    assert!(unknown.is_empty(), "no rule for the language of {unknown:?}: see main.rs");
}

#[test]
fn a_block_without_a_language_holds_no_command() {
    for block in of("") {
        let command = block.text.lines().find(|line| line.trim_start().starts_with("$ "));
        assert_eq!(command, None, "{}: say ```console, so that it is run", block.place());
    }
}

#[test]
fn blocks_are_found_with_their_lines_and_languages() {
    let text = "a\n```console\n$ b\n```\n\n  ```\n  drawing\n  ```\n";
    let found: Vec<_> =
        blocks("x.md", text).into_iter().map(|block| (block.line, block.language, block.text)).collect();
    let expected = [(2, "console", "$ b\n"), (6, "", "  drawing\n")];
    assert_eq!(found, expected.map(|(line, language, text)| (line, language.to_owned(), text.to_owned())));
}
