//! A simulated host whose lookups and dials may go unanswered: what was asked meanwhile is never answered, as when a packet is lost
//! for good, and not when the path is healed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use hybridrelay::env::{Acceptor, BoxFuture, BoxSocket, Env, Environment};
use tokio::task::AbortHandle;

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
        (Env::new(Unanswered { env, answers: answers.clone() }), answers)
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

impl Environment for Unanswered {
    fn now(&self) -> Instant {
        self.env.now()
    }

    fn wall_clock(&self) -> SystemTime {
        self.env.wall_clock()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.env.random::<1>()[0]);
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.env.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        self.env.spawn(task)
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (env, host, (answer, _)) = (self.env.clone(), host.to_owned(), *self.answers.0.lock().unwrap());
        Box::pin(async move { answered(answer, env.resolve(&host, port)).await })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let (env, (_, answer)) = (self.env.clone(), *self.answers.0.lock().unwrap());
        Box::pin(async move { answered(answer, env.dial(address)).await })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let env = self.env.clone();
        Box::pin(async move { env.bind(address).await })
    }
}

/// So long an outage lasts: long enough that the delays have grown to what they become.
pub(crate) const OUTAGE: Duration = Duration::from_secs(60);
