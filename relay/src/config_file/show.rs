//! What a file amounts to, written as such a file: every default is there, no key is.

use std::fmt::{Display, Write};

use toml::Value;

use super::entity;
use super::limits::LIMITS;
use super::secret::REDACTED;
use super::settings::{KeySource, LEVELS, Listen, LogFormat, NamespaceSettings, Parsed, RuleSettings};
use super::table::At;
use crate::namespace::{EntitySettings, Rights};
use crate::units::write_duration;

pub(super) fn to_toml(settings: &Parsed) -> String {
    let mut page = Page::default();
    page.set("version", 1);
    for listen in &settings.listen {
        page.begin("[[listen]]");
        page.listen("url", listen);
    }
    if let Some(admin) = &settings.admin {
        page.begin("[admin]");
        page.listen("listen", admin);
    }
    if let Some(metrics) = settings.metrics {
        page.begin("[metrics]");
        page.set("listen", quoted(metrics));
    }
    let mut tunables = settings.tunables.clone();
    page.begin("[relay]");
    if let Some(url) = &tunables.config.public_url {
        page.set("public_url", quoted(url.to_string().trim_end_matches('/')));
    }
    page.set("trusted_proxies", list(&tunables.config.trusted_proxies));
    page.set("strict_dotnet_errors", tunables.config.strict_dotnet_errors);
    if let Some(life) = tunables.config.max_token_life {
        page.set("max_token_life", quoted(write_duration(life)));
    }
    page.begin("[limits]");
    for limit in LIMITS {
        page.set(limit.key, limit.write(&mut tunables));
    }
    page.begin("[log]");
    let filter = &settings.log.filter;
    page.set(if LEVELS.contains(&filter.as_str()) { "level" } else { "filter" }, quoted(filter));
    page.set(
        "format",
        quoted(match settings.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }),
    );
    for namespace in &settings.namespaces {
        page.namespace(namespace);
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn begin(&mut self, title: impl Display) {
        self.line(format_args!("\n{title}"));
    }

    fn set(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    fn line(&mut self, line: impl Display) {
        // A string takes everything.
        let _ = writeln!(self.0, "{line}");
    }

    fn listen(&mut self, key: &str, listen: &Listen) {
        self.set(key, quoted(&listen.endpoint));
        if let Some(tls) = &listen.tls {
            self.set("tls.cert", quoted(tls.cert.value.written()));
            self.set("tls.key", quoted(tls.key.value.written()));
        }
    }

    fn namespace(&mut self, namespace: &NamespaceSettings) {
        let name = format!("namespace.{}", quoted(&namespace.name));
        self.begin(format_args!("[{name}]"));
        self.set("hosts", list(namespace.hosts.iter().skip(1)));
        if let Some(pattern) = &namespace.entity_hosts {
            self.set("entity_hosts", quoted(pattern));
        }
        self.set("discovery", namespace.discovery);
        if let Some(policy) = &namespace.auto_create {
            self.begin(format_args!("[{name}.auto_create]"));
            self.set("public", list(&policy.public));
            self.set("events", list(&policy.events));
            self.settings(&policy.settings);
            self.set("limit", if policy.limit == 0 { 10_000 } else { policy.limit });
        }
        self.rules(&name, &namespace.rules);
        for entity in &namespace.entities {
            self.begin(format_args!("[[{name}.entity]]"));
            self.set("path", quoted(entity.path.as_str()));
            self.set("anonymous", entity.anonymous);
            if let Some(host) = &entity.host {
                self.set("host", quoted(host));
            }
            self.settings(&entity.settings);
            if !entity.user_metadata.is_empty() {
                self.set("user_metadata", quoted(&entity.user_metadata));
            }
            self.rules(&format!("{name}.entity"), &entity.rules);
        }
    }

    fn settings(&mut self, settings: &EntitySettings) {
        for (key, value) in entity::show(settings) {
            self.set(key, value);
        }
    }

    fn rules(&mut self, owner: &str, rules: &[RuleSettings]) {
        for rule in rules {
            self.begin(format_args!("[[{owner}.rule]]"));
            self.set("name", quoted(&rule.name));
            self.set("rights", rights(rule.rights));
            self.key("primary_key", &rule.primary);
            if let Some(secondary) = &rule.secondary {
                self.key("secondary_key", secondary);
            }
        }
    }

    fn key(&mut self, key: &str, source: &At<KeySource>) {
        match &source.value {
            KeySource::Here(_) => self.set(key, quoted(REDACTED)),
            KeySource::By(reference) => self.set(key, quoted(reference)),
            KeySource::File(path) => self.set(&format!("{key}_file"), quoted(path.display())),
        }
    }
}

fn rights(rights: Rights) -> String {
    let named = [(rights.listen, "Listen"), (rights.send, "Send"), (rights.manage, "Manage")];
    list(named.into_iter().filter(|(given, _)| *given).map(|(_, name)| name))
}

pub(super) fn quoted(text: impl Display) -> String {
    Value::String(text.to_string()).to_string()
}

pub(super) fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}
