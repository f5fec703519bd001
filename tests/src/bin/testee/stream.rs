//! Connections as bytes.

use std::io;

use anyhow::anyhow;
use hybridrelay::{ByteStream, Connection, Error};
use hybridrelay_tests::payload::hexadecimal;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Mutex;

use crate::command::Command;
use crate::objects::Object;
use crate::{Failure, Outcome, Testee};

/// A connection as bytes. Reading holds up no write.
pub(crate) struct Stream {
    pub(crate) connection: Connection,
    reader: Mutex<ReadHalf<ByteStream>>,
    writer: Mutex<WriteHalf<ByteStream>>,
}

/// Makes bytes of a connection.
pub(crate) fn bytes(testee: &Testee, command: &Command) -> Outcome {
    let Object::Connection(connection) = testee.objects.get(&command.on)? else {
        return Err(anyhow!("{} is no connection", command.on).into());
    };
    let (reader, writer) = tokio::io::split(connection.clone().into_stream()?);
    let stream = Stream { connection, reader: Mutex::new(reader), writer: Mutex::new(writer) };
    testee.objects.put(command.name()?, Object::Stream(stream.into()));
    Ok(json!({}))
}

impl Stream {
    pub(crate) async fn write(&self, data: &[u8]) -> Result<(), Failure> {
        let mut writer = self.writer.lock().await;
        writer.write_all(data).await.map_err(of_stream)?;
        writer.flush().await.map_err(of_stream)
    }

    /// Reads so many bytes, or all that are left.
    pub(crate) async fn read(&self, command: &Command) -> Outcome {
        let mut reader = self.reader.lock().await;
        let mut left = if command.whole { usize::MAX } else { command.size.unwrap_or(usize::MAX) };
        let (mut size, mut all, mut end, mut buffer) = (0, Sha256::new(), false, vec![0; 64 * 1024]);
        while left > 0 && !end {
            let most = left.min(buffer.len());
            let len = reader.read(&mut buffer[..most]).await.map_err(of_stream)?;
            all.update(&buffer[..len]);
            (size, left, end) = (size + len, left - len, len == 0);
        }
        Ok(json!({"kind": "binary", "size": size, "sha256": hexadecimal(&all.finalize()), "end": end}))
    }

    pub(crate) async fn shutdown(&self) -> Result<(), Failure> {
        self.writer.lock().await.shutdown().await.map_err(of_stream)
    }
}

/// The SDK's error is within.
fn of_stream(error: io::Error) -> Failure {
    let text = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<Error>()) {
        Some(Ok(ours)) => Failure::Sdk(*ours),
        _ => Failure::Fault(anyhow!("an error that is not of the SDK: {text}")),
    }
}
