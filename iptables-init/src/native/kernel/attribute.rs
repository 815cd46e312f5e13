//! Netlink attributes: length, type, value, padded to four bytes. Numbers of nf_tables are big endian.

/// Attributes one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

const NESTED: u16 = 0x8000;
const HEADER: usize = 4;

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With the NUL that the kernel wants.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.nested_bytes(kind, &inner.0)
    }

    /// Nested attributes that are bytes already.
    pub(super) fn nested_bytes(self, kind: u16, inner: &[u8]) -> Self {
        self.bytes(kind | NESTED, inner)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Values beyond 64 KiB do not exist here: the longest is one rule's expressions.
    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// The attributes in a message from the kernel, types without the mark of nesting. Stops at the first that does not fit.
pub(super) fn read(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((kind, value, rest)) = first(bytes) {
        found.push((kind & !NESTED, value));
        bytes = rest;
    }
    found
}

fn first(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..HEADER)?.try_into().ok()?);
    let value = bytes.get(HEADER..length)?;
    Some((kind, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// One value by its type.
pub(super) fn find<'a>(attributes: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(of, _)| *of == kind).map(|(_, value)| *value)
}

/// A text value without its NUL.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Attributes, find, read, text};

    #[test]
    fn what_was_written_is_read_back() {
        let inner = Attributes::new().number(1, 7);
        let written = Attributes::new().text(1, "abc").nested(2, &inner).bytes(3, &[1]);
        let attributes = read(written.as_bytes());
        assert_eq!(find(&attributes, 1).map(text).as_deref(), Some("abc"));
        assert_eq!(find(&attributes, 2), Some(inner.as_bytes()));
        assert_eq!(find(&attributes, 3), Some(&[1][..]));
    }

    #[test]
    fn a_cut_off_message_ends_the_reading() {
        let written = Attributes::new().text(1, "abcdef").text(2, "ghi");
        for length in 0..written.as_bytes().len() {
            assert!(read(&written.as_bytes()[..length]).len() <= 2);
        }
        assert!(read(&[0, 0, 0, 0, 0, 0, 0, 0]).is_empty());
        assert!(read(&[3, 0, 1, 0]).is_empty());
    }
}
