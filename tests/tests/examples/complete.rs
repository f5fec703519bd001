//! Nothing is left out of the examples without a reason.

use std::fs;

use crate::language::{self, Language};

/// Ideas that a language does not tell, and why.
const MISSING: &[(&str, Language, &str)] = &[
    ("grpc-hello", Language::C, "gRPC has no library for C"),
    (
        "grpc-hello",
        Language::Rust,
        "tonic takes a `ByteStream` as it is; what needs to be shown is a library that wants a socket",
    ),
    ("grpc-hello", Language::Shell, "a shell speaks no gRPC"),
    ("thrift-hello", Language::C, "Thrift for C needs GLib, and its transports are classes of that"),
    (
        "thrift-hello",
        Language::Rust,
        "the crate thrift wants blocking readers and writers; what needs to be shown is a transport of one's own",
    ),
    ("thrift-hello", Language::Shell, "a shell speaks no Thrift"),
];

#[test]
fn every_idea_is_told_in_every_language_or_a_reason_is_given() {
    for idea in language::ideas() {
        for language in Language::ALL {
            let excused = MISSING.iter().any(|(name, which, _)| *name == idea && *which == language);
            let exists = language.file(&idea).exists();
            assert_ne!(
                exists, excused,
                "{idea} in {language:?}: there is a file, or a row in the table of what is missing"
            );
        }
    }
}

#[test]
fn every_file_of_an_idea_is_run() {
    for idea in language::ideas() {
        let known: Vec<_> = Language::ALL.iter().map(|language| language.file(&idea)).collect();
        for entry in fs::read_dir(language::folder().join(&idea)).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert!(known.contains(&path), "{} is of no language that is known here", path.display());
        }
    }
}

#[test]
fn the_readme_names_every_idea() {
    let readme = fs::read_to_string(language::folder().join("README.md")).expect("text");
    for idea in language::ideas() {
        assert!(readme.contains(&format!("[`{idea}`]({idea})")), "{idea} is not in the table of examples/README.md");
    }
}
