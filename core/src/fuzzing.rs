//! What fuzz targets reach beside the public API. It exists only where they are built.

use http::Uri;

use crate::follow::Parser;
use crate::http::Target;
use crate::{EntityPath, Result};

/// Takes a relayed request's target apart: mount, path, query, and the URI that a program sees, if it is one.
pub fn mount_and_target(target: &str, entity: &EntityPath) -> (String, String, Option<String>, Option<Uri>) {
    let target = Target::parse(target, entity);
    let uri = target.uri().ok();
    (target.mount.as_str().to_owned(), target.path, target.query, uri)
}

/// Reads server-sent events that come in pieces: id, name and data of each.
///
/// # Errors
///
/// An event that is too long.
pub fn server_events(pieces: &[&[u8]]) -> Result<Vec<(Option<String>, String, String)>> {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while let Some(event) = parser.next(&mut piece)? {
            events.push((event.id, event.name, event.data));
        }
    }
    Ok(events)
}
