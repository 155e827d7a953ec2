use statestore_api::BoxError;

/// No UTF-8 text, no CBOR item and no JSON begins with this byte.
const MARK: u8 = 0xFF;

/// The mark, the name behind its length, the schema, the payload.
pub(super) fn frame(name: &str, schema: u32, payload: &[u8]) -> Result<Vec<u8>, BoxError> {
    let length = u8::try_from(name.len())?;
    let mut stored = Vec::with_capacity(2 + name.len() + 4 + payload.len());
    stored.extend([MARK, length]);
    stored.extend(name.as_bytes());
    stored.extend(schema.to_be_bytes());
    stored.extend(payload);
    Ok(stored)
}

/// The inverse of [`frame`].
pub(super) fn unframe<'a>(name: &str, stored: &'a [u8]) -> Result<(u32, &'a [u8]), BoxError> {
    let (&length, rest) = stored
        .strip_prefix(&[MARK])
        .and_then(<[u8]>::split_first)
        .ok_or("it has no frame: another program or codec wrote it")?;
    let cut = "its frame is cut off";
    let (written, rest) = rest.split_at_checked(length.into()).ok_or(cut)?;
    let (schema, payload) = rest.split_first_chunk().ok_or(cut)?;
    if written != name.as_bytes() {
        let written = String::from_utf8_lossy(written).escape_debug().to_string();
        return Err(format!("the codec `{written}` wrote it").into());
    }
    Ok((u32::from_be_bytes(*schema), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gives_back_what_was_put_in() {
        let stored = frame("cbor", 7, b"payload").unwrap();
        assert_eq!(unframe("cbor", &stored).unwrap(), (7, &b"payload"[..]));
    }

    #[test]
    fn what_another_codec_wrote_is_refused_and_so_is_every_cut() {
        let stored = frame("cbor", 7, b"").unwrap();
        assert!(unframe("messagepack", &stored).is_err());
        for end in 0..stored.len() {
            assert!(unframe("cbor", &stored[..end]).is_err(), "{end}");
        }
        assert!(unframe("cbor", b"plain text").is_err());
    }
}
