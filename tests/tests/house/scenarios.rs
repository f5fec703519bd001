//! What the scenarios of the conformance tests speak of stands in their README: whoever writes a program for a language needs no more.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files;

const README: &str = "tests/conformance/README.md";

#[test]
fn every_capability_and_operation_of_a_scenario_is_explained() {
    let readme = files::read(README).text;
    let scenarios = files::all().into_iter().filter(|file| file.path.starts_with("tests/scenarios/"));
    let mut names = BTreeSet::new();
    for file in scenarios {
        let scenario: Value = serde_json::from_str(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
        let needs = scenario["needs"].as_object().into_iter().flat_map(|roles| roles.values());
        let needs = needs.flat_map(|needs| needs.as_array().into_iter().flatten());
        names.extend(needs.filter_map(Value::as_str).map(str::to_owned));
        operations(&scenario["steps"], &mut names);
    }
    assert!(names.contains("accept") && names.contains("half-close"), "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{README} does not explain {missing:?}");
}

fn operations(steps: &Value, names: &mut BTreeSet<String>) {
    match steps {
        Value::Array(items) => items.iter().for_each(|item| operations(item, names)),
        Value::Object(fields) => {
            names.extend(fields.get("op").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| operations(value, names));
        }
        _ => {}
    }
}
