//! The command line, as its own help tells it.

use std::collections::BTreeMap;
use std::process::Command;

use hybridrelay_tests::built;

use crate::table::Table;

/// The help of a subcommand; of the whole for an empty one.
fn help(subcommand: &str) -> String {
    let mut command = Command::new(built::program("hybridrelay"));
    // Wide, so that nothing is wrapped.
    let output = command.args(subcommand.split_whitespace()).arg("--help").env("COLUMNS", "500").output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{subcommand}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The subcommands that a help lists, with what they are for.
fn subcommands(help: &str) -> BTreeMap<&str, &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let pairs = listed.map(|line| line.trim().split_once(' ').unwrap_or((line.trim(), "")));
    pairs.map(|(name, about)| (name, about.trim())).filter(|(name, _)| *name != "help").collect()
}

/// Whether a help tells of an option what it does: behind it, or in the lines below.
fn explains(help: &str, option: &str) -> bool {
    let mut lines = help.lines();
    let is_option = |line: &str| line.trim_start().starts_with('-');
    let named = lines
        .by_ref()
        .find(|line| is_option(line) && line.split([' ', ',', '=']).any(|word| word.trim_end_matches("...") == option));
    let behind = named.and_then(|line| line.trim().split_once("  ")).is_some_and(|(_, about)| !about.trim().is_empty());
    behind || named.is_some() && lines.next().is_some_and(|line| !line.trim().is_empty() && !is_option(line))
}

#[test]
fn every_command_and_option_of_the_table_is_explained_by_the_help() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    for (concept, symbol) in Table::read().symbols("cli") {
        let (command, option) =
            symbol.split_once(" --").map_or((symbol, None), |(command, option)| (command, Some(option)));
        let (parent, name) = command.rsplit_once(' ').unwrap_or(("", command));
        let about = helps.entry(parent.to_owned()).or_insert_with(|| help(parent));
        let known = subcommands(about).get(name).is_some_and(|about| !about.is_empty());
        assert!(known, "{concept}: there is no subcommand '{command}', or nothing is said of it");
        if let Some(option) = option {
            let about = helps.entry(command.to_owned()).or_insert_with(|| help(command));
            assert!(
                explains(about, &format!("--{option}")),
                "{concept}: '{command}' has no --{option}, or nothing is said of it"
            );
        }
    }
}

#[test]
fn every_subcommand_is_in_the_table() {
    let table = Table::read();
    let mut left = vec![String::new()];
    let mut seen = 0;
    while let Some(parent) = left.pop() {
        for name in subcommands(&help(&parent)).into_keys() {
            let command = format!("{parent} {name}").trim().to_owned();
            assert!(
                table.symbols("cli").any(|(_, symbol)| symbol == command),
                "'{command}' is not in tests/surface.toml"
            );
            left.push(command);
            seen += 1;
        }
    }
    assert!(seen > 10, "the help lists subcommands");
}

#[test]
fn a_help_is_understood() {
    let help = "Commands:\n  a  Does it\n  b\n\nOptions:\n      --wait\n          Waits\n      --bare\n  -d, --data <X>  Sends\n";
    assert_eq!(subcommands(help), [("a", "Does it"), ("b", "")].into());
    assert!(explains(help, "--wait") && explains(help, "--data"));
    assert!(!explains(help, "--bare") && !explains(help, "--dat"));
}
