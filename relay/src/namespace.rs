//! What a relay serves: namespaces, their hybrid connections, and the rules that open them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use hybridrelay::EntityPath;

mod choice;
mod discovery;
mod events;
mod http;

pub use self::choice::{Choice, StickyBy};
pub use self::discovery::{Discoverable, Visibility};
pub use self::events::{Distribution, EventSettings, NoSubscriber, SlowSubscriber};
pub use self::http::{HttpSettings, NoListener, OneWay};

/// A set of hybrid connections behind one or several host names (protocol.md 10, decision 56).
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The name in logs and management.
    pub name: String,
    /// The hosts that lead here; `*` is any.
    pub hosts: Vec<String>,
    /// Rules for every hybrid connection of the namespace. At most 12.
    pub rules: Vec<Rule>,
    /// Whether an authorised listen for an unknown path makes the hybrid connection.
    pub auto_create: Option<AutoCreate>,
    /// Hosts that name a hybrid connection by themselves: `*.relay.example.net` leads `orders.relay.example.net` to `orders`. See
    /// [`with_entity_hosts`](Self::with_entity_hosts).
    pub entity_hosts: Option<String>,
    /// Whether `GET /` tells which discoverable hybrid connections are online: false, then nothing is said about the namespace
    /// (protocol.md 10, decision 44).
    pub discovery: bool,
    entities: BTreeMap<String, Entity>,
    /// The path of each hybrid connection that has a host of its own, by that host; both in lower case.
    own_hosts: BTreeMap<String, String>,
}

impl Namespace {
    /// A namespace without hybrid connections that answers to every host.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hosts: vec!["*".to_owned()],
            rules: Vec::new(),
            auto_create: None,
            entity_hosts: None,
            discovery: false,
            entities: BTreeMap::new(),
            own_hosts: BTreeMap::new(),
        }
    }

    /// Answers to these hosts only.
    pub fn with_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a rule.
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds or replaces a hybrid connection.
    pub fn with_entity(mut self, entity: Entity) -> Self {
        self.insert(entity);
        self
    }

    /// Makes hybrid connections on their first authorised listen.
    pub fn with_auto_create(mut self, policy: AutoCreate) -> Self {
        self.auto_create = Some(policy);
        self
    }

    /// Lets a host name a hybrid connection: `pattern` is `*.` and a domain, and what stands for the star names it, a single label.
    /// `https://orders.relay.example.net/7` is then `https://relay.example.net/orders/7`, so that browsers see an origin of its own;
    /// nothing changes for the listener. Addresses that begin with `$hc/` are not concerned.
    ///
    /// Names from [`Entity::host`] go first. Tokens keep naming the namespace and the path.
    pub fn with_entity_hosts(mut self, pattern: impl Into<String>) -> Self {
        self.entity_hosts = Some(pattern.into());
        self
    }

    /// Lets `GET /` tell which [discoverable](EntitySettings::discoverable) hybrid connections are online.
    pub fn with_discovery(mut self) -> Self {
        self.discovery = true;
        self
    }

    /// The path of the hybrid connection that `host` (without port) stands for by itself, whether there is one or not.
    pub(crate) fn entity_of_host(&self, host: &str) -> Option<&str> {
        if self.own_hosts.is_empty() {
            return None;
        }
        self.entities.get(self.own_hosts.get(&host.to_ascii_lowercase())?).map(|entity| entity.path.as_str())
    }

    /// The label that `host` has where the pattern has its star.
    pub(crate) fn label_of_host<'a>(&self, host: &'a str) -> Option<&'a str> {
        let domain = self.entity_hosts.as_deref()?.strip_prefix('*')?;
        let label = host.get(..host.len().checked_sub(domain.len())?)?;
        let fits = host[label.len()..].eq_ignore_ascii_case(domain) && !label.is_empty() && !label.contains('.');
        fits.then_some(label)
    }

    /// The hybrid connections in the order of their names.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.values()
    }

    /// The hybrid connection of exactly this path, case ignored.
    pub fn entity(&self, path: &str) -> Option<&Entity> {
        self.entities.get(&*lower(path))
    }

    /// The hybrid connection with the longest path that is a prefix of `path` on segment borders, case ignored
    /// (protocol.md 10, decision 38).
    pub fn longest_match(&self, path: &str) -> Option<&Entity> {
        let path = path.trim_matches('/').to_ascii_lowercase();
        let mut candidate = path.as_str();
        loop {
            if let Some(entity) = self.entities.get(candidate) {
                return Some(entity);
            }
            candidate = &candidate[..candidate.rfind('/')?];
        }
    }

    /// Adds or replaces a hybrid connection.
    pub(crate) fn insert(&mut self, entity: Entity) {
        let path = entity.path.as_str().to_ascii_lowercase();
        self.own_hosts.retain(|_, known| *known != path);
        if let Some(host) = &entity.host {
            self.own_hosts.insert(host.to_ascii_lowercase(), path.clone());
        }
        self.entities.insert(path, entity);
    }

    /// Removes a hybrid connection; whether it was there.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        self.own_hosts.retain(|_, known| *known != path);
        self.entities.remove(&path).is_some()
    }

    /// Whether `host` (without port) is named, not merely matched by `*`.
    pub(crate) fn names_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Whether any host leads here.
    pub(crate) fn takes_any_host(&self) -> bool {
        self.hosts.iter().any(|host| host == "*")
    }
}

/// A hybrid connection: one path at which listeners wait and senders call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// The canonical spelling of the path.
    pub path: EntityPath,
    /// Rules of this hybrid connection alone. At most 12.
    pub rules: Vec<Rule>,
    /// Whether senders need a token: true. Listeners always do.
    pub requires_client_authorization: bool,
    /// A host that stands for this hybrid connection alone: `orders.relay.example.net` for `https://orders.relay.example.net/7`
    /// instead of `https://relay.example.net/orders/7`. See [`Namespace::with_entity_hosts`] for many at once.
    pub host: Option<String>,
    /// How senders and listeners meet.
    pub settings: EntitySettings,
    /// Free text of the owner.
    pub user_metadata: String,
    /// When it was made. `None` if nobody knows: then the relay says when it was started itself.
    pub created_at: Option<SystemTime>,
    /// When it was changed last. `None`: when it was made.
    pub updated_at: Option<SystemTime>,
}

impl Entity {
    /// A hybrid connection without rules of its own, with authorised senders.
    pub fn new(path: EntityPath) -> Self {
        Self {
            path,
            rules: Vec::new(),
            requires_client_authorization: true,
            host: None,
            settings: EntitySettings::default(),
            user_metadata: String::new(),
            created_at: None,
            updated_at: None,
        }
    }

    /// Adds a rule.
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Lets senders in without a token.
    pub fn anonymous(mut self) -> Self {
        self.requires_client_authorization = false;
        self
    }

    /// Chooses which paths take WebSocket senders.
    pub fn with_websocket(mut self, paths: WebSocketPaths) -> Self {
        self.settings.websocket = paths;
        self
    }

    /// Gives it a host of its own.
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Chooses who gets what senders send.
    pub fn with_distribution(mut self, distribution: Distribution) -> Self {
        self.settings.distribution = distribution;
        self
    }

    /// Chooses which of several listeners is asked.
    pub fn with_choice(mut self, choice: Choice) -> Self {
        self.settings.choice = choice;
        self
    }

    /// Lets it be found while it is online; see [`Namespace::with_discovery`].
    pub fn discoverable(mut self, discoverable: Discoverable) -> Self {
        self.settings.discoverable = Some(discoverable);
        self
    }

    /// Chooses how HTTP requests are relayed.
    pub fn with_http(mut self, settings: HttpSettings) -> Self {
        self.settings.http = settings;
        self
    }
}

/// How senders and listeners of a hybrid connection meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntitySettings {
    /// Which paths take WebSocket senders.
    pub websocket: WebSocketPaths,
    /// How HTTP requests are relayed.
    pub http: HttpSettings,
    /// Who gets what senders send: one listener.
    pub distribution: Distribution,
    /// Which of several listeners is asked: any.
    pub choice: Choice,
    /// How it is told of to those who look for endpoints: not at all.
    pub discoverable: Option<Discoverable>,
}

/// Which paths take WebSocket senders (protocol.md 10, decision 51).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSocketPaths {
    /// `/$hc/ENTITY…` only, as Azure.
    #[default]
    HcOnly,
    /// Also `/ENTITY…`, so that a web application's own `wss://host/entity/ws` works.
    AnyPath,
}

/// How hybrid connections come to be on their first authorised listen.
#[derive(Clone, Debug, Default)]
pub struct AutoCreate {
    /// Paths whose senders need no token. `*` in a pattern stands for any characters, `/` included; case is ignored.
    pub public: Vec<String>,
    /// Paths at which every listener gets everything, by patterns of the same kind.
    pub events: Vec<String>,
    /// How senders and listeners of each meet.
    pub settings: EntitySettings,
    /// How many hybrid connections may exist before no more are made; 0 is 10 000.
    pub limit: usize,
}

impl AutoCreate {
    /// The entity that this policy makes for `path` now.
    pub(crate) fn entity(&self, path: EntityPath, now: SystemTime) -> Entity {
        let is_one_of = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, path.as_str()));
        let (public, events) = (is_one_of(&self.public), is_one_of(&self.events));
        let mut entity = Entity { settings: self.settings.clone(), created_at: Some(now), ..Entity::new(path) };
        if events && entity.settings.distribution == Distribution::One {
            entity.settings.distribution = Distribution::All(EventSettings::default());
        }
        if public { entity.anonymous() } else { entity }
    }

    pub(crate) fn allows_another(&self, existing: usize) -> bool {
        existing < if self.limit == 0 { 10_000 } else { self.limit }
    }
}

/// A shared access rule: a name, its rights, and two keys of equal worth.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name that tokens carry as `skn`; case is ignored.
    pub name: String,
    /// What a token of this rule allows.
    pub rights: Rights,
    /// The first key, as text: it is not base64-decoded.
    pub primary_key: String,
    /// The second key, so that keys can be changed one after the other.
    pub secondary_key: Option<String>,
}

impl Rule {
    /// A rule with one key.
    pub fn new(name: impl Into<String>, rights: Rights, primary_key: impl Into<String>) -> Self {
        Self { name: name.into(), rights, primary_key: primary_key.into(), secondary_key: None }
    }

    /// Adds the second key.
    pub fn with_secondary_key(mut self, key: impl Into<String>) -> Self {
        self.secondary_key = Some(key.into());
        self
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).field("rights", &self.rights).finish_non_exhaustive()
    }
}

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To be a listener.
    Listen,
    /// To be a sender.
    Send,
    /// To manage; implies the other two.
    Manage,
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// To be a listener.
    pub listen: bool,
    /// To be a sender.
    pub send: bool,
    /// To manage; implies the other two.
    pub manage: bool,
}

impl Rights {
    /// Listen only.
    pub const LISTEN: Self = Self { listen: true, send: false, manage: false };
    /// Send only.
    pub const SEND: Self = Self { listen: false, send: true, manage: false };
    /// Listen and Send.
    pub const LISTEN_AND_SEND: Self = Self { listen: true, send: true, manage: false };
    /// Everything.
    pub const MANAGE: Self = Self { listen: true, send: true, manage: true };

    /// Whether the set holds `right`, directly or through Manage.
    pub fn allow(self, right: Right) -> bool {
        self.manage
            || match right {
                Right::Listen => self.listen,
                Right::Send => self.send,
                Right::Manage => false,
            }
    }
}

/// The text in lower case, which it usually is.
fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// Glob matching with `*` only, in time linear in the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(paths: &[&str]) -> Namespace {
        paths.iter().fold(Namespace::new("test"), |namespace, path| {
            namespace.with_entity(Entity::new(path.parse().expect("a valid path")))
        })
    }

    fn matched(namespace: &Namespace, path: &str) -> Option<String> {
        namespace.longest_match(path).map(|entity| entity.path.as_str().to_owned())
    }

    #[test]
    fn the_longest_path_wins_on_segment_borders() {
        let namespace = namespace(&["a", "a/b", "Hyco"]);
        assert_eq!(matched(&namespace, "a/b/c").as_deref(), Some("a/b"));
        assert_eq!(matched(&namespace, "a/x").as_deref(), Some("a"));
        assert_eq!(matched(&namespace, "a/bc").as_deref(), Some("a"));
        assert_eq!(matched(&namespace, "hyco/").as_deref(), Some("Hyco"));
        assert_eq!(matched(&namespace, "hycox"), None);
        assert_eq!(matched(&namespace, ""), None);
    }

    #[test]
    fn a_host_names_a_hybrid_connection_by_itself() {
        let orders: EntityPath = "shop/orders".parse().expect("a valid path");
        let namespace = Namespace::new("n")
            .with_entity_hosts("*.relay.example.net")
            .with_entity(Entity::new(orders).with_host("orders.example.net"));
        assert_eq!(namespace.entity_of_host("Orders.Example.net"), Some("shop/orders"));
        assert_eq!(namespace.entity_of_host("web.relay.example.net"), None);
        let mut changed = namespace.clone();
        changed.insert(Entity::new("Shop/Orders".parse().expect("a valid path")).with_host("new.example.net"));
        assert_eq!(changed.entity_of_host("orders.example.net"), None);
        assert_eq!(changed.entity_of_host("new.example.net"), Some("Shop/Orders"));
        assert!(changed.remove("shop/orders"));
        assert_eq!(changed.entity_of_host("new.example.net"), None);
        for (host, label) in [
            ("web.relay.example.net", Some("web")),
            ("Web.Relay.Example.Net", Some("Web")),
            ("a.b.relay.example.net", None),
            ("relay.example.net", None),
            (".relay.example.net", None),
            ("webxrelay.example.net", None),
            ("", None),
        ] {
            assert_eq!(namespace.label_of_host(host), label, "{host}");
        }
    }

    #[test]
    fn manage_implies_listen_and_send() {
        let manage_alone = Rights { manage: true, ..Rights::default() };
        assert!(manage_alone.allow(Right::Listen) && manage_alone.allow(Right::Send));
        assert!(!Rights::LISTEN_AND_SEND.allow(Right::Manage));
        assert!(!Rights::LISTEN.allow(Right::Send));
    }

    #[test]
    fn patterns_match_with_stars() {
        for (pattern, text, expected) in [
            ("*", "anything/at/all", true),
            ("web", "web", true),
            ("web", "web2", false),
            ("web/*", "Web/1", true),
            ("web/*", "web", false),
            ("*/public", "a/public", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rules_do_not_print_their_keys() {
        let rule = Rule::new("r", Rights::SEND, "top-secret").with_secondary_key("also-secret");
        assert!(!format!("{rule:?}").contains("secret"));
    }
}
