//! Reading a table of the file key by key. What is not asked for is unknown, and told with the nearest key that is known.

use std::net::IpAddr;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Report};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A table of the file that is being read.
pub(super) struct Table<'t> {
    /// As the file writes it: `[limits]`, `[[listen]]`.
    name: String,
    place: Place,
    entries: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    pub(super) fn new(name: impl Into<String>, place: Place, entries: &'t DeTable<'t>) -> Self {
        Self { name: name.into(), place, entries, known: Vec::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The value of a key, which is known from then on.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.get(key)
    }

    pub(super) fn text(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<At<&'t str>> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.mistyped(key, value, "a text in quotes", report);
        }
        Some(At { value: text?, place: place_of(value) })
    }

    pub(super) fn flag(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.mistyped(key, value, "true or false", report);
        }
        flag
    }

    pub(super) fn count(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<At<u64>> {
        let value = self.value(key)?;
        let count = whole_number(value.get_ref());
        if count.is_none() {
            self.mistyped(key, value, "a whole number, 0 or more", report);
        }
        Some(At { value: count?, place: place_of(value) })
    }

    /// A text that is read into something else, whose error says what it should have been.
    pub(super) fn parsed<T>(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let text = self.text(key, report)?;
        match text.value.parse() {
            Ok(value) => Some(At { value, place: text.place }),
            Err(error) => {
                report.error(text.place, format!("{key} cannot be {:?}", text.value), error.to_string());
                None
            }
        }
    }

    /// A list of texts; those that are none are left out.
    pub(super) fn texts(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Vec<At<&'t str>>> {
        let value = self.value(key)?;
        let Some(list) = value.get_ref().as_array() else {
            self.mistyped(key, value, "a list of texts: [\"…\", \"…\"]", report);
            return None;
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { value: text, place: place_of(item) }),
                None => self.mistyped(key, item, "a list of texts: [\"…\", \"…\"]", report),
            }
        }
        Some(texts)
    }

    pub(super) fn addresses(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        for text in self.texts(key, report)? {
            match text.value.parse::<IpAddr>() {
                Ok(address) => addresses.push(address.to_canonical()),
                Err(_) => report.error(
                    text.place,
                    format!("{:?} in {key} is no IP address", text.value),
                    "write an address such as \"192.0.2.1\" or \"2001:db8::1\"",
                ),
            }
        }
        Some(addresses)
    }

    /// A table below this one.
    pub(super) fn table(&mut self, key: &'static str, name: &str, report: &mut Report<'_>) -> Option<Table<'t>> {
        let place = self.place_of_key(key);
        let value = self.value(key)?;
        let Some(entries) = value.get_ref().as_table() else {
            self.mistyped(key, value, &format!("a table: {name}"), report);
            return None;
        };
        Some(Table::new(name, place, entries))
    }

    /// The tables of a list, `[[…]]`.
    pub(super) fn tables(&mut self, key: &'static str, name: &str, report: &mut Report<'_>) -> Vec<Table<'t>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let list = value.get_ref().as_array().into_iter().flat_map(|list| list.iter());
        let tables: Vec<_> = list.filter_map(|item| Some((item.get_ref().as_table()?, place_of(item)))).collect();
        if tables.is_empty() || tables.len() < value.get_ref().as_array().map_or(0, |list| list.iter().count()) {
            self.mistyped(key, value, &format!("a list of tables: write {name} with two brackets"), report);
        }
        tables.into_iter().map(|(entries, place)| Table::new(name, place, entries)).collect()
    }

    /// Tables whose keys the file chooses, in the file's order.
    pub(super) fn named(&mut self, key: &'static str, report: &mut Report<'_>) -> Vec<(At<&'t str>, Table<'t>)> {
        let example = format!("[{key}.\"…\"]");
        let Some(table) = self.table(key, &example, report) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, value) in table.entries.iter() {
            let (text, place) = (&**name.get_ref(), Place(name.span().start));
            match value.get_ref().as_table() {
                Some(entries) => {
                    let title = format!("[{key}.\"{text}\"]");
                    named.push((At { value: text, place }, Table::new(title, place, entries)));
                }
                None => report.error(place, format!("{key}.{text:?} is no table"), format!("write {example}")),
            }
        }
        named.sort_by_key(|(name, _)| name.place);
        named
    }

    /// Tells of every key that nobody asked for.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        for (key, _) in self.entries.iter() {
            let text = &**key.get_ref();
            if !self.known.contains(&text) {
                let message = format!("unknown key {text:?} {}", self.within());
                report.error(Place(key.span().start), message, suggestion(text, &self.known));
            }
        }
    }

    /// Where its keys are, in words.
    fn within(&self) -> String {
        if self.name.is_empty() { "at the top".to_owned() } else { format!("in {}", self.name) }
    }

    fn place_of_key(&self, key: &str) -> Place {
        self.entries.get_key_value(key).map_or(self.place, |(key, _)| Place(key.span().start))
    }

    /// Tells that a value is of the wrong type.
    pub(super) fn mistyped(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, report: &mut Report<'_>) {
        let kind = value.get_ref().type_str();
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        let message = format!("{key} {} cannot be {article} {kind}", self.within());
        report.error(place_of(value), message, format!("write {wanted}"));
    }
}

pub(super) fn place_of<T>(value: &Spanned<T>) -> Place {
    Place(value.span().start)
}

/// A whole number that is not negative.
pub(super) fn whole_number(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Which of the known words was meant.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    let lower = word.to_ascii_lowercase();
    let distance = |known: &&&str| strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase());
    match known.iter().min_by_key(distance) {
        // A third of the letters may be wrong.
        Some(nearest) if distance(&nearest) <= (nearest.len().max(word.len()) / 3).max(1) => {
            format!("did you mean {nearest:?}?")
        }
        _ => {
            let list: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
            format!("known are {}", list.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_none_that_is_far() {
        let known = ["anonymous", "path", "rule"];
        assert_eq!(suggestion("anonymus", &known), "did you mean \"anonymous\"?");
        assert_eq!(suggestion("Paht", &known), "did you mean \"path\"?");
        assert_eq!(suggestion("color", &known), "known are \"anonymous\", \"path\", \"rule\"");
    }
}
