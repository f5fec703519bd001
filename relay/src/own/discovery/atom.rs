//! The endpoints of a namespace as an Atom feed (RFC 4287).

use std::time::SystemTime;

use super::Endpoint;
use crate::own::time::rfc3339;
use crate::own::xml::Xml;

/// The namespace of the format.
pub(in crate::own) const ATOM: &str = "http://www.w3.org/2005/Atom";

/// The feed of the namespace at `base`, which looks as it did at `since` if nothing is online.
pub(super) fn feed(base: &str, since: SystemTime, endpoints: &[Endpoint<'_>]) -> String {
    let updated = endpoints.iter().map(|endpoint| endpoint.came).max().unwrap_or(since);
    let own = format!("{base}/");
    let (_, host) = base.split_once("://").unwrap_or_default();
    Xml::document(true, |xml| {
        xml.element("feed", &[("xmlns", ATOM)], |xml| {
            xml.text("id", &[], &own);
            xml.text("title", &[], &format!("Endpoints at {host}"));
            xml.text("updated", &[], &rfc3339(updated));
            xml.element("author", &[], |xml| xml.text("name", &[], host));
            xml.empty("link", &[("rel", "self"), ("type", "application/atom+xml"), ("href", &own)]);
            endpoints.iter().for_each(|endpoint| entry(xml, endpoint));
        });
    })
}

fn entry(xml: &mut Xml, endpoint: &Endpoint<'_>) {
    xml.element("entry", &[], |xml| {
        xml.text("id", &[], &endpoint.url);
        xml.text("title", &[], endpoint.title);
        xml.text("updated", &[], &endpoint.since);
        xml.empty("link", &[("rel", "alternate"), ("href", &endpoint.url)]);
        // Two alternates of one type and language may not be (RFC 4287 4.1.2).
        xml.empty("link", &[("rel", "related"), ("title", "WebSocket"), ("href", &endpoint.web_socket)]);
        for tag in endpoint.tags {
            xml.empty("category", &[("term", tag)]);
        }
        if !endpoint.summary.is_empty() {
            xml.text("summary", &[], endpoint.summary);
        }
    });
}
