//! XML, written.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// A document that is being written.
pub(super) struct Xml(Writer<Vec<u8>>);

impl Xml {
    /// Writes a document, whose root `write` makes; with an XML declaration in front, or without.
    pub(super) fn document(declaration: bool, write: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self(Writer::new(Vec::new()));
        if declaration {
            xml.event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)));
        }
        write(&mut xml);
        // Made of text alone.
        String::from_utf8(xml.0.into_inner()).unwrap_or_default()
    }

    /// Writes an element with attributes, and what is in it.
    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &str)], write: impl FnOnce(&mut Self)) {
        self.event(Event::Start(start(name, attributes)));
        write(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Writes an element with attributes and nothing in it.
    pub(super) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.event(Event::Empty(start(name, attributes)));
    }

    /// Writes an element with attributes and text.
    pub(super) fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.element(name, attributes, |xml| xml.event(Event::Text(BytesText::new(&printable(text)))));
    }

    fn event(&mut self, event: Event<'_>) {
        // Into memory; there is nothing that could fail.
        let _ = self.0.write_event(event);
    }
}

fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (name, value) in attributes {
        start.push_attribute((*name, &*printable(value)));
    }
    start
}

/// Without what may not stand in XML 1.0, not even escaped.
fn printable(text: &str) -> String {
    let is_allowed = |character: &char| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    text.chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_text_says_it_stays_text() {
        let written = Xml::document(true, |xml| {
            xml.element("a", &[("b", "\"<&>'")], |xml| {
                xml.text("c", &[], "]]></c>&\u{0}\u{FFFE}é");
                xml.empty("d", &[("e", "1")]);
            });
        });
        let expected = "<?xml version=\"1.0\" encoding=\"utf-8\"?><a b=\"&quot;&lt;&amp;&gt;&apos;\"><c>]]&gt;&lt;/c&gt;&amp;é</c><d e=\"1\"/></a>";
        assert_eq!(written, expected);
    }
}
