//! Listeners, senders, connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hybridrelay::{
    Connection, Incoming, IncomingConnect, Listener, Proxy, Sender, SenderBuilder, Status, TokenProvider,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::command::{Command, described};
use crate::objects::Object;
use crate::{Outcome, Testee, requests, unable};

/// Options of listeners and senders, whose builders have the same methods.
macro_rules! configured {
    ($builder:expr, $command:expr, $token:expr) => {{
        let (mut builder, target, options) = ($builder, &$command.target, &$command.options);
        if let Some(token) = $token {
            builder = builder.credential(token.clone());
        }
        if let Some(pem) = &target.ca_pem {
            builder = builder.extra_ca_pem(pem.as_str());
        }
        if let Some(url) = &target.proxy {
            builder = builder.proxy(Proxy::url(url)?);
        }
        if let Some(limit) = options.connect_timeout {
            builder = builder.connect_timeout(Duration::from_millis(limit));
        }
        if let Some(limit) = options.close_timeout {
            builder = builder.close_timeout(Duration::from_millis(limit));
        }
        if let Some(limit) = options.max_message_size {
            builder = builder.max_message_size(limit);
        }
        builder
    }};
}

/// A sender for a target.
pub(crate) fn sender(command: &Command) -> hybridrelay::Result<Sender> {
    let token = command.target.token.as_ref().map(TokenProvider::ready_made).transpose()?;
    let builder: SenderBuilder = Sender::builder(&command.target.connection_string);
    configured!(builder, command, &token).build()
}

pub(crate) async fn open(testee: &Testee, command: &Command) -> Outcome {
    let token = command.target.token.as_ref().map(TokenProvider::ready_made).transpose()?;
    let mut builder = configured!(Listener::builder(&command.target.connection_string), command, &token);
    builder = builder.subprotocols(&command.options.subprotocols);
    if let Some(reconnect) = command.options.reconnect {
        builder = builder.reconnect(reconnect);
    }
    if let Some(wait) = command.options.wait {
        builder = builder.wait(wait);
    }
    if let Some(limit) = command.options.max_concurrent {
        builder = builder.max_concurrent(limit);
    }
    let listener = builder.open().await?;
    let status = Arc::new(Mutex::new(listener.status()));
    testee.objects.put(command.name()?, Object::Listener { listener, status, token });
    Ok(json!({}))
}

async fn incoming(testee: &Testee, command: &Command) -> Result<Option<Incoming>, crate::Failure> {
    let Object::Listener { listener, .. } = testee.objects.get(&command.on)? else {
        return Err(anyhow!("{} is no listener", command.on).into());
    };
    Ok(listener.accept().await?)
}

/// What is told of a sender.
fn introduced(command: &Command, connect: &IncomingConnect) -> Value {
    let header = command.header.as_ref().and_then(|name| connect.headers().get(name));
    json!({
        "header": header.map(|value| String::from_utf8_lossy(value.as_bytes())),
        "kind": "connect",
        "path": connect.path(),
        "query": connect.query().unwrap_or_default(),
        "subprotocols": connect.subprotocols().collect::<Vec<_>>(),
    })
}

pub(crate) async fn accept(testee: &Testee, command: &Command) -> Outcome {
    match incoming(testee, command).await? {
        None => Ok(json!({"end": true})),
        Some(Incoming::Connect(connect)) => {
            let mut told = introduced(command, &connect);
            let mut accepting = connect.accept();
            if let Some(name) = &command.subprotocol {
                accepting = accepting.subprotocol(name.clone());
            }
            let connection = accepting.await?;
            told["subprotocol"] = json!(connection.subprotocol());
            testee.objects.put(command.name()?, Object::Connection(connection));
            Ok(told)
        }
        Some(Incoming::Request(request)) => requests::taken(testee, command, request),
        Some(_) => Err(anyhow!("something came that is not known").into()),
    }
}

pub(crate) async fn reject(testee: &Testee, command: &Command) -> Outcome {
    match incoming(testee, command).await? {
        None => Ok(json!({"end": true})),
        Some(Incoming::Connect(connect)) => {
            let told = introduced(command, &connect);
            match command.status {
                Some(status) => connect.reject(status, command.reason.as_deref().unwrap_or_default()).await?,
                None => drop(connect),
            }
            Ok(told)
        }
        Some(other) => {
            drop(other);
            Ok(json!({"kind": "request"}))
        }
    }
}

pub(crate) async fn connect(testee: &Testee, command: &Command) -> Outcome {
    let mut connect = sender(command)?.connect().path(&command.path).query(&command.query);
    for (name, value) in &command.headers {
        connect = connect.header(name, value);
    }
    for name in &command.subprotocols {
        connect = connect.subprotocol(name);
    }
    let connection = connect.open().await?;
    let told = json!({"subprotocol": connection.subprotocol()});
    testee.objects.put(command.name()?, Object::Connection(connection));
    Ok(told)
}

pub(crate) async fn send(testee: &Testee, command: &Command) -> Outcome {
    let object = testee.objects.get(&command.on)?;
    let message = command.message()?;
    for _ in 0..command.times.unwrap_or(1) {
        match &object {
            Object::Connection(connection) => connection.send(message.clone()).await?,
            Object::Publisher(publisher) => publisher.publish(message.clone()).await?,
            Object::Stream(stream) => stream.write(message.as_bytes()).await?,
            Object::Request(request) => requests::write(request, message.clone().into_bytes()).await?,
            _ => return unable("send", &command.on),
        }
    }
    Ok(json!({}))
}

pub(crate) async fn receive(testee: &Testee, command: &Command) -> Outcome {
    match testee.objects.get(&command.on)? {
        Object::Connection(connection) => Ok(match connection.receive().await? {
            Some(message) => described(&message),
            None => ended(&connection),
        }),
        Object::Stream(stream) => stream.read(command).await,
        Object::Events(events) => crate::events::next(&events).await,
        Object::Request(request) => requests::read(&mut *request.body.lock().await, command).await,
        Object::Response(body) => requests::read(&mut *body.lock().await, command).await,
        Object::Listener { .. } | Object::Publisher(_) => unable("receive", &command.on),
    }
}

/// What is told of the peer's end.
fn ended(connection: &Connection) -> Value {
    let close = connection.peer_close().flatten();
    json!({
        "end": true,
        "closeCode": close.as_ref().map(|close| close.code),
        "closeReason": close.as_ref().map(|close| close.reason.as_str()),
    })
}

/// Sends everything back that comes, and closes behind the end.
pub(crate) async fn echo(testee: &Testee, command: &Command) -> Outcome {
    let Object::Connection(connection) = testee.objects.get(&command.on)? else {
        return unable("echo", &command.on);
    };
    let (mut messages, mut bytes, mut all) = (0, 0, Sha256::new());
    while let Some(message) = connection.receive().await? {
        messages += 1;
        bytes += message.len();
        all.update(message.as_bytes());
        connection.send(message).await?;
    }
    connection.close().await?;
    Ok(json!({"messages": messages, "bytes": bytes}))
}

pub(crate) async fn shutdown(testee: &Testee, command: &Command) -> Outcome {
    match testee.objects.get(&command.on)? {
        Object::Connection(connection) => connection.shutdown().await?,
        Object::Stream(stream) => stream.shutdown().await?,
        _ => return unable("shutdown", &command.on),
    }
    Ok(json!({}))
}

pub(crate) async fn close(testee: &Testee, command: &Command) -> Outcome {
    match testee.objects.get(&command.on)? {
        Object::Connection(connection) => match command.code {
            Some(code) => connection.close_with(code, command.reason.as_deref().unwrap_or_default()).await?,
            None => connection.close().await?,
        },
        Object::Listener { listener, .. } => listener.close().await,
        Object::Publisher(publisher) => publisher.close().await?,
        Object::Request(request) => requests::finish(&request).await?,
        Object::Stream(stream) => stream.connection.close().await?,
        Object::Events(_) | Object::Response(_) => return unable("close", &command.on),
    }
    Ok(json!({}))
}

pub(crate) async fn abort(testee: &Testee, command: &Command) -> Outcome {
    match testee.objects.get(&command.on)? {
        Object::Connection(connection) => connection.abort(),
        Object::Stream(stream) => stream.connection.abort(),
        Object::Publisher(publisher) => publisher.abort(),
        Object::Request(request) => requests::break_off(&request).await,
        _ => return unable("abort", &command.on),
    }
    Ok(json!({}))
}

pub(crate) async fn status(testee: &Testee, command: &Command) -> Outcome {
    match testee.objects.get(&command.on)? {
        Object::Listener { status, .. } => {
            let mut status = status.lock().await;
            let Some(until) = command.until.as_deref() else { return Ok(told(&status.current())) };
            let mut now = status.current();
            while told(&now)["status"] != until {
                match status.changed().await {
                    Some(next) => now = next,
                    None => return Ok(json!({"end": true})),
                }
            }
            Ok(told(&now))
        }
        Object::Request(request) => {
            request.cancellation.cancelled().await;
            Ok(json!({"status": if request.cancellation.is_cancelled() { "gone" } else { "answered" }}))
        }
        _ => unable("status", &command.on),
    }
}

fn told(status: &Status) -> Value {
    let (name, error) = match status {
        Status::Connecting => ("connecting", None),
        Status::Online { .. } => ("online", None),
        Status::Offline { error, .. } => ("offline", Some(error)),
        Status::Closed { error } => ("closed", error.as_ref()),
        _ => ("unknown", None),
    };
    json!({"status": name, "code": error.map(|error| error.kind().code())})
}

/// Gives a listener that was opened with a ready-made token another one.
pub(crate) fn token(testee: &Testee, command: &Command) -> Outcome {
    let Object::Listener { token: Some(provider), .. } = testee.objects.get(&command.on)? else {
        return unable("token", &command.on);
    };
    provider.set_token(command.token.as_deref().context("'token' is missing")?)?;
    Ok(json!({}))
}
