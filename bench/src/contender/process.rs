//! A process that is measured from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use crate::serve::Announcement;

/// A child process. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    clock: ClockId,
    _file: Option<NamedTempFile>,
}

impl Process {
    /// Runs one of the contenders that this program serves, from this build or from another.
    pub(crate) fn serve(program: &Path, name: &str, certificate: Option<&Path>) -> Result<(Self, Announcement)> {
        let mut command = Command::new(program);
        command.arg("serve").arg(name);
        if let Some(file) = certificate {
            command.arg("--certificate").arg(file);
        }
        Self::announced(command)
    }

    /// Runs a program that says on its standard output when it is ready, and ends with its standard input.
    pub(crate) fn announced(mut command: Command) -> Result<(Self, Announcement)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::spawn(command)?;
        let stdout = process.child.stdout.take().context("the child has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "it ended before it was ready");
        Ok((process, serde_json::from_str(&line)?))
    }

    /// Runs a program that is talked to over its standard input and output.
    pub(crate) fn conversing(mut command: Command) -> Result<(Self, ChildStdin, BufReader<ChildStdout>)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::spawn(command)?;
        let stdin = process.child.stdin.take().context("the child has no input")?;
        let stdout = process.child.stdout.take().context("the child has no output")?;
        Ok((process, stdin, BufReader::new(stdout)))
    }

    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("{} does not run; is it installed?", command.get_program().display()))?;
        let clock = clock_getcpuclockid(Pid::from_raw(child.id().cast_signed()))?;
        Ok(Self { child, clock, _file: None })
    }

    /// Keeps a file for as long as the process.
    pub(super) fn with_file(mut self, file: NamedTempFile) -> Self {
        self._file = Some(file);
        self
    }

    /// The CPU time that all its threads have used so far, ended ones included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now().context("the contender has gone")?.into())
    }

    /// The memory of its own that it holds, in bytes: neither shared nor the kernel's.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself is no harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
