//! Links between the documents of the repository.

use crate::files::{self, File};

#[test]
fn every_link_of_a_document_leads_to_a_file_and_heading() {
    let files = files::all();
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.is_one_of(&["md"])) {
        for (line, link) in links(file) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = resolve(&file.path, path);
            let leads = files::root().join(&path).exists()
                && (heading.is_empty() || headings(&files::read(&path)).iter().any(|slug| slug == heading));
            if !leads {
                broken.push(format!("{}:{line} {link}", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The lines outside code blocks.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    file.lines().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Links into the repository, with their lines.
fn links(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(file) {
        for piece in text.split("](").skip(1) {
            let Some((link, _)) = piece.split_once(')') else { continue };
            if !link.contains("://") && !link.starts_with("mailto:") {
                found.push((line, link.to_owned()));
            }
        }
    }
    found
}

/// A link's path from the root.
fn resolve(from: &str, link: &str) -> String {
    if link.is_empty() {
        return from.to_owned();
    }
    let mut folders: Vec<_> = from.split('/').collect();
    folders.pop();
    for step in link.split('/') {
        match step {
            "." => {}
            ".." => drop(folders.pop()),
            name => folders.push(name),
        }
    }
    folders.join("/")
}

/// The names under which a document's headings can be reached.
fn headings(file: &File) -> Vec<String> {
    let headings = prose(file).filter(|(_, line)| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(|(_, line)| slug(line)).collect()
}
