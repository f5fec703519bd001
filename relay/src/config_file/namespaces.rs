//! Reading `[namespace."…"]`: hosts, rules, hybrid connections.

use std::collections::BTreeMap;

use hybridrelay::EntityPath;

use super::entity as settings;
use super::problem::Report;
use super::secret::{Reference, Secret};
use super::settings::{EntityTable, KeySource, NamespaceSettings, RuleSettings};
use super::table::{At, Table, suggestion};
use crate::namespace::{AutoCreate, Rights};

/// As many rules as Azure Relay allows for a namespace, and for a hybrid connection.
const MOST_RULES: usize = 12;

/// The most characters of a rule's name, as in Azure Relay.
const LONGEST_NAME: usize = 256;

/// Reads every namespace, in the order of the file.
pub(super) fn read(top: &mut Table<'_>, report: &mut Report<'_>) -> Vec<NamespaceSettings> {
    let tables = top.named("namespace", report);
    if tables.is_empty() && top.value("namespace").is_none() {
        let advice = "write [namespace.\"relay.example.net\"], the host by which clients reach the relay";
        report.missing(top.place(), "there is no namespace", advice);
    }
    let alone = tables.len() == 1;
    let mut owners = BTreeMap::new();
    tables.into_iter().map(|(name, table)| namespace(&name, table, alone, &mut owners, report)).collect()
}

/// Reads one; `owners` tells which host leads where already.
fn namespace(
    name: &At<&str>,
    mut table: Table<'_>,
    alone: bool,
    owners: &mut BTreeMap<String, String>,
    report: &mut Report<'_>,
) -> NamespaceSettings {
    let further = table.texts("hosts", report);
    // One namespace alone is everybody's, unless it says whose it is (protocol.md 10, decision 56).
    let everybody = (alone && further.is_none()).then_some(At { value: "*", place: name.place });
    let mut hosts = Vec::new();
    let mut own = Vec::new();
    for (at, host) in [name.clone()].into_iter().chain(further.into_iter().flatten()).chain(everybody).enumerate() {
        let Some(plain) = plain_host(host.value, at == 0) else {
            let advice = match host.value {
                "*" => "name a host, and write hosts = [\"*\"] to take every other one",
                _ => "write the name alone, without scheme, port and path",
            };
            report.error(host.place, format!("{:?} is no host", host.value), advice);
            continue;
        };
        if own.contains(&plain) {
            report.warning(host.place, format!("{plain} is named twice"), "name it once");
        } else if let Some(owner) = owners.insert(plain.clone(), name.value.to_owned()) {
            let message = format!("{plain} leads to the namespace {owner:?} already");
            report.error(host.place, message, "give each host to one namespace");
        }
        own.push(plain.clone());
        hosts.push(plain);
    }
    let entity_hosts = entity_hosts(&mut table, report);
    let discovery = table.flag("discovery", report).unwrap_or_default();
    let title = |key: &str| format!("[[namespace.{:?}.{key}]]", name.value);
    let rules = rules(&mut table, &title("rule"), report);
    let mut entities: Vec<EntityTable> = Vec::new();
    for entity in table.tables("entity", &title("entity"), report) {
        let place = entity.place();
        let Some(entity) = self::entity(entity, &title("entity.rule"), report) else { continue };
        if let Some(host) = &entity.host
            && let Some(owner) = owners.insert(host.clone(), name.value.to_owned())
        {
            let message = format!("{host} leads to the namespace {owner:?} already");
            report.error(place, message, "give each hybrid connection a host of its own");
        }
        if entities.iter().any(|known| known.path.as_str().eq_ignore_ascii_case(entity.path.as_str())) {
            let message = format!("the hybrid connection {} is there twice", entity.path);
            report.error(place, message, "keep one of them; case does not make a difference");
        }
        entities.push(entity);
    }
    let auto_title = format!("[namespace.{:?}.auto_create]", name.value);
    let auto_create = table.table("auto_create", &auto_title, report).map(|table| auto_create(table, report));
    if entities.is_empty() && auto_create.is_none() && table.value("entity").is_none() {
        let message = format!("the namespace {:?} has no hybrid connections", name.value);
        report.lacking(name.place, message, format!("add {}, or {auto_title}", title("entity")));
    }
    table.finish(report);
    NamespaceSettings { name: name.value.to_owned(), hosts, entity_hosts, discovery, rules, entities, auto_create }
}

/// A host as requests name it: lower-case, IPv6 without brackets.
fn plain_host(text: &str, is_name: bool) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_address = bare.parse::<std::net::Ipv6Addr>().is_ok();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let usable = is_address || (!text.is_empty() && text.bytes().all(allowed)) || (text == "*" && !is_name);
    usable.then(|| bare.to_ascii_lowercase())
}

/// Hosts that name a hybrid connection by themselves.
fn entity_hosts(table: &mut Table<'_>, report: &mut Report<'_>) -> Option<String> {
    let pattern = table.text("entity_hosts", report)?;
    let domain = pattern.value.strip_prefix("*.").and_then(|domain| plain_host(domain, true));
    if domain.is_none() {
        let message = format!("{:?} is no pattern of hosts", pattern.value);
        report.error(pattern.place, message, "write \"*.\" and a domain, such as \"*.relay.example.net\"");
    }
    domain.map(|domain| format!("*.{domain}"))
}

fn rules(table: &mut Table<'_>, title: &str, report: &mut Report<'_>) -> Vec<RuleSettings> {
    let mut rules: Vec<RuleSettings> = Vec::new();
    for table in table.tables("rule", title, report) {
        let place = table.place();
        let Some(rule) = rule(table, report) else { continue };
        if rules.iter().any(|known| known.name.eq_ignore_ascii_case(&rule.name)) {
            let message = format!("the rule {:?} is there twice", rule.name);
            report.error(place, message, "give each rule a name of its own; case does not make a difference");
        }
        rules.push(rule);
        if rules.len() == MOST_RULES + 1 {
            let message = format!("there are more than {MOST_RULES} of {title}");
            report.error(place, message, "use rules of single hybrid connections as well");
        }
    }
    rules
}

fn rule(mut table: Table<'_>, report: &mut Report<'_>) -> Option<RuleSettings> {
    let name = required(&mut table, "name", "the name that tokens carry", report);
    if let Some(name) = &name {
        let allowed = |character: char| !character.is_control() && character != ';';
        if name.value.is_empty() || name.value.chars().count() > LONGEST_NAME || !name.value.chars().all(allowed) {
            let message = format!("{:?} cannot be the name of a rule", name.value);
            report.error(name.place, message, "write 1 to 256 characters without semicolons");
        }
    }
    let rights = rights(&mut table, report);
    let primary = key(&mut table, "primary_key", "primary_key_file", report);
    if primary.is_none() && table.value("primary_key").or(table.value("primary_key_file")).is_none() {
        let advice = "add primary_key_file = \"…\", or primary_key = \"${env:…}\"";
        report.missing(table.place(), format!("{} has no key", table.name()), advice);
    }
    let secondary = key(&mut table, "secondary_key", "secondary_key_file", report);
    table.finish(report);
    Some(RuleSettings { name: name?.value.to_owned(), rights, primary: primary?, secondary })
}

fn rights(table: &mut Table<'_>, report: &mut Report<'_>) -> Rights {
    const KNOWN: [&str; 3] = ["Listen", "Send", "Manage"];
    let advice = "write rights = [\"Listen\"], [\"Send\"], both, or [\"Manage\"] for everything";
    let there = table.value("rights").is_some();
    let texts = table.texts("rights", report);
    if texts.as_ref().map_or(!there, Vec::is_empty) {
        report.missing(table.place(), format!("{} gives no rights", table.name()), advice);
    }
    let mut rights = Rights::default();
    for text in texts.into_iter().flatten() {
        match KNOWN.iter().position(|known| known.eq_ignore_ascii_case(text.value)) {
            Some(0) => rights.listen = true,
            Some(1) => rights.send = true,
            Some(_) => rights = Rights::MANAGE,
            None => {
                report.error(text.place, format!("{:?} is no right", text.value), suggestion(text.value, &KNOWN));
            }
        }
    }
    rights
}

/// A key in one of its two forms.
fn key(
    table: &mut Table<'_>,
    here: &'static str,
    file: &'static str,
    report: &mut Report<'_>,
) -> Option<At<KeySource>> {
    let (text, path) = (table.text(here, report), table.text(file, report));
    if let (Some(_), Some(path)) = (&text, &path) {
        report.error(path.place, format!("{} has {here} and {file}", table.name()), "keep one of the two");
        return None;
    }
    if let Some(path) = path {
        if path.value.is_empty() || path.value.contains("${") {
            let advice = format!("write the path of a file that holds the key; {here} takes ${{env:…}} and others");
            report.error(path.place, format!("{file} cannot be {:?}", path.value), advice);
            return None;
        }
        return Some(At { value: KeySource::File(path.value.into()), place: path.place });
    }
    let text = text?;
    // Nothing of the text may be shown: it is, or was meant to be, a key.
    let source = match Reference::parse(text.value) {
        Ok(Some(reference)) => Ok(KeySource::By(reference)),
        Ok(None) => Secret::key(text.value).map(KeySource::Here).map_err(|why| {
            (format!("{here} {why}"), "write 1 to 256 visible ASCII characters without semicolons".to_owned())
        }),
        Err(how) => Err((format!("{here} is no reference"), how)),
    };
    match source {
        Ok(value) => Some(At { value, place: text.place }),
        Err((message, advice)) => {
            report.error(text.place, message, advice);
            None
        }
    }
}

fn entity(mut table: Table<'_>, rule_title: &str, report: &mut Report<'_>) -> Option<EntityTable> {
    let there = table.value("path").is_some();
    let path = table.parsed::<EntityPath>("path", report);
    if !there {
        report.missing(table.place(), format!("{} has no path", table.name()), "write path = \"…\"");
    }
    let anonymous = table.flag("anonymous", report).unwrap_or_default();
    let host = table.text("host", report).and_then(|host| {
        let plain = plain_host(host.value, true);
        if plain.is_none() {
            let message = format!("{:?} is no host", host.value);
            report.error(host.place, message, "write the name alone, without scheme, port and path");
        }
        plain
    });
    let settings = settings::read(&mut table, report);
    let user_metadata = table.text("user_metadata", report).map(|text| text.value.to_owned()).unwrap_or_default();
    let rules = rules(&mut table, rule_title, report);
    table.finish(report);
    Some(EntityTable { path: path?.value, anonymous, host, settings, user_metadata, rules })
}

fn auto_create(mut table: Table<'_>, report: &mut Report<'_>) -> AutoCreate {
    let mut patterns = |key| table.texts(key, report).into_iter().flatten().map(|text| text.value.to_owned()).collect();
    let (public, events) = (patterns("public"), patterns("events"));
    let settings = settings::read(&mut table, report);
    let limit = table.count("limit", report);
    if let Some(limit) = limit.as_ref().filter(|limit| limit.value == 0) {
        report.error(
            limit.place,
            "limit cannot be 0",
            "write how many hybrid connections there may be; 10000 by default",
        );
    }
    table.finish(report);
    let limit = limit.map_or(0, |limit| usize::try_from(limit.value).unwrap_or(usize::MAX));
    AutoCreate { public, events, settings, limit }
}

fn required<'t>(table: &mut Table<'t>, key: &'static str, what: &str, report: &mut Report<'_>) -> Option<At<&'t str>> {
    if table.value(key).is_none() {
        let message = format!("{} has no {key}", table.name());
        report.missing(table.place(), message, format!("write {key} = \"…\", {what}"));
    }
    table.text(key, report)
}
