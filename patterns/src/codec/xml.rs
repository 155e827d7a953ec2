use serde::Serialize;
use serde::de::DeserializeOwned;
use statestore_api::BoxError;

use super::{Codec, Format, without_values};

/// XML, as [`quick_xml`] maps it from and to `serde`: a field is an element, one named `@name` an attribute. A schema after the first is
/// kept in a processing instruction before the root, which other programs pass over.
///
/// The root element is named as the type is, which has to be a struct or an enum; [`with_root`](Self::with_root) names it otherwise.
///
/// XML has no empty list and no `None`: give such fields `#[serde(default)]`, and a `None` `skip_serializing_if`. A value that would come back as
/// another text is refused when it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xml {
    root: Option<&'static str>,
}

const OPEN: &str = "<?statestore schema=\"";
const CLOSE: &str = "\"?>";

impl Xml {
    /// With this name of the root element.
    #[must_use]
    pub const fn with_root(root: &'static str) -> Self {
        Self { root: Some(root) }
    }

    fn text(self, value: &impl Serialize) -> Result<String, BoxError> {
        Ok(match self.root {
            Some(root) => quick_xml::se::to_string_with_root(root, value)?,
            None => quick_xml::se::to_string(value)?,
        })
    }
}

impl Format for Xml {
    fn name(&self) -> &'static str {
        "xml"
    }

    fn frame(&self, schema: u32, payload: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        if schema == 1 {
            return Ok(payload);
        }
        let mut stored = format!("{OPEN}{schema}{CLOSE}").into_bytes();
        stored.extend(payload);
        Ok(stored)
    }

    fn unframe<'a>(&self, stored: &'a [u8]) -> Result<(u32, &'a [u8]), BoxError> {
        let text = std::str::from_utf8(stored).map_err(|_| "it is not XML: it is no text")?;
        // A bare number would be read as one otherwise.
        if !text.trim_start().starts_with('<') {
            return Err("it is not XML: it does not begin with `<`".into());
        }
        let Some(rest) = text.strip_prefix(OPEN) else {
            return Ok((1, stored));
        };
        let (schema, document) = rest.split_once(CLOSE).ok_or("its schema is cut off")?;
        Ok((schema.parse()?, document.as_bytes()))
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Xml {
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        let text = self.text(value)?;
        // What XML cannot hold (a control character, say) would come back as another value.
        let back = self.decode(text.as_bytes()).and_then(|back: T| self.text(&back));
        match back {
            Ok(again) if again == text => Ok(text.into_bytes()),
            _ => Err("XML cannot hold it: it would not come back as it is".into()),
        }
    }

    fn decode(&self, payload: &[u8]) -> Result<T, BoxError> {
        let text = std::str::from_utf8(payload)?;
        quick_xml::de::from_str(text).map_err(|error| match error {
            quick_xml::DeError::Custom(message) => without_values(&message).into(),
            quick_xml::DeError::InvalidXml(_) => "it is not XML".into(),
            _ => without_values("").into(),
        })
    }
}
