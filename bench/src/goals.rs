//! What the relay has to reach: ratios to the other contenders in the median of the rounds, and memory.

use std::fmt;

use crate::case::{CASES, Case};
use crate::contender::{Contender, Transport};
use crate::report::{Results, Spread};

/// A limit for our relay in one case.
pub(crate) struct Goal {
    case: Case,
    transport: Transport,
    limit: Limit,
}

enum Limit {
    /// At most so many times what this contender needs.
    Times(f64, Contender),
    /// Less than this contender needs.
    Below(Contender),
    /// At most so much, in the case's unit.
    Absolute(f64),
}

/// How a goal was met.
pub(crate) struct Verdict {
    goal: Goal,
    measured: Spread,
}

/// Judges every goal for which there are numbers.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    let measured = |goal: Goal| {
        let measured = match goal.limit {
            Limit::Times(_, other) | Limit::Below(other) => results.ratio(goal.case, goal.transport, other)?,
            Limit::Absolute(_) => results.spread(goal.case, goal.transport, Contender::Ours)?,
        };
        Some(Verdict { goal, measured })
    };
    goals().into_iter().filter_map(measured).collect()
}

fn goals() -> Vec<Goal> {
    use Contender::{Bare, Haproxy, Tungstenite};
    let mut goals = Vec::new();
    let mut add = |case, transport, limit| goals.push(Goal { case, transport, limit });
    for case in CASES {
        match case {
            Case::Bulk { .. } => {
                add(case, Transport::Plain, Limit::Times(0.75, Tungstenite));
                add(case, Transport::Plain, Limit::Below(Haproxy));
                add(case, Transport::Plain, Limit::Times(1.6, Bare));
                add(case, Transport::Tls, Limit::Times(1.0, Tungstenite));
                add(case, Transport::Tls, Limit::Times(0.7, Haproxy));
                add(case, Transport::Tls, Limit::Times(1.4, Bare));
            }
            Case::Pipelined { message: 64 } => {
                add(case, Transport::Plain, Limit::Times(1.0 / 3.0, Tungstenite));
                add(case, Transport::Tls, Limit::Times(1.0 / 3.0, Tungstenite));
            }
            Case::Idle => {
                add(case, Transport::Plain, Limit::Absolute(3.0));
                add(case, Transport::Tls, Limit::Absolute(20.0));
            }
            _ => {}
        }
    }
    goals
}

impl Verdict {
    pub(crate) fn is_met(&self) -> bool {
        match self.goal.limit {
            Limit::Times(limit, _) | Limit::Absolute(limit) => self.measured.median <= limit,
            Limit::Below(_) => self.measured.median < 1.0,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { case, transport, limit } = &self.goal;
        let verdict = if self.is_met() { "pass" } else { "FAIL" };
        let measured = &self.measured;
        match limit {
            Limit::Times(limit, other) => {
                write!(f, "| {case} | {transport} | ≤ {limit:.2} × {other} | {measured:.2} | {verdict} |")
            }
            Limit::Below(other) => {
                write!(f, "| {case} | {transport} | < 1.00 × {other} | {measured:.2} | {verdict} |")
            }
            Limit::Absolute(limit) => {
                write!(f, "| {case} | {transport} | ≤ {limit} {} | {measured:.1} | {verdict} |", case.unit())
            }
        }
    }
}
