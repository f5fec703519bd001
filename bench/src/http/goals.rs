//! What relayed HTTP has to reach beside haproxy, in the median of the rounds.
//!
//! The comparison is not equal, and is not meant to be: a request takes two more steps at a relay (it becomes a message on a WebSocket,
//! and its answer one), is checked for a token, and is counted and told of. So most limits lie above one. They are what was reached, with
//! room for a busy machine and for other ones: where system calls are cheap, haproxy, which does little else, gains most. Latencies have
//! none, since their tail is the machine's.

use std::fmt;

use super::case::{Case, Quantity};
use super::contender::Contender;
use super::report::Results;
use crate::contender::Transport;
use crate::report::Spread;

/// A limit for the relay in one case, as a ratio to haproxy.
struct Goal {
    transport: Transport,
    case: Case,
    quantity: Quantity,
    who: Contender,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// How a goal was met.
pub(crate) struct Verdict {
    goal: Goal,
    measured: Spread,
}

/// Judges every goal for which there are numbers.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    let measured = |goal: Goal| {
        let what = (goal.case, goal.quantity);
        let measured = results.ratio(goal.transport, what, [goal.who, Contender::Haproxy])?;
        Some(Verdict { goal, measured })
    };
    goals().into_iter().filter_map(measured).collect()
}

fn goals() -> Vec<Goal> {
    use Contender::{Forward, Listener};
    use Limit::{AtLeast, AtMost};
    use Quantity::{Cpu, Rate, Throughput};
    let mut goals = Vec::new();
    let mut add = |case, quantity, who, plain, tls| {
        for (transport, limit) in [(Transport::Plain, plain), (Transport::Tls, tls)] {
            goals.push(Goal { transport, case, quantity, who, limit });
        }
    };
    let (one, many) = (Case::Small { connections: 1 }, Case::Small { connections: 32 });
    // On one connection at a time there is nothing that a wake-up could be shared with.
    add(one, Cpu, Listener, AtMost(6.0), AtMost(5.0));
    add(one, Rate, Listener, AtLeast(0.15), AtLeast(0.25));
    add(one, Rate, Forward, AtLeast(0.08), AtLeast(0.15));
    add(many, Cpu, Listener, AtMost(5.0), AtMost(3.2));
    add(many, Rate, Listener, AtLeast(0.25), AtLeast(0.4));
    add(many, Rate, Forward, AtLeast(0.2), AtLeast(0.25));
    add(Case::Download, Cpu, Listener, AtMost(1.8), AtMost(1.3));
    add(Case::Download, Throughput, Listener, AtLeast(0.35), AtLeast(0.8));
    add(Case::Upload, Cpu, Listener, AtMost(1.6), AtMost(0.9));
    add(Case::Upload, Throughput, Listener, AtLeast(0.35), AtLeast(0.8));
    goals
}

impl Verdict {
    pub(crate) fn is_met(&self) -> bool {
        match self.goal.limit {
            Limit::AtMost(limit) => self.measured.median <= limit,
            Limit::AtLeast(limit) => self.measured.median >= limit,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { transport, case, quantity, who, limit } = &self.goal;
        let verdict = if self.is_met() { "pass" } else { "FAIL" };
        let (sign, limit) = match limit {
            Limit::AtMost(limit) => ("≤", limit),
            Limit::AtLeast(limit) => ("≥", limit),
        };
        let measured = self.measured;
        write!(
            f,
            "| {who} | {case} | {transport} | {quantity} {sign} {limit:.2} × haproxy | {measured:.2} | {verdict} |"
        )
    }
}

/// A table with a row for each goal.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut table = String::from("| who | case | transport | goal | measured | verdict |\n|---|---|---|---|---|---|\n");
    for verdict in verdicts {
        table += &format!("{verdict}\n");
    }
    table
}
