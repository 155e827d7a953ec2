//! Values that are stored as text, where a service has that, so that its console shows JSON as JSON.

/// The text that bytes are, if it is text to look at: UTF-8 without the control characters of ASCII, but for tabs and ends of lines.
pub(crate) fn shown(bytes: &[u8]) -> Option<&str> {
    let hidden = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    // No end within a block: so many bytes are looked at in one instruction.
    let hides = |block: &[u8]| block.iter().fold(false, |any, byte| any | hidden(*byte));
    if bytes.chunks(256).any(hides) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_wherever_it_ends() {
        for len in [0, 1, 255, 256, 257, 1000] {
            let mut bytes: Vec<u8> = b" ~\t\r\n\x7f".iter().copied().cycle().take(len).collect();
            assert_eq!(shown(&bytes).map(str::len), Some(len));
            for place in 0..len {
                for hidden in [0, 0x1b, 0x1f, 0xff] {
                    let before = std::mem::replace(&mut bytes[place], hidden);
                    assert_eq!(shown(&bytes), None, "{hidden} at {place} of {len}");
                    bytes[place] = before;
                }
            }
        }
        assert_eq!(shown("Grüße, 世界".as_bytes()), Some("Grüße, 世界"));
        assert_eq!(shown(&"ü".as_bytes()[..1]), None, "half a character");
    }
}
