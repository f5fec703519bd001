//! The data that all languages share, `tests/vectors/*.json`.

use serde_json::Value;

use crate::files;

#[test]
fn every_file_of_vectors_says_what_it_is_about_and_is_used() {
    let files = files::all();
    let vectors: Vec<_> = files.iter().filter(|file| file.path.starts_with("tests/vectors/")).collect();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let path = &vector.path;
        let data: Value = serde_json::from_str(&vector.text).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(data["about"].is_string(), "{path} has no text named 'about'");
        let name = path.strip_prefix("tests/").expect("it was chosen for its path");
        let is_read = |text: &str| text.contains(&format!("{name}\"")) || text.contains(&format!("{name}'"));
        let used = files.iter().any(|file| file.is_one_of(&["rs", "js", "mjs", "ts", "py"]) && is_read(&file.text));
        assert!(used, "no program reads {path}");
    }
}
