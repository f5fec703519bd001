//! How a listener gets online, and what is told of it.

use std::time::Duration;

use hybridrelay::{EntityPath, ErrorKind, Listener, ListenerBuilder, Status, StatusWatcher};
use serde_json::json;

use crate::console::Console;
use crate::failure::{Failure, describe};
use crate::relay::Route;
use crate::units::format_duration;

/// Gets online; with `wait`, as soon as the relay and the hybrid connection are there.
pub(crate) async fn open(
    builder: ListenerBuilder,
    wait: bool,
    route: &Route,
    entity: &EntityPath,
    console: Console,
) -> Result<Listener, Failure> {
    let opened = match builder.clone().open().await {
        Err(error) if wait && can_wait(&error) => {
            let failure = route.failure(error, entity, false);
            console.event("waiting", failure.to_json(), &format!("waiting for the relay: {}", failure.message()));
            builder.wait(true).open().await
        }
        opened => opened,
    };
    opened.map_err(|error| route.failure(error, entity, false))
}

/// Whether time may help against what failed, or only the user.
fn can_wait(error: &hybridrelay::Error) -> bool {
    !matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Unauthorized)
}

/// Tells when the listener gets online, with this text, and offline.
pub(crate) async fn report(
    mut status: StatusWatcher,
    console: Console,
    entity: EntityPath,
    authority: String,
    online: String,
) {
    while let Some(status) = status.changed().await {
        match status {
            Status::Online { .. } => {
                console.event("online", json!({"entity": entity.as_str(), "relay": authority}), &online);
            }
            Status::Offline { error, retry_in } => {
                let next = match retry_in {
                    Some(Duration::ZERO) => "trying again".to_owned(),
                    Some(wait) => format!("trying again in {}", format_duration(wait)),
                    None => "a new token is needed".to_owned(),
                };
                let retry_ms = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                let reason = describe(&error);
                let fields = json!({"entity": entity.as_str(), "reason": reason, "retryInMs": retry_ms});
                console.event("offline", fields, &format!("offline: {reason}; {next}"));
            }
            _ => {}
        }
    }
}
