//! Subscribers that do not keep up: nobody waits for them, and nothing grows.
