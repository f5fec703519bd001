//! Who may do what (protocol.md 2.3, 2.5 and 10, decisions 1, 6, 8, 9, 56, 58).

use std::time::SystemTime;

use hybridrelay::env::Env;
use hybridrelay::protocol::refusal::INVALID_SIGNATURE;
use hybridrelay::token::SasToken;

use crate::config::Config;
use crate::directory::KeyIdentity;
use crate::limits::AddressBlock;
use crate::namespace::{Entity, Namespace, Right, Rights, Rule};
use crate::node::Node;
use crate::refusal::{Reason, Refusal};

/// What a valid token gave, and by which rule and key.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) key: KeyIdentity,
    /// All that the rule allows.
    pub(crate) rights: Rights,
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
    guarded(node, client, token, || authorize(&node.env, &node.config(), request, token))
}

/// The same where one of several rights is enough: the request's, which a refusal names, or `other`.
pub(crate) fn authorize_either_from(
    node: &Node,
    client: Option<AddressBlock>,
    request: Request<'_>,
    other: Right,
    token: Option<&str>,
) -> Result<Grant, Refusal> {
    guarded(node, client, token, || {
        let config = node.config();
        let grant = judge(&node.env, &config, request, token)?;
        if grant.rights.allow(other) { Ok(grant) } else { demand(&config, grant, request.right) }
    })
}

/// Does not look at the token of an address from which too many were refused.
fn guarded<T>(
    node: &Node,
    client: Option<AddressBlock>,
    token: Option<&str>,
    judge: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let now = node.env.now();
    // Who brings no token guesses nothing.
    let guesser = client.filter(|_| token.is_some());
    if let Some(client) = guesser {
        node.rates.may_try(client, now)?;
    }
    judge().inspect_err(|_| {
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
    demand(config, judge(env, config, request, token)?, request.right)
}

/// Judges all of a token but what it allows.
fn judge(env: &Env, config: &Config, request: Request<'_>, token: Option<&str>) -> Result<Grant, Refusal> {
    let token = parse(token)?;
    let (rule, key) = signed_by(request.namespace, request.entity, &token)?;
    check_life(env, config, &token)?;
    check_audience(request, &token)?;
    Ok(Grant { key, rights: rule.rights, expires_at: token.expires_at(), token })
}

fn demand(config: &Config, grant: Grant, right: Right) -> Result<Grant, Refusal> {
    if grant.rights.allow(right) {
        return Ok(grant);
    }
    let text = format!("The token does not give the right to {}", verb(right));
    let refusal = Refusal::forbidden(Reason::MissingRight, text);
    Err(if config.strict_dotnet_errors { refusal.into_unauthorized() } else { refusal })
}

fn parse(token: Option<&str>) -> Result<SasToken, Refusal> {
    let text = token
        .ok_or_else(|| Refusal::unauthorized(Reason::MissingToken, "MissingToken: The request carries no token"))?;
    SasToken::parse(text).map_err(|error| Refusal::unauthorized(Reason::MalformedToken, error.to_string()))
}

fn check_life(env: &Env, config: &Config, token: &SasToken) -> Result<(), Refusal> {
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
    Ok(())
}

impl Grant {
    /// Whether the rules and keys of now would still give it. Expiry is judged elsewhere.
    pub(crate) fn still_stands(&self, request: Request<'_>) -> bool {
        signed_by(request.namespace, request.entity, &self.token)
            .is_ok_and(|(rule, _)| rule.rights.allow(request.right))
    }

    /// Whether the rules and keys of now would give exactly the same.
    pub(crate) fn is_unchanged(&self, namespace: &Namespace, entity: &Entity) -> bool {
        signed_by(namespace, Some(entity), &self.token).is_ok_and(|(rule, _)| rule.rights == self.rights)
    }
}

/// Whoever looks at a namespace as a whole: what their token is good for.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    token: SasToken,
}

impl Viewer {
    /// Judges a token that may be of a rule of the namespace, or of any of its hybrid connections.
    pub(crate) fn from_token(
        node: &Node,
        client: Option<AddressBlock>,
        namespace: &Namespace,
        token: &str,
    ) -> Result<Self, Refusal> {
        guarded(node, client, Some(token), || {
            let token = parse(Some(token))?;
            let viewer = Self { token };
            if !viewer.is_known(namespace) {
                return Err(invalid_signature());
            }
            check_life(&node.env, &node.config(), &viewer.token)?;
            if !is_for_host(namespace, &viewer.token) { Err(wrong_audience()) } else { Ok(viewer) }
        })
    }

    pub(crate) fn expires_at(&self) -> SystemTime {
        self.token.expires_at()
    }

    /// Whether a rule of the namespace signed the token, or one of a hybrid connection that it is for.
    pub(crate) fn is_known(&self, namespace: &Namespace) -> bool {
        let audience = self.token.audience();
        let own = || namespace.entities().filter(|entity| !entity.rules.is_empty());
        signed_by(namespace, None, &self.token).is_ok()
            || own().any(|entity| {
                audience.covers(entity.path.as_str()) && signed_by(namespace, Some(entity), &self.token).is_ok()
            })
    }

    /// Whether they may send to a hybrid connection.
    pub(crate) fn may_send(&self, namespace: &Namespace, entity: &Entity) -> bool {
        self.token.audience().covers(entity.path.as_str())
            && signed_by(namespace, Some(entity), &self.token).is_ok_and(|(rule, _)| rule.rights.allow(Right::Send))
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
    Err(invalid_signature())
}

/// The same answer for an unknown rule and a wrong key: names are not to be guessed.
fn invalid_signature() -> Refusal {
    Refusal::unauthorized(Reason::InvalidSignature, format!("InvalidSignature: The {INVALID_SIGNATURE}"))
}

fn check_audience(request: Request<'_>, token: &SasToken) -> Result<(), Refusal> {
    let covers = is_for_host(request.namespace, token) && token.audience().covers(request.path);
    if covers { Ok(()) } else { Err(wrong_audience()) }
}

fn is_for_host(namespace: &Namespace, token: &SasToken) -> bool {
    namespace.takes_any_host() || namespace.names_host(token.audience().host())
}

fn wrong_audience() -> Refusal {
    Refusal::unauthorized(Reason::InvalidAudience, "InvalidAudience: The token is for another audience")
}

fn verb(right: Right) -> &'static str {
    match right {
        Right::Listen => "listen",
        Right::Send => "send",
        Right::Manage => "manage",
    }
}
