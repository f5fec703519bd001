//! Makes a module of every Rust block in the README and in `docs/`, for the test binary `house`: there they compile, and the
//! tests in them run. A block therefore holds items, `use` first, as a source file does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    let mut modules = String::new();
    let mut blocks = Vec::new();
    for document in documents(&root) {
        let text = fs::read_to_string(root.join(&document)).expect("a document is UTF-8 text");
        let name = document.with_extension("").to_string_lossy().to_lowercase();
        let name: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        for (line, code) in rust_blocks(&text) {
            modules += "#[allow(dead_code, unused_variables, unreachable_pub)]\n";
            modules += &format!("mod {name}_line_{line} {{\n{code}}}\n");
            blocks.push((document.to_string_lossy().into_owned(), line));
        }
    }
    // What is compiled, for the comparison with what stands in the documents.
    modules += &format!("const COMPILED: &[(&str, usize)] = &{blocks:?};\n");
    let file = Path::new(&variable("OUT_DIR")).join("documents.rs");
    fs::write(file, modules).expect("the output directory is writable");
}

fn variable(name: &str) -> OsString {
    env::var_os(name).expect("cargo sets it for build scripts")
}

/// The README and everything in `docs/`, relative to the root, in a fixed order.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    for watched in ["README.md", "docs"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    found.retain(|document| root.join(document).is_file());
    found.sort();
    found
}

/// The text between lines of "```rust" and "```", with the number of the line that opens it.
fn rust_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line.trim_end() == "```rust" {
            let code = lines.by_ref().map_while(|(line, _)| (line.trim_end() != "```").then_some(line));
            blocks.push((number, code.fold(String::new(), |code, line| code + line + "\n")));
        }
    }
    blocks
}
