//! What fuzz targets reach beside the public API. It exists only where they are built.

use http::{HeaderMap, Version};

use crate::gateway::{fields, target};

/// A sender's headers as the listener gets them.
pub fn to_listener(sent: &HeaderMap, authorization: bool, version: Version, host: &str) -> HeaderMap {
    fields::to_listener(sent, authorization, version, host)
}

/// A listener's headers as the sender gets them.
pub fn to_sender(given: HeaderMap, length: bool, host: &str) -> HeaderMap {
    fields::to_sender(given, length, host)
}

/// Path and query for a listener.
pub fn request_target(path: &str, query: Option<&str>, raw: bool) -> String {
    target::request_target(path, query, raw)
}
