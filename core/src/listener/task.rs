//! The listener's task: gets online, stays online, hands out what comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};

use super::backoff::Backoff;
use super::control::{ControlChannel, ControlEvent, Identity, Opening};
use super::incoming::AnswerContext;
use super::missed::MissedEvents;
use super::queue::IncomingQueue;
use super::{Incoming, IncomingConnect, Status};
use crate::http::Intake;
use crate::options::Checked;
use crate::protocol::{Accept, Features, FromRelay};
use crate::token::TokenProvider;
use crate::{Error, ErrorKind};

/// A channel that lived this long starts the reconnect delays over. A shorter life counts as a failed attempt, or a relay that
/// accepts and closes at once would be hammered.
const PROVEN: Duration = Duration::from_secs(30);

/// How long a listener takes to close.
const CLOSE_LIMIT: Duration = Duration::from_millis(1_500);

/// How much of that the refusal of those who wait may take.
const REFUSE_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct ListenerTask {
    pub(super) checked: Checked,
    pub(super) identity: Identity,
    pub(super) reconnect: bool,
    pub(super) wait: bool,
    pub(super) context: Arc<AnswerContext>,
    pub(super) queue: Arc<IncomingQueue>,
    pub(super) missed: Arc<MissedEvents>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) status: watch::Sender<Status>,
    pub(super) features: watch::Sender<Features>,
    pub(super) closing: watch::Receiver<bool>,
    /// Told the outcome of the first open.
    pub(super) opened: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Drop for ListenerTask {
    /// The runtime may be shut down under the task, while the program still waits for what it brings.
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Closed, "the runtime of the listener was shut down");
        self.status.send_if_modified(|status| {
            let ends = !matches!(status, Status::Closed { .. });
            if ends {
                *status = Status::Closed { error: Some(error.clone()) };
            }
            ends
        });
        self.queue.close(Some(error));
    }
}

impl ListenerTask {
    pub(super) async fn run(mut self) {
        let failure = self.stay_online().await;
        // First, so that whoever is told the failure finds the status as well.
        self.status.send_replace(Status::Closed { error: failure.clone() });
        if let Some(opened) = self.opened.take() {
            let closed = || Error::new(ErrorKind::Closed, "the listener was closed before it was online");
            let _ = opened.send(Err(failure.unwrap_or_else(closed)));
            self.queue.close(None);
        } else {
            self.queue.close(failure);
        }
    }

    /// Returns the final failure, or `None` after the program's close.
    async fn stay_online(&mut self) -> Option<Error> {
        let env = self.checked.dialer.env().clone();
        let mut backoff = Backoff::default();
        let mut new_tokens = self.checked.credential.as_ref().and_then(TokenProvider::watch);
        loop {
            // A token that is set from here on is worth an attempt of its own.
            if let Some(new_tokens) = &mut new_tokens {
                new_tokens.borrow_and_update();
            }
            let mut closing = self.closing.clone();
            let mut begun = env.now();
            let opening = if self.opened.is_some() { Opening::First } else { Opening::Again };
            let opened = tokio::select! {
                biased;
                () = closed(&mut closing) => return None,
                opened = ControlChannel::open(&self.checked, &self.identity, opening) => opened,
            };
            let error = match opened {
                Ok(channel) => {
                    self.online(&channel);
                    let since = env.now();
                    let error = self.session(channel).await?;
                    begun = env.now();
                    if begun.saturating_duration_since(since) >= PROVEN {
                        backoff.reset();
                    }
                    error
                }
                Err(error) => error,
            };
            if self.is_final(&error) {
                return Some(error);
            }
            // A ready-made token that has expired is not tried again: only the program can help.
            let needs_token = error.kind() == ErrorKind::Unauthorized
                && error.status().is_none()
                && self.checked.credential.as_ref().is_some_and(|credential| !credential.is_renewable());
            let retry_in = (!needs_token).then(|| backoff.next(&env, &error, begun));
            tracing::info!(entity = %self.checked.entity, %error, ?retry_in, "the listener is offline");
            self.status.send_replace(Status::Offline { error, retry_in });
            tokio::select! {
                biased;
                () = closed(&mut closing) => return None,
                () = super::control::changed(&mut new_tokens), if needs_token => {}
                () = env.sleep(retry_in.unwrap_or_default()), if !needs_token => {}
            }
        }
    }

    /// Whether this failure ends the listener: always for the first open unless the program waits, later only without reconnect.
    fn is_final(&self, error: &Error) -> bool {
        if self.opened.is_none() {
            return !self.reconnect;
        }
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::ProxyAuthenticationRequired | ErrorKind::InvalidArgument => true,
            _ => !self.wait,
        }
    }

    fn online(&mut self, channel: &ControlChannel) {
        self.features.send_replace(channel.features.clone());
        self.status.send_replace(Status::Online { expires_at: channel.expires_at() });
        tracing::info!(entity = %self.checked.entity, relay = self.checked.address.authority(), "the listener is online");
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Ok(()));
        }
    }

    /// Serves one control channel. Returns why it ended, `None` for the program's close.
    async fn session(&mut self, mut channel: ControlChannel) -> Option<Error> {
        let mut closing = self.closing.clone();
        let mut expires_at = channel.expires_at();
        let mut requests =
            Intake::new(self.context.clone(), self.queue.clone(), channel.answers(), channel.features.clone());
        loop {
            let event = tokio::select! {
                biased;
                () = closed(&mut closing) => {
                    self.close(channel).await;
                    return None;
                }
                event = channel.next() => event,
            };
            match event {
                Ok(ControlEvent::Message(command)) => self.on_command(&mut channel, &mut requests, *command),
                Ok(ControlEvent::Body(body)) => requests.on_body(body),
                // A token whose end is shown below.
                Ok(ControlEvent::Renewed) => {}
                Err(error) => return Some(error),
            }
            if channel.expires_at() != expires_at {
                expires_at = channel.expires_at();
                self.status.send_replace(Status::Online { expires_at });
            }
        }
    }

    /// Goes offline by the program's will.
    async fn close(&self, mut channel: ControlChannel) {
        let env = self.checked.dialer.env();
        let until = env.now() + CLOSE_LIMIT;
        // Who waits unaccepted is refused while the relay still knows them as ours: with the channel they would be gone.
        self.queue.close(None);
        let refused = async {
            tokio::select! {
                biased;
                () = self.context.nothing_to_refuse() => {}
                // What it still says comes too late.
                () = async { while channel.next().await.is_ok() {} } => {}
            }
        };
        let _ = env.timeout(REFUSE_LIMIT, refused).await;
        channel.close(until.saturating_duration_since(env.now())).await;
    }

    fn on_command(&mut self, channel: &mut ControlChannel, requests: &mut Intake, command: FromRelay) {
        match command {
            FromRelay::Accept(accept) => self.on_accept(accept),
            FromRelay::Request(request) => {
                let permit = self.permits.clone().try_acquire_owned().ok();
                if let Some(refusal) = requests.on_request(request, permit) {
                    channel.push(refusal);
                }
            }
            FromRelay::Features(features) => {
                requests.on_features(features.clone());
                self.features.send_replace(features);
            }
            FromRelay::Cancel { request_id } => requests.on_cancel(&request_id),
            FromRelay::Events { id, dropped } => self.missed.tell(id, dropped),
            FromRelay::Unknown { key } => {
                tracing::debug!(key, "the relay sent a command that this version does not know");
            }
        }
    }

    fn on_accept(&self, accept: Accept) {
        if !self.context.may_dial(&accept.address) {
            tracing::warn!(tracking_id = accept.id, "the relay named an unprotected rendezvous; it is not dialled");
            return;
        }
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => {
                let connect = IncomingConnect::new(accept, self.context.clone(), permit);
                self.queue.push(Incoming::Connect(connect));
            }
            Err(_) => {
                tracing::warn!(
                    tracking_id = accept.id,
                    "too many senders wait for an answer; one is rejected with 503"
                );
                self.context.reject_later(accept, 503, "The listener has too many unanswered connections");
            }
        }
    }
}

/// Completes when the program closes the listener or drops its last handle.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender, the last handle, is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}
