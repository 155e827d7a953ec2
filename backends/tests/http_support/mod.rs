//! What the tests of several backends that speak HTTP need.

pub(crate) mod canned;
pub(crate) mod lossy;
