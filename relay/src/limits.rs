//! What one peer, key, hybrid connection, namespace or relay may use: how many at once ([`quotas`]), and how many in a time
//! ([`rates`]).
//!
//! The numbers stand in [`Limits`](crate::Limits); here is who is counted, and how. Nothing in here is process-wide: each relay has
//! tables of its own.

mod admission;
mod bucket;
mod descriptors;
mod quotas;
mod rates;
mod scope;

pub(crate) use admission::Admission;
pub(crate) use descriptors::are_exhausted;
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub(crate) use quotas::{Exceeded, Permit, Quotas, Resource};
pub(crate) use rates::{Grant, Rates, Throttle, TooFast};
pub(crate) use scope::{Account, AddressBlock, Scope};
