//! Objects at rest: the bytes in which a store keeps objects while nobody looks at them.
//!
//! A typed object is made for reading: its fields have room for all that the API knows, and most are empty. A mesh has
//! thousands of objects that are looked at only when a configuration is compiled. Packed, an object takes the fields that are
//! set, and a text that was packed before (`app`, a namespace, the name that Service, Pod and labels have in common) takes the
//! number of its first occurrence.
//!
//! The bytes never leave the process and are read by the program that wrote them: there is no version, and reading checks
//! what it needs to stay in bounds and nothing else. Types get [`Pack`] from the macros that declare them, so that a field
//! cannot be forgotten.

mod object;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A value that can be packed.
pub(crate) trait Pack: Sized {
    /// Appends the value.
    fn pack(&self, out: &mut Packer);

    /// Reads what [`Pack::pack`] wrote. `None` when these are other bytes.
    fn unpack(input: &mut Unpacker<'_>) -> Option<Self>;
}

/// What was packed.
#[derive(Default)]
pub(crate) struct Packed {
    bytes: Box<[u8]>,
    /// Texts that objects share and that are large: they stay where they are.
    texts: Box<[Arc<str>]>,
    files: Box<[Arc<Path>]>,
}

impl Packed {
    /// Reads from the start.
    pub(crate) fn unpack(&self) -> Unpacker<'_> {
        Unpacker { rest: &self.bytes, strings: Vec::new(), packed: self, no_text: Arc::from("") }
    }
}

/// Values being packed.
#[derive(Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    strings: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
    texts: Vec<Arc<str>>,
    files: Vec<Arc<Path>>,
}

impl Packer {
    pub(crate) fn finish(self) -> Packed {
        Packed { bytes: self.bytes.into(), texts: self.texts.into(), files: self.files.into() }
    }

    /// A number, in as many groups of seven bits as it has.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// An even number is twice the length of a new string, an odd one leads to the string of that number.
    pub(crate) fn string(&mut self, text: &str) {
        if let Some(known) = self.strings.get(text).copied() {
            return self.number(known << 1 | 1);
        }
        let next = self.strings.len() as u64;
        self.strings.insert(text.into(), next);
        self.number((text.len() as u64) << 1);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A text that stays shared; objects of one document follow each other.
    pub(crate) fn text(&mut self, text: &Arc<str>) {
        if text.is_empty() {
            return self.number(0);
        }
        if !self.texts.last().is_some_and(|last| Arc::ptr_eq(last, text)) {
            self.texts.push(Arc::clone(text));
        }
        self.length(self.texts.len());
    }

    /// The file of an object; those of one file follow each other.
    pub(crate) fn file(&mut self, file: &Arc<Path>) {
        if self.files.last() != Some(file) {
            self.files.push(Arc::clone(file));
        }
        self.length(self.files.len() - 1);
    }
}

/// Packed values being read.
pub(crate) struct Unpacker<'p> {
    rest: &'p [u8],
    strings: Vec<&'p str>,
    packed: &'p Packed,
    no_text: Arc<str>,
}

impl<'p> Unpacker<'p> {
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'p [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Option<&'p str> {
        let number = self.length()?;
        if number & 1 == 1 {
            return self.strings.get(number >> 1).copied();
        }
        let text = std::str::from_utf8(self.take(number >> 1)?).ok()?;
        self.strings.push(text);
        Some(text)
    }

    pub(crate) fn text(&mut self) -> Option<Arc<str>> {
        match self.length()?.checked_sub(1) {
            None => Some(Arc::clone(&self.no_text)),
            Some(position) => self.packed.texts.get(position).cloned(),
        }
    }

    pub(crate) fn file(&mut self) -> Option<Arc<Path>> {
        let position = self.length()?;
        self.packed.files.get(position).cloned()
    }

    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

// How much there is and nothing of it: among the objects are Secrets.

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes, {} texts)", self.bytes.len(), self.texts.len())
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packer({} bytes, {} texts)", self.bytes.len(), self.texts.len())
    }
}

impl fmt::Debug for Unpacker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpacker({} bytes left)", self.rest.len())
    }
}
