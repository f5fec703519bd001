//! Messages that every language can make from their size, and what a receiver says about one.

use hybridrelay::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What binary payloads repeat: all bytes below 251, so that a shift by a frame or a buffer shows.
const BYTES: u8 = 251;

/// What text repeats: characters of one to four bytes, so that fragments end inside of some.
const TEXT: &str = "aé漢🌍";

/// What fills text up.
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// What a receiver got: enough to compare it with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// Text or binary.
    pub kind: Kind,
    /// Bytes.
    pub size: usize,
    /// Of the bytes, in hexadecimal digits.
    pub sha256: String,
}

/// The message of a kind and a size.
pub fn message(kind: Kind, size: usize) -> Message {
    seeded(kind, size, 0)
}

/// The message of a kind, a size and a seed, by which messages of one size differ: text in the letter that fills it up, bytes in the
/// place where they begin.
pub fn seeded(kind: Kind, size: usize, seed: usize) -> Message {
    match kind {
        Kind::Text => {
            let letter = LETTERS[(LETTERS.len() - 3 + seed % LETTERS.len()) % LETTERS.len()];
            Message::Text(TEXT.repeat(size / TEXT.len()) + &char::from(letter).to_string().repeat(size % TEXT.len()))
        }
        Kind::Binary => {
            let from = seed % usize::from(BYTES);
            Message::from((0..BYTES).cycle().skip(from).take(size).collect::<Vec<u8>>())
        }
    }
}

/// What a receiver of `message` should say.
pub fn digested(message: &Message) -> Digested {
    let kind = if message.as_text().is_some() { Kind::Text } else { Kind::Binary };
    Digested { kind, size: message.len(), sha256: sha256(message.as_bytes()) }
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// `bytes` in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
