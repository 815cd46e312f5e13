//! Reading of scalars, lists, maps and the small shared types of both APIs.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;

use super::{Decode, Decoder, Dialect, Path};
use crate::string_map::StringMap;
use crate::yaml::{Node, Scalar, Value};

impl Decode for String {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        match (node.scalar(), &node.value) {
            (Some(Scalar::String(text)), _) => text.to_owned(),
            (Some(Scalar::Bool(_) | Scalar::Int(_) | Scalar::UInt(_) | Scalar::Float(_)), Value::Scalar { text, .. }) => {
                cx.mismatch(node, path, &format!("a string (write it in quotes: {text:?})"));
                String::new()
            }
            _ => {
                cx.mismatch(node, path, "a string");
                String::new()
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        if let Some(Scalar::Bool(value)) = node.scalar() {
            return value;
        }
        cx.mismatch(node, path, "true or false");
        false
    }
}

impl Decode for f64 {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let number = match node.scalar() {
            Some(Scalar::Int(value)) => Some(value as f64),
            Some(Scalar::UInt(value)) => Some(value as f64),
            Some(Scalar::Float(value)) => Some(value),
            Some(Scalar::String(text)) if cx.dialect() == Dialect::Istio => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(value) if value.is_finite() => value,
            _ => {
                cx.mismatch(node, path, "a number");
                0.0
            }
        }
    }
}

/// The integer a scalar stands for. Protobuf JSON also takes strings and floats without a fraction.
fn integer(node: &Node, dialect: Dialect) -> Option<i128> {
    match node.scalar()? {
        Scalar::Int(value) => Some(value.into()),
        Scalar::UInt(value) => Some(value.into()),
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i128),
        Scalar::String(text) if dialect == Dialect::Istio => text.parse().ok(),
        _ => None,
    }
}

macro_rules! decode_integer {
    ($($ty:ty)*) => {$(
        impl Decode for $ty {
            fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
                match integer(node, cx.dialect()) {
                    Some(value) => <$ty>::try_from(value).unwrap_or_else(|_| {
                        cx.mismatch(node, path, &format!("a whole number from {} to {}", <$ty>::MIN, <$ty>::MAX));
                        0
                    }),
                    None => {
                        cx.mismatch(node, path, "a whole number");
                        0
                    }
                }
            }
        }
    )*};
}
decode_integer!(u16 u32 u64 i32 i64);

/// Absent or null is `None`.
impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        if node.is_null() { None } else { Some(T::decode(node, path, cx)) }
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        Box::new(T::decode(node, path, cx))
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let Value::Sequence(items) = &node.value else {
            cx.mismatch(node, path, "a list");
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| T::decode(item, &path.index(index), cx)).collect()
    }
}

impl<T: Decode> Decode for StringMap<T> {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let Value::Mapping(entries) = &node.value else {
            cx.mismatch(node, path, "a mapping");
            return StringMap::new();
        };
        entries.iter().map(|entry| (entry.key.to_string(), T::decode(&entry.value, &path.key(&entry.key), cx))).collect()
    }
}

/// A map with numbers as keys, such as `portLevelMtls`.
impl<T: Decode> Decode for BTreeMap<u32, T> {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let mut map = BTreeMap::new();
        for (key, value) in StringMap::<T>::decode(node, path, cx) {
            match key.parse() {
                Ok(number) => {
                    map.insert(number, value);
                }
                Err(_) => {
                    let position = node.entry(&key).map_or(node.position, |entry| entry.key_position);
                    cx.error(position, &path.key(&key), format!("expected a number as key, found {key:?}"));
                }
            }
        }
        map
    }
}

/// A duration such as `1.5s`, `1h30m` or `250ms`; negative ones are refused.
impl Decode for Duration {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let duration = match node.scalar() {
            Some(Scalar::String(text)) => parse_duration(text),
            Some(Scalar::Int(0)) => Some(Duration::ZERO),
            _ => None,
        };
        duration.unwrap_or_else(|| {
            cx.mismatch(node, path, "a duration such as \"1.5s\", \"250ms\" or \"1h30m\"");
            Duration::ZERO
        })
    }
}

/// Parses a non-negative duration in Go's syntax: decimal numbers with the units h, m, s, ms, us (µs) and ns.
/// `None` when the text is anything else, negative or too large. Parts of a nanosecond are dropped.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total = total.checked_add(nanoseconds(number, unit)?)?;
        rest = tail;
    }
    Some(total)
}

/// `number` times `unit`, computed in integers so that `1.001s` is exact.
fn nanoseconds(number: &str, unit: &str) -> Option<Duration> {
    let scale: u128 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        total += u128::from(digit.to_digit(10)?) * place;
    }
    Some(Duration::new(u64::try_from(total / 1_000_000_000).ok()?, u32::try_from(total % 1_000_000_000).ok()?))
}

/// Bytes written as base64 (standard or URL alphabet, padding optional), as protobuf JSON and Kubernetes Secrets have them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

/// Only the length: the content may be a private key.
impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Decode for Bytes {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let decoded = node.as_str().and_then(|text| {
            let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=').collect();
            let standard = compact.replace('-', "+").replace('_', "/");
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(standard).ok()
        });
        Bytes(decoded.unwrap_or_else(|| {
            // The content may be secret: it is not repeated in the message.
            cx.error(node.position, path, "expected bytes in base64, found something else");
            Vec::new()
        }))
    }
}

/// A port number or the name of a port, Kubernetes' `IntOrString`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name (or a percentage).
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        IntOrString::Int(0)
    }
}

impl Decode for IntOrString {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        match node.as_str() {
            Some(text) => IntOrString::String(text.to_owned()),
            None => IntOrString::Int(i32::decode(node, path, cx)),
        }
    }
}

/// Any value, kept as JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Json(pub serde_json::Value);

impl Decode for Json {
    fn decode(node: &Node, _path: &Path<'_>, _cx: &mut Decoder) -> Self {
        Json(node.to_json())
    }
}
