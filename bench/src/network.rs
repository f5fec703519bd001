//! A network of the measurement's own: its loopback has no traffic of others, no firewall, and a plain congestion control.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Enters it, for this thread and whatever it starts from now on, and says what the network is like. Without the right to
/// (which root has) the measurement takes place on the machine's loopback: there a congestion control that paces, such as
/// bbr, makes the numbers restless.
pub(crate) fn enter() -> Result<String> {
    let what = match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            // The one that every kernel lets everybody choose.
            fs::write(CONGESTION_CONTROL, "reno").context("the congestion control cannot be chosen")?;
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip does not run")?;
            ensure!(up.success(), "the loopback interface does not come up");
            "a namespace of its own"
        }
        Err(_) => "the machine's loopback",
    };
    let congestion_control = fs::read_to_string(CONGESTION_CONTROL).unwrap_or_default();
    Ok(format!("{what}, {}", congestion_control.trim()))
}
