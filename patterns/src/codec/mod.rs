//! How a [`Typed`](crate::Typed) value becomes bytes and is read back.
//!
//! | Codec | Feature | What is stored |
//! |---|---|---|
//! | [`Json`] | (always) | JSON text, bare, as any other program would write it |
//! | `Xml` | `xml` | an XML document |
//! | `MessagePack` | `messagepack` | a frame and MessagePack, fields by name |
//! | `Cbor` | `cbor` | a frame and CBOR, fields by name |
//!
//! The frame names the codec and the schema, so that one codec never takes another's bytes for its own: binary formats would, as the
//! same bytes mean something in each. One of your own is a [`Format`] and a [`Codec`]:
//!
//! ```
//! use statestore_api::{BoxError, MemoryStore};
//! use statestore_patterns::Typed;
//! use statestore_patterns::codec::{Codec, Format};
//!
//! /// Numbers as four bytes.
//! #[derive(Clone, Copy, Debug, Default)]
//! struct BigEndian;
//!
//! impl Format for BigEndian {
//!     fn name(&self) -> &'static str {
//!         "big-endian"
//!     }
//! }
//!
//! impl Codec<u32> for BigEndian {
//!     fn encode(&self, value: &u32) -> Result<Vec<u8>, BoxError> {
//!         Ok(value.to_be_bytes().to_vec())
//!     }
//!
//!     fn decode(&self, payload: &[u8]) -> Result<u32, BoxError> {
//!         Ok(u32::from_be_bytes(payload.try_into()?))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> statestore_api::Result<()> {
//! let counts = Typed::with_codec(MemoryStore::new(), BigEndian);
//! let key = "page/visits".parse()?;
//! counts.put(&key, &7, Default::default()).await?;
//! assert_eq!(counts.get(&key).await?.expect("it was just put").value, 7);
//! # Ok(()) }
//! ```

#[cfg(feature = "cbor")]
mod cbor;
mod frame;
mod json;
#[cfg(feature = "messagepack")]
mod messagepack;
#[cfg(feature = "xml")]
mod xml;

use std::fmt::Debug;

use statestore_api::BoxError;

#[cfg(feature = "cbor")]
pub use cbor::Cbor;
pub use json::Json;
#[cfg(feature = "messagepack")]
pub use messagepack::MessagePack;
#[cfg(feature = "xml")]
pub use xml::Xml;

/// How a codec's values are told from others', and how the number of their schema is kept.
pub trait Format: Debug + Send + Sync + 'static {
    /// Its name, in frames and errors: 1 to 255 bytes, and never changed.
    fn name(&self) -> &'static str;

    /// What is stored for `payload`: by default a frame of the codec's name and the schema, and the payload behind it.
    ///
    /// # Errors
    /// When it cannot be framed.
    fn frame(&self, schema: u32, payload: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        frame::frame(self.name(), schema, &payload)
    }

    /// The schema and the payload of what is stored.
    ///
    /// # Errors
    /// When this codec did not write it.
    fn unframe<'a>(&self, stored: &'a [u8]) -> Result<(u32, &'a [u8]), BoxError> {
        frame::unframe(self.name(), stored)
    }
}

/// A format that values of type `T` can be written in. Its errors must not show the value: they end up in logs.
pub trait Codec<T>: Format {
    /// The bytes of `value`.
    ///
    /// # Errors
    /// When it cannot be written in this format.
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError>;

    /// The value of these bytes, all of them.
    ///
    /// # Errors
    /// When they are no such value.
    fn decode(&self, payload: &[u8]) -> Result<T, BoxError>;
}

/// What `message`, an error of `serde`, says without a stored value: those messages quote what they found.
fn without_values(message: &str) -> &str {
    // The name of a missing field is the type's, not the data's.
    if message.starts_with("missing field `") {
        message
    } else {
        "it does not fit the type"
    }
}
