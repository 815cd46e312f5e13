//! Path normalisation, before routing and policy; the upstream gets the normalised path (Istio semantics 6.6).
//!
//! Works on the path without query. A path that needs no change is returned as it is, without allocation.

use std::borrow::Cow;

use outrigger_config::model::PathNormalization;

/// A path that cannot be normalised: answered 400 with details `path_normalization_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNormalizable;

/// Normalises `path`, which starts with `/`.
///
/// # Errors
/// An escaped NUL, a control character, or a `#`, which no client sends in a path on purpose. (From the network no `#` comes as far
/// as here: the codec of HTTP/1 refuses it, and that of HTTP/2 cuts it off with what follows.)
pub fn normalize(path: &str, mode: PathNormalization) -> Result<Cow<'_, str>, NotNormalizable> {
    let unusual = path.bytes().any(is_unusual);
    if unusual && (path.bytes().any(|byte| byte.is_ascii_control() || byte == b'#') || path.contains("%00")) {
        return Err(NotNormalizable);
    }
    if mode == PathNormalization::None || (!unusual && is_normal(path, mode)) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path, mode == PathNormalization::DecodeAndMergeSlashes);
    let resolved = resolve_dots(&decoded);
    Ok(Cow::Owned(if mode == PathNormalization::Base { resolved } else { merge_slashes(&resolved) }))
}

/// Bytes that a path which is normal anyway does not have. One pass looks for all of them.
fn is_unusual(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b'#' | b'%' | b'\\')
}

/// A conservative test of a path without unusual bytes: false only means that the slow path looks closer.
fn is_normal(path: &str, mode: PathNormalization) -> bool {
    let merges = matches!(mode, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes);
    !path.as_bytes().windows(2).any(|pair| pair == b"/." || (merges && pair == b"//"))
}

/// Decodes escapes of unreserved characters (RFC 3986 section 2.3), of slashes when asked, and turns backslashes round.
fn decode(path: &str, slashes: bool) -> String {
    let mut output = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, escape(rest)) {
            (b'%', Some(byte)) if is_unreserved(byte) => output.push(byte),
            (b'%', Some(b'/' | b'\\')) if slashes => output.push(b'/'),
            (b'%', Some(_)) => output.extend_from_slice(&rest[..3]),
            (b'\\', _) => output.push(b'/'),
            _ => output.push(*first),
        }
        let taken_whole = *first == b'%' && escape(rest).is_some();
        rest = if taken_whole { &rest[3..] } else { tail };
    }
    // Only ASCII was written in place of ASCII, so the text is still UTF-8.
    String::from_utf8_lossy(&output).into_owned()
}

/// The byte that `%XY` at the beginning of `bytes` stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Resolves `.` and `..` segments; more `..` than there are segments stop at `/` (RFC 3986 section 5.2.4).
fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(part),
        }
    }
    format!("/{}", segments.join("/"))
}

fn merge_slashes(path: &str) -> String {
    let mut output = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !output.ends_with('/') {
            output.push(char);
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use outrigger_config::model::PathNormalization::*;

    use super::*;

    #[test]
    fn each_mode_does_what_the_one_before_does_and_more() {
        let table = [
            ("/a/b", "/a/b", "/a/b", "/a/b"),
            ("/a/./b/../c", "/a/c", "/a/c", "/a/c"),
            ("/../../a", "/a", "/a", "/a"),
            ("/a/..", "/", "/", "/"),
            ("/a/.", "/a/", "/a/", "/a/"),
            ("/%61%2d%7E", "/a-~", "/a-~", "/a-~"),
            ("/a/%2e%2E/b", "/b", "/b", "/b"),
            ("/a\\b", "/a/b", "/a/b", "/a/b"),
            ("/a%2Fb%25", "/a%2Fb%25", "/a%2Fb%25", "/a/b%25"),
            ("/a//b", "/a//b", "/a/b", "/a/b"),
            ("/a%5cb", "/a%5cb", "/a%5cb", "/a/b"),
            ("/a%2f/b", "/a%2f/b", "/a%2f/b", "/a/b"),
            ("/%zz%4", "/%zz%4", "/%zz%4", "/%zz%4"),
            ("/ü%C3%BC", "/ü%C3%BC", "/ü%C3%BC", "/ü%C3%BC"),
            ("/.hidden", "/.hidden", "/.hidden", "/.hidden"),
        ];
        for (path, base, merge, decode) in table {
            assert_eq!(normalize(path, None).as_deref(), Ok(path));
            assert_eq!(normalize(path, Base).as_deref(), Ok(base), "{path} BASE");
            assert_eq!(normalize(path, MergeSlashes).as_deref(), Ok(merge), "{path} MERGE_SLASHES");
            assert_eq!(normalize(path, DecodeAndMergeSlashes).as_deref(), Ok(decode), "{path} DECODE_AND_MERGE_SLASHES");
        }
    }

    #[test]
    fn what_cannot_be_normalised_is_refused_in_every_mode() {
        for path in ["/a%00", "/a\u{1}", "/a#b", "/\u{7f}"] {
            assert_eq!(normalize(path, None), Err(NotNormalizable), "{path:?}");
            assert_eq!(normalize(path, Base), Err(NotNormalizable), "{path:?}");
        }
    }

    #[test]
    fn an_ordinary_path_is_not_copied() {
        assert!(matches!(normalize("/api/v1/items", Base), Ok(Cow::Borrowed(_))));
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_changes_nothing_more(path in "/[a-c./%2eEfF5\\\\]{0,24}") {
            for mode in [Base, MergeSlashes] {
                let Ok(once) = normalize(&path, mode).map(Cow::into_owned) else { continue };
                // `%%61` uncovers a further escape, which only a second pass would decode.
                if decode(&once, false) == once {
                    proptest::prop_assert_eq!(normalize(&once, mode), Ok(Cow::Borrowed(once.as_str())));
                }
            }
        }
    }
}
