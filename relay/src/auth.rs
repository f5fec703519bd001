//! Who may do what (protocol.md 2.3, 2.5 and 10, decisions 1, 6, 8, 9, 56, 58).

use std::time::SystemTime;

use hybridrelay::env::Env;
use hybridrelay::protocol::refusal::INVALID_SIGNATURE;
use hybridrelay::token::SasToken;

use crate::config::Config;
use crate::directory::KeyIdentity;
use crate::limits::AddressBlock;
use crate::namespace::{Entity, Namespace, Right, Rule};
use crate::node::Node;
use crate::refusal::{Reason, Refusal};

/// What a valid token gave, and by which rule and key.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) key: KeyIdentity,
    pub(crate) expires_at: SystemTime,
    /// Kept to be judged again when rules or keys change (decision 57); it holds a signature, no key.
    token: SasToken,
}

/// What a token is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) namespace: &'a Namespace,
    /// The hybrid connection, if the path names one that exists.
    pub(crate) entity: Option<&'a Entity>,
    /// The requested path, entity and suffix, percent-encoded.
    pub(crate) path: &'a str,
    pub(crate) right: Right,
}

/// Judges the token of a request from outside. When too many from its address were refused, it is not looked at: guessing shall be
/// slow, and cost nothing.
pub(crate) fn authorize_from(
    node: &Node,
    client: Option<AddressBlock>,
    request: Request<'_>,
    token: Option<&str>,
) -> Result<Grant, Refusal> {
    let now = node.env.now();
    // Who brings no token guesses nothing.
    let guesser = client.filter(|_| token.is_some());
    if let Some(client) = guesser {
        node.rates.may_try(client, now)?;
    }
    authorize(&node.env, &node.config(), request, token).inspect_err(|_| {
        if let Some(client) = guesser {
            node.rates.failed(client, now);
        }
    })
}

/// Judges a token as protocol.md 2.3 says.
pub(crate) fn authorize(
    env: &Env,
    config: &Config,
    request: Request<'_>,
    token: Option<&str>,
) -> Result<Grant, Refusal> {
    let text = token
        .ok_or_else(|| Refusal::unauthorized(Reason::MissingToken, "MissingToken: The request carries no token"))?;
    let token =
        SasToken::parse(text).map_err(|error| Refusal::unauthorized(Reason::MalformedToken, error.to_string()))?;
    let (rule, key) = signed_by(request.namespace, request.entity, &token)?;
    let now = env.wall_clock();
    if token.expires_at() + config.timings.clock_skew <= now {
        return Err(Refusal::unauthorized(Reason::ExpiredToken, "ExpiredToken: The token has expired"));
    }
    if let Some(most) = config.max_token_life
        && token.expires_at() > now + most + config.timings.clock_skew
    {
        return Err(Refusal::unauthorized(
            Reason::TokenLife,
            "InvalidToken: The token lives longer than this relay allows",
        ));
    }
    check_audience(request, &token)?;
    if !rule.rights.allow(request.right) {
        let refusal = Refusal::forbidden(
            Reason::MissingRight,
            format!("The token does not give the right to {}", verb(request.right)),
        );
        return Err(if config.strict_dotnet_errors { refusal.into_unauthorized() } else { refusal });
    }
    Ok(Grant { key, expires_at: token.expires_at(), token })
}

impl Grant {
    /// Whether the rules and keys of now would still give it. Expiry is judged elsewhere.
    pub(crate) fn still_stands(&self, request: Request<'_>) -> bool {
        signed_by(request.namespace, request.entity, &self.token)
            .is_ok_and(|(rule, _)| rule.rights.allow(request.right))
    }
}

/// The rule whose key signed the token: the hybrid connection's own first, the namespace's also on signature failure (decision 58).
fn signed_by<'a>(
    namespace: &'a Namespace,
    entity: Option<&'a Entity>,
    token: &SasToken,
) -> Result<(&'a Rule, KeyIdentity), Refusal> {
    let own = entity.into_iter().flat_map(|entity| &entity.rules).map(|rule| (rule, true));
    let shared = namespace.rules.iter().map(|rule| (rule, false));
    for (rule, entity_rule) in own.chain(shared) {
        if !rule.name.eq_ignore_ascii_case(token.key_name()) {
            continue;
        }
        let secondary = rule.secondary_key.as_deref().map(|key| (key, true));
        for (key, secondary) in [(rule.primary_key.as_str(), false)].into_iter().chain(secondary) {
            if token.signature_matches(key) {
                return Ok((rule, KeyIdentity { entity_rule, rule: rule.name.clone(), secondary }));
            }
        }
    }
    // The same answer for an unknown rule and a wrong key: names are not to be guessed.
    Err(Refusal::unauthorized(Reason::InvalidSignature, format!("InvalidSignature: The {INVALID_SIGNATURE}")))
}

fn check_audience(request: Request<'_>, token: &SasToken) -> Result<(), Refusal> {
    let audience = token.audience();
    let host = request.namespace.takes_any_host() || request.namespace.names_host(audience.host());
    if host && audience.covers(request.path) {
        return Ok(());
    }
    Err(Refusal::unauthorized(Reason::InvalidAudience, "InvalidAudience: The token is for another audience"))
}

fn verb(right: Right) -> &'static str {
    match right {
        Right::Listen => "listen",
        Right::Send => "send",
        Right::Manage => "manage",
    }
}
