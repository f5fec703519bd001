//! Looks for secrets where none may be: in everything that is logged, and in whatever else a test shows it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// What stays as it is in the values of a URL.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Everything at the lowest level, of every library. One exception: tungstenite prints whole messages at `trace`, and a library
/// cannot keep it from that; who logs so much of it has to leave it out, as the command line does.
const FILTER: &str = "trace,tungstenite=debug,tokio_tungstenite=debug";

/// Shorter texts would be found by accident.
const SHORTEST: usize = 8;

/// What must not occur, in every form in which it might.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Needle>);

#[derive(Clone, Debug)]
struct Needle {
    what: String,
    form: &'static str,
    text: String,
}

impl Secrets {
    /// Adds a secret; `what` is how a failing test calls it.
    pub fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= SHORTEST, "{what} is too short to be told from other text");
        let mut needle = |form, text: String| self.0.push(Needle { what: what.to_owned(), form, text });
        needle("as it is", secret.to_owned());
        needle("in JSON with escaped slashes", secret.replace('/', "\\/"));
        for set in [VALUE, NON_ALPHANUMERIC] {
            let encoded = utf8_percent_encode(secret, set).to_string();
            needle("percent-encoded in lower case", lower_hex(&encoded));
            needle("percent-encoded twice", utf8_percent_encode(&encoded, set).to_string());
            needle("percent-encoded", encoded);
        }
        needle("as bytes", format!("{:?}", secret.as_bytes()));
        needle("in hexadecimal", secret.bytes().map(|byte| format!("{byte:02x}")).collect());
        // In the middle of a longer text that was encoded, a secret begins at one of three offsets.
        for offset in 0..3 {
            let padded = [&vec![0; offset], secret.as_bytes()].concat();
            for encoded in [STANDARD.encode(&padded), URL_SAFE.encode(&padded)] {
                // What depends on the neighbours is left out.
                let begin = [0, 2, 3][offset];
                let end = padded.len() / 3 * 4;
                needle("in base64", encoded[begin..end].to_owned());
            }
        }
    }

    /// Adds a token: as a whole, and its signature.
    pub fn add_token(&mut self, what: &str, token: &str) {
        self.add(what, token);
        let signature = token.split('&').find_map(|field| field.rsplit_once("sig=").map(|(_, signature)| signature));
        let signature = signature.unwrap_or_else(|| panic!("{what} has no signature"));
        let signature = percent_encoding::percent_decode_str(signature).decode_utf8().expect("base64 is ASCII");
        self.add(&format!("the signature of {what}"), &signature);
    }

    /// The lines of a text that hold a secret, with what they hold.
    pub fn find(&self, text: &str) -> Vec<String> {
        let lines = text.lines().flat_map(|line| {
            let found = self.0.iter().filter(move |needle| line.contains(&needle.text));
            found.map(move |needle| format!("{} {}: {line}", needle.what, needle.form))
        });
        lines.collect()
    }

    /// Panics if a text holds a secret; `place` is where it comes from.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, text: &str) {
        let found = self.find(text);
        assert!(found.is_empty(), "{place} shows secrets:\n{}", found.join("\n"));
    }
}

fn lower_hex(encoded: &str) -> String {
    let mut hex = 0;
    let lower = encoded.chars().map(|character| {
        if character == '%' {
            hex = 2;
            return character;
        }
        if hex > 0 {
            hex -= 1;
            return character.to_ascii_lowercase();
        }
        character
    });
    lower.collect()
}

/// Everything that this thread logs from now on, as long as it lives; tasks of a runtime that runs on this thread alone included.
pub struct Log {
    text: Captured,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to listen, to the `log` crate as well.
    pub fn capture() -> Self {
        let text = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_ansi(false)
            .with_writer(text.clone())
            .finish();
        Self { text, _guard: subscriber.set_default() }
    }

    /// What was logged so far.
    pub fn text(&self) -> String {
        let bytes = self.text.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
