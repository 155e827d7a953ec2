//! Nothing by itself: the tests beside it hold the Azure Table store to the crate `azure_data_tables`.
//!
//! They are a package of their own, so that what that crate pulls in, crates with open security notices among it, is not built for
//! any other test.
