//! A simulated host whose lookups and dials may go unanswered: what was asked meanwhile is never answered, as when a packet is lost
//! for good, and not when the path is healed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hybridrelay::env::{BoxFuture, BoxSocket, Env};
use hybridrelay_tests::detour::{self, Way};

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Right,
    /// An error at once.
    Error,
    /// None, ever.
    None,
}

/// What becomes of lookups and dials from now on.
#[derive(Clone, Debug)]
pub(crate) struct Answers(Arc<Mutex<(Answer, Answer)>>);

impl Answers {
    /// The environment of a host, and what decides on its lookups and dials.
    pub(crate) fn of(env: Env) -> (Env, Self) {
        let answers = Self(Arc::new(Mutex::new((Answer::Right, Answer::Right))));
        (detour::by(Unanswered { env, answers: answers.clone() }), answers)
    }

    pub(crate) fn to_lookups(&self, answer: Answer) {
        self.0.lock().unwrap().0 = answer;
    }

    pub(crate) fn to_dials(&self, answer: Answer) {
        self.0.lock().unwrap().1 = answer;
    }
}

struct Unanswered {
    env: Env,
    answers: Answers,
}

/// What a question is answered now, wherever it leads to.
async fn answered<T>(answer: Answer, right: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match answer {
        Answer::Right => right.await,
        Answer::Error => Err(io::Error::other("temporary failure")),
        Answer::None => std::future::pending().await,
    }
}

impl Way for Unanswered {
    fn ordinary(&self) -> &Env {
        &self.env
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (env, host, (answer, _)) = (self.env.clone(), host.to_owned(), *self.answers.0.lock().unwrap());
        Box::pin(async move { answered(answer, env.resolve(&host, port)).await })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let (env, (_, answer)) = (self.env.clone(), *self.answers.0.lock().unwrap());
        Box::pin(async move { answered(answer, env.dial(address)).await })
    }
}

/// So long an outage lasts: long enough that the delays have grown to what they become.
pub(crate) const OUTAGE: Duration = Duration::from_secs(60);
