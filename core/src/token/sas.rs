//! Shared access signatures: made, read and checked (protocol.md 2.1 to 2.3).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;

/// The word in front of a token.
const WORD: &str = "SharedAccessSignature";

/// What .NET leaves unencoded, so that both implementations write the same token.
const COMPONENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'!').remove(b'*').remove(b'(').remove(b')');

/// A token that lacks a field or has one that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MalformedToken: {0}")]
pub struct MalformedToken(&'static str);

/// A shared access signature: an audience, an expiry, the name of a rule, and a signature with the rule's key.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    /// The audience exactly as it stands in the token: what is signed (protocol.md 2.1).
    raw_audience: String,
    /// The expiry exactly as it stands in the token.
    raw_expiry: String,
    expiry: u64,
    signature: Vec<u8>,
    key_name: String,
}

impl SasToken {
    /// Signs a token with the text of a key; the key is not base64-decoded.
    pub fn create(audience: &str, key_name: &str, key: &str, expires_at: SystemTime) -> Self {
        let expiry = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut token = Self {
            raw_audience: utf8_percent_encode(audience, COMPONENT).to_string(),
            raw_expiry: expiry.to_string(),
            expiry,
            signature: Vec::new(),
            key_name: key_name.to_owned(),
        };
        token.signature = token.mac(key).finalize().into_bytes().to_vec();
        token
    }

    /// Reads a token. Fields may come in any order, the word in front in any case and behind `Bearer `.
    ///
    /// # Errors
    ///
    /// [`MalformedToken`] for a missing or unreadable field.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let text = text.trim();
        let text = strip_word(text, "Bearer").unwrap_or(text).trim_start();
        let fields = strip_word(text, WORD).ok_or(MalformedToken("the token is no SharedAccessSignature"))?;
        let (mut audience, mut signature, mut expiry, mut key_name) = (None, None, None, None);
        for field in fields.trim().split('&') {
            let Some((name, value)) = field.split_once('=') else { continue };
            match name {
                "sr" => audience = Some(value),
                "sig" => signature = Some(value),
                "se" => expiry = Some(value),
                "skn" => key_name = Some(value),
                _ => {}
            }
        }
        let raw_audience = audience.ok_or(MalformedToken("the audience (sr) is missing"))?;
        let raw_expiry = expiry.ok_or(MalformedToken("the expiry (se) is missing"))?;
        let signature = signature.ok_or(MalformedToken("the signature (sig) is missing"))?;
        let key_name = key_name.ok_or(MalformedToken("the key name (skn) is missing"))?;
        // Only percent-decoding: a plus in the base64 text is a plus.
        let signature: Vec<u8> = percent_decode_str(signature).collect();
        Ok(Self {
            raw_audience: raw_audience.to_owned(),
            raw_expiry: raw_expiry.to_owned(),
            expiry: raw_expiry.parse().map_err(|_| MalformedToken("the expiry (se) is not a number of seconds"))?,
            signature: STANDARD.decode(signature).map_err(|_| MalformedToken("the signature (sig) is not base64"))?,
            key_name: percent_decode_str(key_name)
                .decode_utf8()
                .map_err(|_| MalformedToken("the key name (skn) is not UTF-8"))?
                .into_owned(),
        })
    }

    /// Whether the token was signed with this key. Takes the same time for every signature.
    pub fn signature_matches(&self, key: &str) -> bool {
        self.mac(key).verify_slice(&self.signature).is_ok()
    }

    /// When the token ends.
    pub fn expires_at(&self) -> SystemTime {
        // A number that no clock holds means the far future.
        let far = Duration::from_secs(u64::from(u32::MAX) * 64);
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.expiry).min(far)
    }

    /// The name of the rule whose key signed it.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// What it is good for.
    pub fn audience(&self) -> Audience {
        Audience::parse(&percent_decode_str(&self.raw_audience).decode_utf8_lossy())
    }

    /// The token as text: a secret.
    pub fn to_text(&self) -> String {
        let signature = STANDARD.encode(&self.signature);
        format!(
            "{WORD} sr={}&sig={}&se={}&skn={}",
            self.raw_audience,
            utf8_percent_encode(&signature, COMPONENT),
            self.raw_expiry,
            utf8_percent_encode(&self.key_name, COMPONENT),
        )
    }

    fn mac(&self, key: &str) -> Hmac<Sha256> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC accepts any key length");
        mac.update(self.raw_audience.as_bytes());
        mac.update(b"\n");
        mac.update(self.raw_expiry.as_bytes());
        mac
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("key_name", &self.key_name)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(word.len())?;
    (first.eq_ignore_ascii_case(word) && rest.starts_with(' ')).then(|| &rest[1..])
}

/// What a token names: scheme, port, query, fragment, `$hc/` and a trailing slash do not count (protocol.md 2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    host: String,
    /// Percent-decoded, in lower case.
    segments: Vec<String>,
}

impl Audience {
    /// Reads a URI, with or without scheme.
    pub fn parse(uri: &str) -> Self {
        let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((v6, _)) => v6,
            None => authority.split(':').next().unwrap_or_default(),
        };
        let mut segments = segments(path);
        if segments.first().is_some_and(|first| first == "$hc") {
            segments.remove(0);
        }
        Self { host: host.to_ascii_lowercase(), segments }
    }

    /// The host, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the audience is the namespace as a whole.
    pub fn is_namespace(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether the audience includes a requested path (entity and suffix): it is the namespace root or a prefix of the path by whole
    /// segments, without case. The host is the caller's to compare.
    pub fn covers(&self, path: &str) -> bool {
        segments(path).starts_with(&self.segments)
    }
}

fn segments(path: &str) -> Vec<String> {
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().to_lowercase();
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        key: String,
        se: u64,
        skn: String,
        signatures: Vec<Signature>,
        audiences: Vec<AudienceCase>,
    }

    #[derive(Deserialize)]
    struct Signature {
        sr: String,
        sig: String,
        by: String,
    }

    #[derive(Deserialize)]
    struct AudienceCase {
        audience: String,
        entity: String,
        suffix: String,
        covers: bool,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../../tests/vectors/sas.json")).unwrap()
    }

    #[test]
    fn point_01_all_vectors_verify_and_a_flipped_byte_does_not() {
        let vectors = vectors();
        for Signature { sr, sig, by } in &vectors.signatures {
            let encoded = utf8_percent_encode(sig, COMPONENT);
            for sig in [encoded.to_string(), sig.clone()] {
                let text = format!("sharedaccesssignature sig={sig}&se={}&skn={}&sr={sr}", vectors.se, vectors.skn);
                let token = SasToken::parse(&text).unwrap();
                assert!(token.signature_matches(&vectors.key), "{by}");
                assert_eq!(token.key_name(), vectors.skn);
                assert!(!token.signature_matches(&vectors.key.replace('9', "8")), "{by}");
            }
            for at in 0..32 {
                let mut flipped = STANDARD.decode(sig).unwrap();
                flipped[at] ^= 1;
                let text = format!("{WORD} sr={sr}&sig={}&se={}&skn=x", STANDARD.encode(flipped), vectors.se);
                assert!(!SasToken::parse(&text).unwrap().signature_matches(&vectors.key), "{by} byte {at}");
            }
        }
    }

    #[test]
    fn what_we_create_is_what_net_creates() {
        let vectors = vectors();
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(vectors.se);
        let token = SasToken::create("http://contoso.example.net/hyco/", &vectors.skn, &vectors.key, expires);
        let net = vectors.signatures.iter().find(|signature| signature.by == ".NET").unwrap();
        let sig = utf8_percent_encode(&net.sig, COMPONENT);
        assert_eq!(token.to_text(), format!("{WORD} sr={}&sig={sig}&se={}&skn=tester", net.sr, vectors.se));
        assert_eq!(SasToken::parse(&token.to_text()), Ok(token));
    }

    #[test]
    fn audiences_cover_what_they_should() {
        for case in vectors().audiences {
            let covers = Audience::parse(&case.audience).covers(&format!("{}{}", case.entity, case.suffix));
            assert_eq!(covers, case.covers, "{} for {}{}", case.audience, case.entity, case.suffix);
        }
        assert_eq!(Audience::parse("SB://H.example:443/$hc/x").host(), "h.example");
        assert_eq!(Audience::parse("http://[::1]:9/x").host(), "::1");
    }

    #[test]
    fn a_missing_field_is_named() {
        for (text, what) in [
            ("", "no SharedAccessSignature"),
            ("Basic abc", "no SharedAccessSignature"),
            ("SharedAccessSignature sig=AA==&se=1&skn=n", "(sr)"),
            ("SharedAccessSignature sr=a&se=1&skn=n", "(sig)"),
            ("SharedAccessSignature sr=a&sig=AA==&skn=n", "(se)"),
            ("SharedAccessSignature sr=a&sig=AA==&se=x&skn=n", "(se)"),
            ("SharedAccessSignature sr=a&sig=AA==&se=1", "(skn)"),
            ("SharedAccessSignature sr=a&sig=!&se=1&skn=n", "base64"),
        ] {
            let error = SasToken::parse(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
        assert!(SasToken::parse("bearer SharedAccessSignature sr=a&sig=AA==&se=1&skn=n").is_ok());
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = SasToken::create("http://h/x/", "n", "k", SystemTime::UNIX_EPOCH);
        assert!(!format!("{token:?}").contains(&STANDARD.encode(&token.signature)));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text: String, field in "[a-z%&=+/0-9]{0,60}") {
            let _ = SasToken::parse(&text);
            let _ = SasToken::parse(&format!("{WORD} {field}"));
            let _ = Audience::parse(&text);
        }

        #[test]
        fn what_is_written_reads_back(audience in "[ -~]{0,40}", name: String, key in ".{1,40}", seconds in 0u64..1 << 33) {
            let token = SasToken::create(&audience, &name, &key, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let read = SasToken::parse(&token.to_text()).unwrap();
            prop_assert!(read.signature_matches(&key));
            prop_assert_eq!(read.expires_at(), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(read, token);
        }
    }
}
