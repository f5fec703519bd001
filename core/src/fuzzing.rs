//! What fuzz targets reach beside the public API. It exists only where they are built.

use http::Uri;

use crate::EntityPath;
use crate::http::Target;

/// Takes a relayed request's target apart: mount, path, query, and the URI that a program sees, if it is one.
pub fn mount_and_target(target: &str, entity: &EntityPath) -> (String, String, Option<String>, Option<Uri>) {
    let target = Target::parse(target, entity);
    let uri = target.uri().ok();
    (target.mount.as_str().to_owned(), target.path, target.query, uri)
}
