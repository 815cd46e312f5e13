//! What a plain scalar means: YAML 1.1 as go-yaml v2 (and so `kubectl`) reads it.
//!
//! `yes`, `on`, `y` are booleans, `0644` and `0o644` are octal, `1_000` is a number, `0x1F` and `0b11` too. Sexagesimal
//! numbers and timestamps stay strings.

/// A resolved scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// `null`, `~`, or nothing at all.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits 64 bits with sign.
    Int(i64),
    /// A positive integer beyond [`i64::MAX`].
    UInt(u64),
    /// Any other number.
    Float(f64),
    /// Everything else.
    String(&'a str),
}

/// Resolves the text of a plain (unquoted, untagged) scalar.
pub fn resolve(text: &str) -> Scalar<'_> {
    if is_surely_a_string(text.as_bytes()) {
        return Scalar::String(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => number(text).unwrap_or(Scalar::String(text)),
        _ => Scalar::String(text),
    }
}

/// Most texts are not like any word or number by their first letter or their length: no word is longer than `false`.
fn is_surely_a_string(text: &[u8]) -> bool {
    match text.first() {
        None | Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'~') => false,
        Some(b'f' | b'F' | b'n' | b'N' | b'o' | b'O' | b't' | b'T' | b'y' | b'Y') => text.len() > "false".len(),
        Some(_) => true,
    }
}

/// The text as an integer (Go's `ParseInt` with base 0) or as a float in YAML's form.
fn number(text: &str) -> Option<Scalar<'static>> {
    // An address is written with digits too.
    if text.bytes().filter(|byte| *byte == b'.').count() > 1 {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(integer) = integer(&plain) {
        return Some(integer);
    }
    if is_float(&plain) { plain.parse().ok().map(Scalar::Float) } else { None }
}

fn integer(text: &str) -> Option<Scalar<'static>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match (negative, i64::try_from(magnitude)) {
        (false, Ok(value)) => Some(Scalar::Int(value)),
        (true, Ok(value)) => Some(Scalar::Int(-value)),
        (true, Err(_)) if magnitude == i64::MIN.unsigned_abs() => Some(Scalar::Int(i64::MIN)),
        (true, Err(_)) => None,
        (false, Err(_)) => Some(Scalar::UInt(magnitude)),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_fits && exponent.is_none_or(digits)
}
