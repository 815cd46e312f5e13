//! Where in an object a decoder or a validator is: a linked list on the stack that costs nothing until it is printed.

use std::fmt;

/// A field path. Print it to get `spec.http[0].route[1].destination.subset`.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    /// A named field; the name may be snake_case and is printed as lowerCamelCase.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list, from 0.
    Index(&'a Path<'a>, usize),
    /// A key of a map, as `labels[app]`.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// This path and a field.
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    /// This path and an index.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    /// This path and a map key.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => write_camel(f, name),
            Path::Field(parent, name) => {
                write!(f, "{parent}.")?;
                write_camel(f, name)
            }
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

fn write_camel(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    camel(name).try_for_each(|c| fmt::Write::write_char(f, c))
}

/// The characters of a snake_case name in lowerCamelCase, by protobuf's rule. A name without underscore is unchanged.
pub fn camel(name: &str) -> impl Iterator<Item = char> + '_ {
    let mut upper = false;
    name.chars().filter_map(move |c| {
        if c == '_' {
            upper = true;
            return None;
        }
        Some(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c })
    })
}

/// True when `key`, written by a user, names the field `name`: equal after both are put into lowerCamelCase.
pub fn same_field(key: &str, name: &str) -> bool {
    key == name || (has_underscore(key) || has_underscore(name)) && camel(key).eq(camel(name))
}

/// True when `key` is the field `name` in lowerCamelCase and nothing else.
pub fn is_camel_of(key: &str, name: &str) -> bool {
    if has_underscore(name) { camel(name).eq(key.chars()) } else { key == name }
}

fn has_underscore(name: &str) -> bool {
    name.bytes().any(|byte| byte == b'_')
}

/// One step of a printed path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A field of a mapping.
    Field(&'a str),
    /// Text in brackets: an index or a map key, whichever the value there has.
    Bracket(&'a str),
}

/// Splits a printed path into its steps. Map keys may hold dots and slashes, not `]`.
pub fn steps(path: &str) -> impl Iterator<Item = Step<'_>> + Clone {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            rest = after;
            return Some(Step::Bracket(key));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        Some(Step::Field(name))
    })
}
