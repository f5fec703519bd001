//! Events and presence.

use anyhow::anyhow;
use hybridrelay::{Event, Events, Message};
use serde_json::json;

use crate::command::{Command, described};
use crate::objects::Object;
use crate::{Outcome, Testee, streams};

pub(crate) async fn publish(testee: &Testee, command: &Command) -> Outcome {
    let publisher = streams::sender(command)?.publisher().path(&command.path).query(&command.query).open().await?;
    testee.objects.put(command.name()?, Object::Publisher(publisher));
    Ok(json!({}))
}

pub(crate) fn events(testee: &Testee, command: &Command) -> Outcome {
    let Object::Listener { listener, .. } = testee.objects.get(&command.on)? else {
        return Err(anyhow!("{} is no listener", command.on).into());
    };
    testee.objects.put(command.name()?, Object::Events(listener.events()));
    Ok(json!({}))
}

pub(crate) async fn next(events: &Events) -> Outcome {
    let Some(event) = events.next().await? else { return Ok(json!({"end": true})) };
    let mut told = match &event {
        Event::Message { message, .. } => described(message),
        Event::Request { body, .. } => described(&Message::from(body.clone())),
        Event::Missed { count, .. } => json!({"missed": count}),
        _ => json!({}),
    };
    told["event"] = json!(match event {
        Event::Message { .. } => "message",
        Event::Request { .. } => "request",
        _ => "missed",
    });
    told["path"] = json!(event.origin().path());
    Ok(told)
}

/// How many listen: now, or once there are at least so many.
pub(crate) async fn presence(command: &Command) -> Outcome {
    let sender = streams::sender(command)?;
    let Some(at_least) = command.at_least else {
        return Ok(json!({"count": sender.presence_now().await?.count}));
    };
    let mut watcher = sender.presence().await?;
    while watcher.current().count < at_least {
        watcher.changed().await.ok_or_else(|| anyhow!("the watcher has ended"))?;
    }
    Ok(json!({"count": watcher.current().count}))
}
