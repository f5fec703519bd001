//! Connection strings (protocol.md 1.1, 1.2).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::token::{Secret, TokenProvider};
use crate::{EntityPath, Error, RelayAddress, Result};

/// The keys, as they are written.
const KEYS: [&str; 8] = [
    "Endpoint",
    "EntityPath",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "OperationTimeout",
    "Authentication",
    "UseDevelopmentEmulator",
];

/// The longest key name and key (protocol.md 1.2).
const MAX_KEY: usize = 256;

/// An `OperationTimeout` is shorter: the days that a TimeSpan of .NET can hold, in a round number.
const MAX_DAYS: u64 = 10_000_000;

/// A parsed connection string, such as
/// `Endpoint=sb://relay.example.net/;SharedAccessKeyName=rule;SharedAccessKey=…;EntityPath=hyco`.
///
/// Keys are compared without case, the last of several equal keys wins, `OperationTimeout` is `hh:mm:ss` or whole seconds. `Debug`
/// and `Display` hide the secrets; [`to_connection_string`](Self::to_connection_string) does not.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    endpoint: RelayAddress,
    entity_path: Option<EntityPath>,
    credential: Credential,
    operation_timeout: Option<Duration>,
    emulator: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Credential {
    None,
    Key {
        name: String,
        key: Secret,
    },
    Signature(Secret),
    /// The `Authentication` key: the program must bring a token provider.
    Other(String),
}

impl ConnectionString {
    /// The hybrid connection, if one is named.
    pub fn entity_path(&self) -> Option<&EntityPath> {
        self.entity_path.as_ref()
    }

    /// The same string with this `EntityPath`.
    pub fn with_entity_path(mut self, entity: EntityPath) -> Self {
        self.entity_path = Some(entity);
        self
    }

    /// `OperationTimeout`.
    pub fn operation_timeout(&self) -> Option<Duration> {
        self.operation_timeout
    }

    /// `SharedAccessKeyName`.
    pub fn key_name(&self) -> Option<&str> {
        match &self.credential {
            Credential::Key { name, .. } => Some(name),
            _ => None,
        }
    }

    /// `SharedAccessKey`. A secret.
    pub fn key(&self) -> Option<&str> {
        match &self.credential {
            Credential::Key { key, .. } => Some(key.expose()),
            _ => None,
        }
    }

    /// Whether `UseDevelopmentEmulator=true` asks to go without TLS.
    pub fn uses_development_emulator(&self) -> bool {
        self.emulator
    }

    /// The address: endpoint and hybrid connection.
    ///
    /// # Errors
    ///
    /// None at present; the type leaves room for endpoints that are looked up.
    pub fn address(&self) -> Result<RelayAddress> {
        let mut address = self.endpoint.clone();
        if self.emulator {
            address = address.with_plaintext();
        }
        Ok(match &self.entity_path {
            Some(entity) => address.with_entity(entity.clone()),
            None => address,
        })
    }

    /// The credential; `None` for anonymous senders, and where `Authentication` leaves it to the program.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the key or signature is not usable.
    pub fn token_provider(&self) -> Result<Option<TokenProvider>> {
        match &self.credential {
            Credential::None | Credential::Other(_) => Ok(None),
            Credential::Key { name, key } => Ok(Some(TokenProvider::shared_access_key(name.clone(), key.expose()))),
            Credential::Signature(token) => TokenProvider::ready_made(token.expose()).map(Some),
        }
    }

    /// The string in full, **with its secrets**.
    pub fn to_connection_string(&self) -> String {
        self.write(Secret::expose)
    }

    fn write(&self, show: impl Fn(&Secret) -> &str) -> String {
        let mut text = format!("Endpoint=sb://{}/;", self.endpoint.authority());
        if let Some(entity) = &self.entity_path {
            text.push_str(&format!("EntityPath={entity};"));
        }
        match &self.credential {
            Credential::None => {}
            Credential::Key { name, key } => {
                text.push_str(&format!("SharedAccessKeyName={name};SharedAccessKey={};", show(key)));
            }
            Credential::Signature(token) => text.push_str(&format!("SharedAccessSignature={};", show(token))),
            Credential::Other(kind) => text.push_str(&format!("Authentication={kind};")),
        }
        if let Some(timeout) = self.operation_timeout {
            let seconds = timeout.as_secs();
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
            let days = if days > 0 { format!("{days}.") } else { String::new() };
            text.push_str(&format!("OperationTimeout={days}{hours:02}:{minutes:02}:{:02}", seconds % 60));
            if timeout.subsec_nanos() > 0 {
                text.push_str(&format!(".{:07}", timeout.subsec_nanos() / 100));
            }
            text.push(';');
        }
        if self.emulator {
            text.push_str("UseDevelopmentEmulator=true;");
        }
        text
    }
}

impl FromStr for ConnectionString {
    type Err = Error;

    /// # Errors
    ///
    /// `InvalidArgument` that names the key and what is wrong with it; values that may be secret are not repeated.
    fn from_str(text: &str) -> Result<Self> {
        let mut values: [Option<&str>; KEYS.len()] = [None; KEYS.len()];
        for (index, piece) in text.split(';').filter(|piece| !piece.is_empty()).enumerate() {
            let Some((key, value)) = piece.split_once('=') else {
                // The piece itself may be a part of a key, so it is not shown.
                return Err(Error::invalid(format!("part {} of the connection string has no '='", index + 1))
                    .with_hint("a connection string is written Key=Value;Key=Value"));
            };
            let Some(slot) = KEYS.iter().position(|known| known.eq_ignore_ascii_case(key)) else {
                return Err(unknown_key(key));
            };
            values[slot] = Some(value);
        }
        let [endpoint, entity, name, key, signature, timeout, authentication, emulator] = values;

        let endpoint = parse_endpoint(endpoint)?;
        let entity_path = match entity {
            Some(entity) => {
                Some(entity.parse().map_err(|error: Error| Error::invalid(format!("EntityPath: {error}")))?)
            }
            None => None,
        };
        Ok(Self {
            endpoint,
            entity_path,
            credential: parse_credential(name, key, signature, authentication)?,
            operation_timeout: timeout.map(parse_timeout).transpose()?,
            emulator: emulator.map(parse_bool).transpose()?.unwrap_or(false),
        })
    }
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(|_| "…"))
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({self})")
    }
}

fn unknown_key(key: &str) -> Error {
    // A key that is no word at all is more likely a piece of a secret.
    if key.len() > 40 || !key.chars().all(|character| character.is_ascii_alphanumeric() || character == ' ') {
        return Error::invalid("the connection string has a key that is not known");
    }
    let nearest = KEYS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &key.to_ascii_lowercase()), known))
        .min()
        .filter(|(distance, _)| *distance <= 5);
    let error = Error::invalid(format!("the connection string has the key {key:?}, which is not known"));
    match nearest {
        Some((_, known)) => error.with_hint(format!("did you mean {known}?")),
        None => error.with_hint(format!("known keys: {}", KEYS.join(", "))),
    }
}

fn parse_endpoint(value: Option<&str>) -> Result<RelayAddress> {
    let Some(value) = value else {
        return Err(Error::invalid("the connection string has no Endpoint").with_hint("add Endpoint=sb://host/"));
    };
    let is_sb = value.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("sb"));
    if !is_sb {
        return Err(Error::invalid("Endpoint does not begin with sb://").with_hint("write Endpoint=sb://host/"));
    }
    let address: RelayAddress = value.parse().map_err(|error: Error| Error::invalid(format!("Endpoint: {error}")))?;
    if address.entity().is_some() {
        return Err(Error::invalid("Endpoint names a path").with_hint("name the hybrid connection with EntityPath"));
    }
    Ok(address)
}

fn parse_credential(
    name: Option<&str>,
    key: Option<&str>,
    signature: Option<&str>,
    authentication: Option<&str>,
) -> Result<Credential> {
    let exclusive = |one: &str, other: &str| Err(Error::invalid(format!("{one} and {other} exclude each other")));
    if let Some(kind) = authentication {
        if name.is_some() || key.is_some() || signature.is_some() {
            return exclusive("Authentication", "SharedAccessKeyName, SharedAccessKey, SharedAccessSignature");
        }
        return Ok(Credential::Other(kind.to_owned()));
    }
    match (name, key, signature) {
        (None, None, None) => Ok(Credential::None),
        (None, None, Some("")) => Err(Error::invalid("SharedAccessSignature is empty")),
        (None, None, Some(signature)) => Ok(Credential::Signature(Secret::new(signature))),
        (_, _, Some(_)) => exclusive("SharedAccessSignature", "SharedAccessKeyName and SharedAccessKey"),
        (Some(_), None, None) => Err(Error::invalid("SharedAccessKeyName is given without SharedAccessKey")),
        (None, Some(_), None) => Err(Error::invalid("SharedAccessKey is given without SharedAccessKeyName")),
        (Some(name), Some(key), None) => {
            for (what, value) in [("SharedAccessKeyName", name), ("SharedAccessKey", key)] {
                if value.is_empty() {
                    return Err(Error::invalid(format!("{what} is empty")));
                }
                if value.len() > MAX_KEY {
                    return Err(Error::invalid(format!("{what} is longer than {MAX_KEY} characters")));
                }
            }
            Ok(Credential::Key { name: name.to_owned(), key: Secret::new(key) })
        }
    }
}

/// `[d.]hh:mm:ss[.fffffff]` as .NET writes it, or whole seconds as Java does.
fn parse_timeout(value: &str) -> Result<Duration> {
    let parsed = if value.contains(':') { parse_time_span(value) } else { value.parse().ok().map(Duration::from_secs) };
    let is_usable = |timeout: &Duration| !timeout.is_zero() && timeout.as_secs() < MAX_DAYS * 86_400;
    parsed.filter(is_usable).ok_or_else(|| {
        Error::invalid(format!("OperationTimeout {value:?} is not a positive duration of less than {MAX_DAYS} days"))
            .with_hint("write hh:mm:ss, such as 00:01:30, or whole seconds, such as 90")
    })
}

fn parse_time_span(value: &str) -> Option<Duration> {
    let mut parts = value.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str, limit: u64| text.parse::<u64>().ok().filter(|number| *number < limit);
    let whole =
        number(days, MAX_DAYS)? * 86_400 + number(hours, 24)? * 3600 + number(minutes, 60)? * 60 + number(seconds, 60)?;
    if fraction.is_empty() || fraction.len() > 7 {
        return None;
    }
    let hundreds_of_nanos = number(&format!("{fraction:0<7}"), 10_000_000)?;
    Some(Duration::from_secs(whole) + Duration::from_nanos(hundreds_of_nanos * 100))
}

fn parse_bool(value: &str) -> Result<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid("UseDevelopmentEmulator is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "9f8QyJ2m+Zr1/abcDEFghiJKLmnoPQRstuVWXyz0123=";

    fn parse(text: &str) -> Result<ConnectionString> {
        text.parse()
    }

    #[test]
    fn the_documented_example_is_read() {
        let parsed = parse(&format!(
            "Endpoint=sb://relay.example.net/;SharedAccessKeyName=listen-only;SharedAccessKey={KEY};EntityPath=hyco"
        ))
        .unwrap();
        assert_eq!(parsed.address().unwrap().to_string(), "sb://relay.example.net/hyco");
        assert_eq!((parsed.key_name(), parsed.key()), (Some("listen-only"), Some(KEY)));
    }

    #[test]
    fn order_case_doubled_separators_and_repetitions_do_not_matter() {
        let parsed = parse(";;entitypath=a;ENDPOINT=sb://h;EntityPath=b;;").unwrap();
        assert_eq!(parsed.address().unwrap().to_string(), "sb://h/b");
    }

    #[test]
    fn both_notations_of_the_timeout_are_read() {
        for (text, millis) in
            [("90", 90_000), ("00:01:30", 90_000), ("1.00:00:00.5", 86_400_500), ("90000", 90_000_000)]
        {
            let parsed = parse(&format!("Endpoint=sb://h/;OperationTimeout={text}")).unwrap();
            assert_eq!(parsed.operation_timeout(), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["0", "00:00:00", "-5", "1:2", "00:61:00", "x", "18446744073709551615", "10000000.00:00:00"] {
            let error = parse(&format!("Endpoint=sb://h/;OperationTimeout={text}")).unwrap_err();
            assert!(error.to_string().contains("OperationTimeout"), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_one() {
        let error = parse("Endpoint=sb://h/;SharedAccesKey=x").unwrap_err();
        assert!(error.to_string().contains("SharedAccesKey"));
        assert_eq!(error.hint(), Some("did you mean SharedAccessKey?"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, word) in [
            ("SharedAccessKeyName=a;SharedAccessKey=b", "no Endpoint"),
            ("Endpoint=https://h/", "sb://"),
            ("Endpoint=sb://h/hyco", "EntityPath"),
            ("Endpoint=sb://h/;SharedAccessKeyName=a", "without SharedAccessKey"),
            ("Endpoint=sb://h/;SharedAccessKey=a", "without SharedAccessKeyName"),
            ("Endpoint=sb://h/;SharedAccessKeyName=a;SharedAccessKey=b;SharedAccessSignature=c", "exclude"),
            ("Endpoint=sb://h/;Authentication=ManagedIdentity;SharedAccessSignature=c", "exclude"),
            ("Endpoint=sb://h/;UseDevelopmentEmulator=maybe", "UseDevelopmentEmulator"),
            ("Endpoint=sb://h/;justtext", "part 2"),
        ] {
            let error = parse(text).unwrap_err();
            let shown = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(shown.contains(word), "{text}: {shown}");
        }
    }

    #[test]
    fn secrets_show_only_where_they_are_asked_for() {
        let parsed = parse(&format!("Endpoint=sb://h/;SharedAccessKeyName=a;SharedAccessKey={KEY}")).unwrap();
        assert!(!format!("{parsed} {parsed:?}").contains("9f8QyJ2m"));
        assert!(parsed.to_connection_string().contains(KEY));
        for text in [format!("Endpoint=sb://h/;{KEY}"), format!("Endpoint=sb://h/;abc{KEY}")] {
            let error = parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("9f8QyJ2m"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text: String) {
            let _ = parse(&text);
            let _ = parse(&format!("Endpoint=sb://h/;OperationTimeout={text}"));
        }

        #[test]
        fn what_is_written_reads_back(
            host in "[a-z][a-z0-9.-]{0,20}[a-z]",
            port in proptest::option::of(1u16..),
            entity in proptest::option::of("[a-zA-Z0-9][a-zA-Z0-9._/-]{0,10}[a-zA-Z0-9]"),
            key in "[A-Za-z0-9+/=]{1,50}",
            seconds in 0..MAX_DAYS * 86_400,
            ticks in 1u32..10_000_000,
            emulator: bool,
        ) {
            prop_assume!(!entity.as_deref().unwrap_or("").contains("//"));
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let entity = entity.map(|entity| format!(";EntityPath={entity}")).unwrap_or_default();
            let text = format!("Endpoint=sb://{host}{port}/{entity};SharedAccessKeyName=n;SharedAccessKey={key};UseDevelopmentEmulator={emulator}");
            let mut parsed = parse(&text).unwrap();
            parsed.operation_timeout = Some(Duration::new(seconds, ticks * 100));
            prop_assert_eq!(parse(&parsed.to_connection_string()).unwrap(), parsed);
        }
    }
}
