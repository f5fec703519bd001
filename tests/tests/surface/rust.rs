//! The Rust crates, as their sources tell.
//!
//! What rustdoc knows is to be had from nightly compilers only, and a path to a generic method cannot be compiled by itself. So the sources
//! are read, which rustfmt keeps in one form: what a crate's root and its public modules export, the items, and the methods and variants
//! of each type, also those that macros for options give to several.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::table::{Table, root};

/// What is defined somewhere in a crate, and whether it is documented: `Type`, `Type::method`, `Enum::Variant`, `function`.
struct Crate {
    sources: PathBuf,
    defined: BTreeMap<String, bool>,
}

/// What the lines inside of braces at the left margin belong to.
enum Inside {
    Nothing,
    Impl(String),
    Enum(String),
    Macro(String),
}

impl Crate {
    fn read(folder: &str) -> Self {
        let sources = root().join(folder).join("src");
        let mut texts = Vec::new();
        read_all(&sources, &mut texts);
        let mut reading = Reading::default();
        texts.iter().for_each(|text| reading.read(text));
        Self { sources, defined: reading.finish() }
    }

    /// Whether a path leads to something public that is documented.
    fn documents(&self, path: &str) -> bool {
        let mut names: Vec<_> = path.split("::").collect();
        let mut file = self.sources.join("lib.rs");
        let mut folder = self.sources.clone();
        while names.len() > 1 && names[0].starts_with(char::is_lowercase) {
            if !read(&file).contains(&format!("pub mod {};", names[0])) {
                return false;
            }
            file = folder.join(names[0]).with_extension("rs");
            folder.push(names.remove(0));
        }
        exported(&read(&file)).contains(names[0]) && self.defined.get(&names.join("::")) == Some(&true)
    }

    /// The public methods of a type.
    fn methods<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let prefix = format!("{name}::");
        let documented = self.defined.iter().filter(|(_, documented)| **documented);
        documented.filter_map(move |(path, _)| path.starts_with(&prefix).then_some(path.as_str()))
    }
}

#[derive(Default)]
struct Reading {
    defined: BTreeMap<String, bool>,
    /// Types that get the methods of a macro, and macros that hand on another's.
    given: Vec<(String, String)>,
}

impl Reading {
    fn read(&mut self, text: &str) {
        let mut inside = Inside::Nothing;
        let mut documented = false;
        for line in text.lines() {
            self.line(line, &mut inside, documented);
            let word = line.trim_start();
            // Attributes stand between a comment and its item.
            documented =
                word.starts_with("///") || documented && word.starts_with("#[") && !word.contains("doc(hidden)");
        }
    }

    fn line(&mut self, line: &str, inside: &mut Inside, documented: bool) {
        let mut define = |name: String| {
            let known = self.defined.entry(name).or_default();
            *known |= documented;
        };
        if !line.starts_with(' ') {
            if let Some((word, name)) = item(line) {
                define(name.to_owned());
                if word == "enum" {
                    *inside = Inside::Enum(name.to_owned());
                }
            } else if let Some(name) = line.strip_prefix("macro_rules! ") {
                *inside = Inside::Macro(name.trim_end_matches(" {").to_owned());
            } else if let Some(name) = implemented(line) {
                *inside = Inside::Impl(name.to_owned());
            } else if line == "}" {
                *inside = Inside::Nothing;
            }
            return;
        }
        let word = line.trim_start();
        let indent = line.len() - word.len();
        match inside {
            Inside::Impl(name) | Inside::Macro(name) if indent <= 8 => {
                if let Some((_, method)) = item(word) {
                    define(format!("{name}::{method}"));
                } else if let Some(macro_name) = word.strip_suffix("!();") {
                    let macro_name = macro_name.rsplit("::").next().unwrap_or_default();
                    self.given.push((name.clone(), macro_name.to_owned()));
                }
            }
            Inside::Enum(name) if indent == 4 && word.starts_with(char::is_uppercase) => {
                let variant = word.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                define(format!("{name}::{variant}"));
            }
            _ => {}
        }
    }

    /// Gives types the methods of the macros in them; twice, for macros in macros.
    fn finish(mut self) -> BTreeMap<String, bool> {
        for _ in 0..2 {
            for (name, macro_name) in &self.given {
                let prefix = format!("{macro_name}::");
                let methods = self
                    .defined
                    .iter()
                    .filter_map(|(path, known)| Some((path.strip_prefix(&prefix)?.to_owned(), *known)));
                for (method, known) in methods.collect::<Vec<_>>() {
                    self.defined.insert(format!("{name}::{method}"), known);
                }
            }
        }
        self.defined
    }
}

/// A public item or method: its keyword and name.
fn item(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("pub ")?;
    let rest = ["async ", "const ", "unsafe "].iter().fold(rest, |rest, word| match rest.strip_prefix(word) {
        Some(function) if function.contains("fn ") => function,
        _ => rest,
    });
    let (word, rest) = rest.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())?;
    ["struct", "enum", "trait", "type", "fn"].contains(&word).then_some((word, name))
}

/// The type of an `impl` that is of no trait.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?.strip_suffix('{')?.trim_end();
    let rest = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    let name = rest.split(['<', ' ']).next()?;
    (!rest.contains(" for ")).then_some(name)
}

/// What a module makes public under its own name.
fn exported(text: &str) -> BTreeSet<&str> {
    let mut names: BTreeSet<_> = text.lines().filter_map(item).map(|(_, name)| name).collect();
    for statement in text.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let leaves = statement.split(['{', '}', ',']).map(|path| path.rsplit("::").next().unwrap_or(path).trim());
        names.extend(leaves.filter(|name| !name.is_empty()));
    }
    names
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_all(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("sources").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(read(&path));
        }
    }
}

#[test]
fn every_rust_symbol_of_the_table_is_public_and_documented() {
    let (core, relay) = (Crate::read("core"), Crate::read("relay"));
    for (concept, symbol) in Table::read().symbols("rust") {
        let known = match symbol.strip_prefix("hybridrelay_relay::") {
            Some(path) => relay.documents(path),
            None => core.documents(symbol),
        };
        assert!(known, "{concept}: is {symbol} public, and documented?");
    }
}

#[test]
fn every_option_of_listeners_and_senders_is_in_the_table() {
    let (core, table) = (Crate::read("core"), Table::read());
    for method in ["ListenerBuilder", "SenderBuilder", "Connect"].iter().flat_map(|name| core.methods(name)) {
        assert!(table.symbols("rust").any(|(_, symbol)| symbol == method), "{method} is not in tests/surface.toml");
    }
}

#[test]
fn what_does_not_exist_is_not_found() {
    let core = Crate::read("core");
    for path in
        ["Listener", "Listener::accept", "ErrorKind::Tls", "listen", "token::SasToken::create", "SenderBuilder::proxy"]
    {
        assert!(core.documents(path), "{path}");
    }
    // No such thing; a private one; one that is hidden; one at another place; a variant of another type.
    for path in
        ["Listener::accept_all", "Checked", "ListenerBuilder::env", "SasToken", "Status::Tls", "tokens::SasToken"]
    {
        assert!(!core.documents(path), "{path}");
    }
}
