//! JSON strings, written without intermediate values.

/// Appends `bytes` as the inside of a JSON string. Bytes that are not UTF-8 become the replacement character.
pub fn escape_into(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        escape_text(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            byte => out.push(byte),
        }
    }
}

/// A key with quotes and colon.
pub fn key(key: &str) -> String {
    format!("{}:", serde_json::Value::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_string_becomes_valid_json() {
        for bytes in [&b"plain"[..], b"a\"b\\c", b"\x00\x1f\n\r\t", b"\xff\xfe ok", "é€".as_bytes()] {
            let mut out = vec![b'"'];
            escape_into(&mut out, bytes);
            out.push(b'"');
            let parsed: String = serde_json::from_slice(&out).expect("valid JSON");
            assert_eq!(parsed, String::from_utf8_lossy(bytes));
        }
    }
}
