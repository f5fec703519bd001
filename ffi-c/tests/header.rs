//! The committed header is what the source says.

use std::path::Path;

/// Set to write the header anew: `UPDATE_DOCS=1 cargo test -p hybridrelay-ffi-c --test header`.
const UPDATE: &str = "UPDATE_DOCS";

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The header, from the source.
fn made() -> String {
    let root = Path::new(ROOT);
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("a configuration");
    let bindings = cbindgen::Builder::new().with_crate(root).with_config(config).generate().expect("a header");
    let mut made = Vec::new();
    bindings.write(&mut made);
    String::from_utf8(made).expect("text")
}

#[test]
fn the_header_is_that_of_the_source() {
    let made = made();
    let path = Path::new(ROOT).join("include/hybridrelay.h");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let committed = std::fs::read_to_string(&path).expect("there is a header");
    assert!(committed == made, "include/hybridrelay.h is not that of the source: run this test with {UPDATE}=1");
}

#[test]
fn every_call_that_waits_has_a_form_for_the_queue() {
    // What waits for no other side: the queue itself, the log, and the end of everything.
    let without = ["hr_queue_next", "hr_log_next", "hr_shutdown", "hr_test_wait"];
    let header = made();
    let functions = header.split(';').filter_map(|statement| {
        let (before, parameters) = statement.rsplit_once("*/")?.1.split_once('(')?;
        Some((before.rsplit(' ').next()?.trim(), parameters))
    });
    let waiting: Vec<_> =
        functions.filter(|(_, parameters)| parameters.contains("uint32_t timeout_ms")).map(|(name, _)| name).collect();
    assert!(waiting.len() > 40, "the header has another form: {waiting:?}");
    for name in waiting {
        let has_one = header.contains(&format!(" {name}_submit("));
        assert_eq!(has_one, !without.contains(&name), "{name}");
    }
}
