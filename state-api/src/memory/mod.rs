//! The executable reference of the contract.

mod shard;
mod store;

pub use store::MemoryStore;
