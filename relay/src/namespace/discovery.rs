//! What those are told who look for endpoints.

/// How a hybrid connection is told of at `GET /` of its namespace while a listener is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discoverable {
    /// Who is told.
    pub visibility: Visibility,
    /// A name for people: the path if it is empty.
    pub title: String,
    /// A sentence or two for people.
    pub summary: String,
    /// Words to look for.
    pub tags: Vec<String>,
}

impl Discoverable {
    /// Without title, summary and tags.
    pub fn new(visibility: Visibility) -> Self {
        Self { visibility, title: String::new(), summary: String::new(), tags: Vec::new() }
    }
}

/// Who is told of a hybrid connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Who may send to it.
    Authorised,
}
