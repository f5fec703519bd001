//! What `connect` is asked for: a hybrid connection and what follows it.

use hybridrelay::{EntityPath, Error, ErrorKind, Result};

/// A hybrid connection, a path behind it, and a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) entity: EntityPath,
    /// Empty, or with a slash in front.
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Destination {
    /// Reads `ENTITY[/suffix][?query]`; what begins with `/` or `?` stands behind `own`, the connection string's `EntityPath`.
    ///
    /// Only the relay knows where the entity ends and the suffix begins: it takes the longest name that exists. Here the longest
    /// part that can be a name counts as one, because a token for `orders/7` opens `/orders/7` whether the listener is at `orders`
    /// or at `orders/7` (protocol.md 2.3).
    pub(crate) fn parse(argument: &str, own: Option<&EntityPath>) -> Result<Self> {
        let (path, query) = argument.split_once('?').unwrap_or((argument, ""));
        if let Some(own) = own
            && (path.is_empty() || path.starts_with('/'))
        {
            return Ok(Self { entity: own.clone(), path: path.to_owned(), query: query.to_owned() });
        }
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Err(nothing_named());
        }
        let borders: Vec<usize> = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).collect();
        let name_until = |end: &usize| {
            let name = &path[..*end];
            // The parser forgives a slash at the end, which belongs to the suffix here.
            if name.ends_with('/') { None } else { Some((name.parse().ok()?, &path[*end..])) }
        };
        let (entity, rest) = match borders.iter().rev().find_map(name_until) {
            Some(found) => found,
            None => (path[..borders[0]].parse()?, ""),
        };
        Ok(Self { entity, path: rest.to_owned(), query: query.to_owned() })
    }

    /// Reads the same for an HTTP request: the first segment counts as the entity, or `own` where the argument begins with it.
    ///
    /// A request's path ends as it was written, with or without a slash, and a name alone gets one. What is asked for is the same,
    /// wherever the border is taken to be; the token is for everything below the first segment.
    pub(crate) fn parse_for_request(argument: &str, own: Option<&EntityPath>) -> Result<Self> {
        let named = argument.trim_start_matches('/');
        if argument.is_empty() || argument.starts_with(['/', '?']) && own.is_some() {
            return Self::parse(argument, own);
        }
        let (path, query) = named.split_once('?').unwrap_or((named, ""));
        let is_border = |len: usize| path.len() == len || path[len..].starts_with('/');
        let of_own = own.map(|own| own.as_str().len()).filter(|len| {
            let prefix = path.get(..*len).and_then(|prefix| prefix.parse::<EntityPath>().ok());
            prefix.as_ref() == own && is_border(*len)
        });
        let end = of_own.or_else(|| path.find('/')).unwrap_or(path.len());
        if end == 0 {
            return Err(nothing_named());
        }
        Ok(Self { entity: path[..end].parse()?, path: path[end..].to_owned(), query: query.to_owned() })
    }

    /// Adds a path behind everything.
    pub(crate) fn with_path(mut self, path: &str) -> Self {
        if !path.is_empty() && !path.starts_with('/') {
            self.path.push('/');
        }
        self.path.push_str(path);
        self
    }

    /// Adds a query behind the one that is there.
    pub(crate) fn with_query(mut self, query: &str) -> Self {
        if !self.query.is_empty() && !query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(query.strip_prefix('?').unwrap_or(query));
        self
    }
}

/// What a command says that was given no hybrid connection.
pub(crate) fn nothing_named() -> Error {
    Error::new(ErrorKind::InvalidArgument, "no hybrid connection is named")
        .with_hint("name one, such as 'hello', or add EntityPath=hello to the connection string")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(argument: &str, own: Option<&str>) -> (String, String, String) {
        let own = own.map(|own| own.parse().unwrap());
        let Destination { entity, path, query } = Destination::parse(argument, own.as_ref()).unwrap();
        (entity.to_string(), path, query)
    }

    #[test]
    fn the_longest_possible_name_is_the_entity() {
        for (argument, entity, path, query) in [
            ("orders", "orders", "", ""),
            ("/orders", "orders", "", ""),
            ("orders/7?x=1?y", "orders/7", "", "x=1?y"),
            ("a/b/c", "a/b/c", "", ""),
            ("orders/", "orders", "/", ""),
            ("orders/caf%C3%A9/x", "orders", "/caf%C3%A9/x", ""),
            ("orders/a b", "orders", "/a b", ""),
            ("orders//7", "orders", "//7", ""),
            ("orders/7-", "orders", "/7-", ""),
        ] {
            let expected = (entity.to_owned(), path.to_owned(), query.to_owned());
            assert_eq!(parsed(argument, None), expected, "{argument}");
        }
    }

    #[test]
    fn what_begins_with_a_slash_follows_the_connection_strings_entity() {
        let of = |argument| parsed(argument, Some("hyco"));
        assert_eq!(of("/7?x=1"), ("hyco".into(), "/7".into(), "x=1".into()));
        assert_eq!(of("?x=1"), ("hyco".into(), String::new(), "x=1".into()));
        assert_eq!(of(""), ("hyco".into(), String::new(), String::new()));
        assert_eq!(of("other/7"), ("other/7".into(), String::new(), String::new()));
    }

    #[test]
    fn a_requests_path_begins_behind_the_first_segment_or_the_connection_strings_entity() {
        for (argument, own, entity, path, query) in [
            ("orders", None, "orders", "", ""),
            ("orders/7?x=1?y", None, "orders", "/7", "x=1?y"),
            ("orders/7/", None, "orders", "/7/", ""),
            ("/orders/7", None, "orders", "/7", ""),
            ("orders//7", None, "orders", "//7", ""),
            ("a/b/7", Some("a/b"), "a/b", "/7", ""),
            ("A/B", Some("a/b"), "A/B", "", ""),
            ("a/bc", Some("a/b"), "a", "/bc", ""),
            ("/7", Some("a/b"), "a/b", "/7", ""),
            ("?x=1", Some("a/b"), "a/b", "", "x=1"),
        ] {
            let own = own.map(|own| own.parse().unwrap());
            let parsed = Destination::parse_for_request(argument, own.as_ref()).unwrap();
            let expected = (entity, path, query);
            assert_eq!((parsed.entity.as_str(), parsed.path.as_str(), parsed.query.as_str()), expected, "{argument}");
        }
        for argument in ["", "/", "?x", "a b"] {
            assert!(Destination::parse_for_request(argument, None).is_err(), "{argument}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused_with_the_reason() {
        for (argument, why) in [("a b/c", "' ' is not allowed"), ("", "no hybrid connection"), ("?x", "no hybrid")] {
            let error = Destination::parse(argument, None).unwrap_err();
            assert!(error.to_string().contains(why), "{argument}: {error}");
        }
    }

    #[test]
    fn path_and_query_are_added_behind() {
        let own = "hyco".parse().ok();
        let destination = Destination::parse("/a?x=1", own.as_ref()).unwrap().with_path("b").with_query("?y=2");
        assert_eq!((destination.path.as_str(), destination.query.as_str()), ("/a/b", "x=1&y=2"));
    }
}
