//! The committed header is what the source says.

use std::path::Path;

/// Set to write the header anew: `UPDATE_DOCS=1 cargo test -p hybridrelay-ffi-c --test header`.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn the_header_is_that_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("a configuration");
    let bindings = cbindgen::Builder::new().with_crate(root).with_config(config).generate().expect("a header");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("text");
    let path = root.join("include/hybridrelay.h");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let committed = std::fs::read_to_string(&path).expect("there is a header");
    assert!(committed == made, "include/hybridrelay.h is not that of the source: run this test with {UPDATE}=1");
}
