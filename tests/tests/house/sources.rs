//! What must stand in no file.

use crate::files;

/// Where something stands: `path:line what`.
fn find(extensions: Option<&[&str]>, phrases: &[&str]) -> Vec<String> {
    // Here they are written with a dot in the middle, so that this file holds none itself.
    let phrases: Vec<_> = phrases.iter().map(|phrase| phrase.replace('·', "")).collect();
    let mut found = Vec::new();
    for file in files::all() {
        if extensions.is_some_and(|extensions| !file.is_one_of(extensions)) {
            continue;
        }
        for (line, text) in file.lines() {
            let phrase = phrases.iter().find(|phrase| text.contains(phrase.as_str()));
            found.extend(phrase.map(|phrase| format!("{}:{line} {phrase}", file.path)));
        }
    }
    found
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let found = find(None, &["/wo·rk/", "/ro·ot/"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_source_is_a_stub_and_no_test_is_skipped() {
    let rust = ["to·do!(", "unimple·mented!(", "#[ign·ore", ", ign·ore)]", "```ign·ore", "TO·DO", "FIX·ME"];
    let scripts = [".sk·ip(", ".to·do(", ".on·ly(", "TO·DO", "FIX·ME"];
    let python = ["pytest.sk·ip", "mark.sk·ip", "unittest.sk·ip", "TO·DO", "FIX·ME"];
    let mut found = find(Some(&["rs"]), &rust);
    found.extend(find(Some(&["js", "mjs", "cjs", "ts"]), &scripts));
    found.extend(find(Some(&["py"]), &python));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
