//! HTTP: requests that are sent and answered.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use hybridrelay::{Body, IncomingRequest, ReasonPhrase};
use hybridrelay_tests::payload::hexadecimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::command::Command;
use crate::objects::{Answer, Object, Reader, Request};
use crate::{Failure, Outcome, Testee, streams};

pub(crate) async fn request(testee: &Testee, command: &Command) -> Outcome {
    let method = command.method.as_deref().unwrap_or("GET");
    let target =
        if command.query.is_empty() { command.path.clone() } else { format!("{}?{}", command.path, command.query) };
    let mut request = http::Request::builder().method(method).uri(if target.is_empty() { "/" } else { &target });
    for (name, value) in &command.headers {
        request = request.header(name, value);
    }
    let body = match (command.size, &command.base64) {
        (None, None) => Body::empty(),
        _ => command.bytes()?.into(),
    };
    let request = request.body(body).context("not a request")?;
    let sender = streams::sender(command)?;
    if command.one_way {
        let taken = sender.send_one_way(request).await?;
        return Ok(json!({"listeners": taken.listeners()}));
    }
    let response = sender.request(request).await?;
    let (parts, body) = response.into_parts();
    let reason = parts.extensions.get::<ReasonPhrase>().map(|reason| reason.0.clone());
    let mut told = json!({"status": parts.status.as_u16(), "reason": reason, "headers": headers(&parts.headers)});
    match &command.name {
        Some(name) => testee.objects.put(name, Object::Response(Arc::new(Mutex::new(Reader::new(body))))),
        None => add(&mut told, digest(&mut Reader::new(body), usize::MAX).await?),
    }
    Ok(told)
}

fn headers(fields: &http::HeaderMap) -> Value {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), json!(String::from_utf8_lossy(value.as_bytes())))
    };
    Value::Object(fields.iter().map(field).collect())
}

fn add(told: &mut Value, more: Value) {
    if let (Value::Object(told), Value::Object(more)) = (told, more) {
        told.extend(more);
    }
}

/// A request has come.
pub(crate) fn taken(testee: &Testee, command: &Command, request: IncomingRequest) -> Outcome {
    let told = json!({
        "kind": "request",
        "method": request.method().as_str(),
        "path": request.path(),
        "query": request.query().unwrap_or_default(),
        "headers": headers(request.headers()),
        "oneWay": request.is_one_way(),
    });
    let cancellation = request.cancellation();
    let (request, responder) = request.into_parts();
    let request = Request {
        body: Mutex::new(Reader::new(request.into_body())),
        answer: Mutex::new(Answer::Owed(responder)),
        cancellation,
    };
    testee.objects.put(command.name()?, Object::Request(Arc::new(request)));
    Ok(told)
}

pub(crate) async fn respond(testee: &Testee, command: &Command) -> Outcome {
    let Object::Request(request) = testee.objects.get(&command.on)? else {
        return Err(anyhow!("{} is no request", command.on).into());
    };
    let mut response = http::Response::builder().status(command.status.unwrap_or(200));
    for (name, value) in &command.headers {
        response = response.header(name, value);
    }
    if let Some(reason) = &command.reason {
        response = response.extension(ReasonPhrase(reason.clone()));
    }
    let response = response.body(()).context("not a response")?;
    let mut answer = request.answer.lock().await;
    let Answer::Owed(responder) = std::mem::replace(&mut *answer, Answer::Given) else {
        return Err(anyhow!("{} was answered", command.on).into());
    };
    if command.stream {
        let mut writer = responder.start(response)?;
        writer.flush().await?;
        *answer = Answer::Begun(writer);
    } else if command.echo {
        let mut body = request.body.lock().await;
        let body = std::mem::replace(&mut body.body, Body::empty());
        responder.send(response.map(|()| body)).await?;
    } else {
        let body = command.bytes()?;
        responder.send(response.map(|()| body)).await?;
    }
    Ok(json!({}))
}

/// Writes a piece of a response that was begun, and sees it off.
pub(crate) async fn write(request: &Request, data: Bytes) -> Result<(), Failure> {
    match &mut *request.answer.lock().await {
        Answer::Begun(writer) => {
            writer.write(data).await?;
            Ok(writer.flush().await?)
        }
        _ => Err(anyhow!("no response was begun").into()),
    }
}

pub(crate) async fn finish(request: &Request) -> Result<(), Failure> {
    match std::mem::replace(&mut *request.answer.lock().await, Answer::Given) {
        Answer::Begun(writer) => Ok(writer.finish().await?),
        _ => Err(anyhow!("no response was begun").into()),
    }
}

/// Lets the answer go as it is.
pub(crate) async fn break_off(request: &Request) {
    *request.answer.lock().await = Answer::Given;
}

/// Reads a body: a number of bytes, or everything.
pub(crate) async fn read(body: &mut Reader, command: &Command) -> Outcome {
    let wanted = if command.whole { usize::MAX } else { command.size.unwrap_or(usize::MAX) };
    Ok(digest(body, wanted).await?)
}

async fn digest(body: &mut Reader, wanted: usize) -> hybridrelay::Result<Value> {
    let (mut size, mut all, mut end) = (0, Sha256::new(), false);
    while size < wanted {
        match body.piece(wanted - size).await? {
            Some(piece) => {
                size += piece.len();
                all.update(&piece);
            }
            None => {
                end = true;
                break;
            }
        }
    }
    Ok(json!({"kind": "binary", "size": size, "sha256": hexadecimal(&all.finalize()), "end": end}))
}
