//! The C library, as its header declares it.

use std::collections::BTreeMap;

use crate::table::{Table, root};

/// What the header declares, and whether a comment stands in front of it. What exists for tests alone is left out.
fn declared() -> BTreeMap<String, bool> {
    let header = std::fs::read_to_string(root().join("ffi-c/include/hybridrelay.h")).expect("the header");
    let mut declared = BTreeMap::new();
    let mut documented = false;
    let mut hidden = false;
    // The comment of a struct stands where it begins, its name where it ends.
    let mut documented_struct = false;
    for line in header.lines() {
        if line.starts_with("#if defined(HR_TEST_HOOKS)") {
            hidden = true;
        } else if line.starts_with("#endif") {
            hidden = false;
        }
        if line.starts_with("typedef struct") && line.ends_with('{') {
            documented_struct = documented;
        }
        if let Some((name, is_struct)) = name(line)
            && !hidden
        {
            declared.insert(name.to_owned(), if is_struct { documented_struct } else { documented });
        }
        documented = line == " */";
    }
    declared
}

/// What a line declares, and whether it is a struct's end.
fn name(line: &str) -> Option<(&str, bool)> {
    if let Some(rest) = line.strip_prefix("#define ") {
        return rest.split(' ').next().filter(|name| name.starts_with("HR_")).map(|name| (name, false));
    }
    if let Some(name) = line.strip_prefix("} ") {
        return name.strip_suffix(';').map(|name| (name, true));
    }
    if line.starts_with("typedef") {
        return line.strip_suffix(';').and_then(|line| line.rsplit(' ').next()).map(|name| (name, false));
    }
    let begins_a_declaration = line.starts_with(|first: char| first.is_ascii_alphabetic());
    let (head, _) = line.split_once('(').filter(|_| begins_a_declaration)?;
    head.rsplit([' ', '*']).next().filter(|name| name.starts_with("hr_")).map(|name| (name, false))
}

#[test]
fn every_c_symbol_of_the_table_is_declared_with_a_comment() {
    let declared = declared();
    for (concept, symbol) in Table::read().symbols("c") {
        assert_eq!(declared.get(symbol), Some(&true), "{concept}: is {symbol} declared, with a comment?");
    }
}

#[test]
fn every_declaration_of_the_header_is_in_the_table() {
    let table = Table::read();
    let missing: Vec<_> =
        declared().into_keys().filter(|name| !table.symbols("c").any(|(_, symbol)| symbol == name)).collect();
    assert!(missing.is_empty(), "not in tests/surface.toml: {missing:?}");
}

#[test]
fn every_form_of_a_declaration_is_understood() {
    for (line, expected) in [
        ("#define HR_OK 0", Some(("HR_OK", false))),
        ("#define HYBRIDRELAY_H", None),
        ("typedef uint32_t hr_code;", Some(("hr_code", false))),
        ("typedef struct hr_error hr_error;", Some(("hr_error", false))),
        ("} hr_message;", Some(("hr_message", true))),
        ("hr_code hr_listener_open(const char *connection_string,", Some(("hr_listener_open", false))),
        ("const char *hr_version(void);", Some(("hr_version", false))),
        ("                         size_t len,", None),
        (" * hr_listener_open(…)", None),
    ] {
        assert_eq!(name(line), expected, "{line}");
    }
}
