//! The Rust blocks of the README and of `docs/`, as modules (see `tests/build.rs`): what they show compiles, and their tests run.

use crate::files;

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

#[test]
fn every_rust_block_of_the_documents_is_compiled() {
    let mut blocks = Vec::new();
    for file in files::all().into_iter().filter(|file| file.is_one_of(&["md"])) {
        // However the fence is written: one that says more than the language would not be compiled.
        let is_rust = |line: &str| {
            let fence = line.trim_start().to_ascii_lowercase();
            fence.starts_with("```") && fence.trim_start_matches(['`', ' ']).starts_with("rust")
        };
        blocks.extend(file.lines().filter(|(_, line)| is_rust(line)).map(|(line, _)| (file.path.clone(), line)));
    }
    let compiled: Vec<_> = COMPILED.iter().map(|(path, line)| ((*path).to_owned(), *line)).collect();
    assert_eq!(blocks, compiled, "left: the blocks that stand there, right: those that are compiled");
}
