//! What commands have made, by the names that they gave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use hybridrelay::{
    Body, Cancellation, Connection, Events, Listener, Publisher, Responder, ResponseWriter, StatusWatcher,
    TokenProvider,
};
use serde_json::json;
use tokio::sync::Mutex;

use crate::command::Command;
use crate::stream::Stream;
use crate::{Outcome, lock};

/// An object; clones are handles to the same.
#[derive(Clone)]
pub(crate) enum Object {
    Listener { listener: Listener, status: Arc<Mutex<StatusWatcher>>, token: Option<TokenProvider> },
    Connection(Connection),
    Stream(Arc<Stream>),
    Publisher(Publisher),
    Events(Events),
    Request(Arc<Request>),
    Response(Arc<Mutex<Reader>>),
}

/// A request that came.
pub(crate) struct Request {
    pub(crate) body: Mutex<Reader>,
    pub(crate) answer: Mutex<Answer>,
    pub(crate) cancellation: Cancellation,
}

/// How far its answer is.
pub(crate) enum Answer {
    Owed(Responder),
    Begun(ResponseWriter),
    Given,
}

/// A body that is read in pieces of wanted sizes.
pub(crate) struct Reader {
    pub(crate) body: Body,
    left: Bytes,
}

impl Reader {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, left: Bytes::new() }
    }

    /// The next piece of at most so many bytes; `None` at the end.
    pub(crate) async fn piece(&mut self, most: usize) -> hybridrelay::Result<Option<Bytes>> {
        if self.left.is_empty() {
            match self.body.chunk().await? {
                Some(chunk) => self.left = chunk,
                None => return Ok(None),
            }
        }
        let len = most.min(self.left.len());
        Ok(Some(self.left.split_to(len)))
    }
}

#[derive(Default)]
pub(crate) struct Objects(StdMutex<BTreeMap<String, Object>>);

impl Objects {
    pub(crate) fn put(&self, name: &str, object: Object) {
        lock(&self.0).insert(name.to_owned(), object);
    }

    pub(crate) fn get(&self, name: &str) -> Result<Object> {
        lock(&self.0).get(name).cloned().with_context(|| format!("there is no {name:?}"))
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Drops an object, or all whose names begin with something.
    pub(crate) fn release(&self, command: &Command) -> Outcome {
        let mut objects = lock(&self.0);
        match &command.prefix {
            Some(prefix) => objects.retain(|name, _| !name.starts_with(prefix)),
            None => drop(objects.remove(&command.on)),
        }
        Ok(json!({}))
    }
}
