//! The Python package, as it tells of itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hybridrelay_tests::built;
use serde::Deserialize;

use crate::table::{Table, root};

/// Something public: a name of the package, a member or a parameter.
#[derive(Deserialize)]
struct Item {
    path: String,
    kind: Kind,
    documented: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Name,
    Method,
    Field,
    Value,
    Option,
    Parameter,
}

/// What the package offers, by `bindings-python/tests/surface.py`.
fn offered() -> BTreeMap<String, (Kind, bool)> {
    let folder = tempfile::tempdir().expect("a folder");
    built::python_package(folder.path());
    let script = root().join("bindings-python/tests/surface.py");
    let output = Command::new(built::python())
        .arg(Path::new(&script))
        .env("PYTHONPATH", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("a virtual environment");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let items: Vec<Item> = serde_json::from_slice(&output.stdout).expect("a list");
    items.into_iter().map(|item| (item.path, (item.kind, item.documented))).collect()
}

#[test]
fn every_python_symbol_of_the_table_is_there_and_documented() {
    let offered = offered();
    for (concept, symbol) in Table::read().symbols("python") {
        let documented = offered.get(symbol).map(|(_, documented)| *documented);
        assert_eq!(documented, Some(true), "{concept}: is there {symbol}, with a text?");
    }
}

#[test]
fn every_name_method_and_option_of_python_is_in_the_table() {
    let table = Table::read();
    let is_told = |path: &str, kind: Kind| {
        table.symbols("python").any(|(_, symbol)| match kind {
            // Options of senders are options of listeners as well.
            Kind::Option => symbol.contains("Options.") && symbol.rsplit('.').next() == path.rsplit('.').next(),
            Kind::Field | Kind::Parameter => true,
            Kind::Name | Kind::Method | Kind::Value => symbol == path,
        })
    };
    let missing: Vec<_> =
        offered().into_iter().filter(|(path, (kind, _))| !is_told(path, *kind)).map(|(path, _)| path).collect();
    assert!(missing.is_empty(), "not in tests/surface.toml: {missing:?}");
}
