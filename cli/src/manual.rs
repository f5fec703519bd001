//! What a package brings beside the program: completions for shells, and manual pages. Both are made from the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments;
use crate::failure::Failure;

const COMPLETIONS: &str = "\
Examples:
  hybridrelay completions bash > /etc/bash_completion.d/hybridrelay
  hybridrelay completions zsh > ~/.zfunc/_hybridrelay
  hybridrelay completions fish > ~/.config/fish/completions/hybridrelay.fish";

/// Write a shell's completions of this command on standard output
#[derive(Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual page of this command on standard output, or all pages into a directory
///
/// There is one page for the command and one for each subcommand, in section 1: hybridrelay.1, hybridrelay-serve.1, …
#[derive(Args)]
pub(crate) struct ManArguments {
    /// The directory, such as /usr/local/share/man/man1
    dir: Option<PathBuf>,
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "hybridrelay", &mut text);
    print(&text)
}

pub(crate) fn man(arguments: ManArguments) -> Result<(), Failure> {
    // The help subcommand has no page: the pages are the help.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    match arguments.dir {
        None => print(&page(command).map_err(|error| Failure::io("the page cannot be written", &error))?),
        Some(dir) => write_all(&command, &dir),
    }
}

/// Writes a command's page and those of its subcommands, however deep.
fn write_all(command: &Command, dir: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let file = dir.join(format!("{name}.1"));
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&file, page(command.clone())?));
    written.map_err(|error| Failure::io(format!("{} cannot be written", file.display()), &error))?;
    command.get_subcommands().try_for_each(|command| write_all(command, dir))
}

/// A page. The examples stand in it as they are, and not filled into lines.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command.after_help(""));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    for section in examples.iter().flat_map(|text| text.split("\n\n")) {
        let (title, body) = match section.split_once(":\n") {
            Some((title, body)) if !title.contains('\n') => (title, body),
            _ => ("Notes", section),
        };
        writeln!(text, ".SH {}\n.nf", title.to_uppercase())?;
        for line in body.lines() {
            // A line must not look like a request, nor a dash like a hyphen.
            writeln!(text, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"))?;
        }
        writeln!(text, ".fi")?;
    }
    Ok(text)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("standard output cannot be written", &error))
}
