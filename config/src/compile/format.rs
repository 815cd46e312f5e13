//! Envoy's format strings, as header operations and access logs use them.
//!
//! `%NAME%`, `%NAME(argument)%`, `%NAME(argument):LENGTH%`, and `%%` for a percent sign (Istio semantics 1.9 and 7.3).

use crate::model::FormatPiece;

/// Splits a format string into text and commands; neighbouring text is joined.
///
/// # Errors
/// What is wrong and where, counted in bytes from 0.
pub(super) fn parse(format: &str) -> Result<Vec<FormatPiece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        text.push_str(&rest[..percent]);
        let after = &rest[percent + 1..];
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let at = format.len() - after.len() - 1;
        let (command, behind) = command(after).ok_or_else(|| broken(at))?;
        if !text.is_empty() {
            pieces.push(FormatPiece::Text(std::mem::take(&mut text)));
        }
        pieces.push(command);
        rest = behind;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(FormatPiece::Text(text));
    }
    Ok(pieces)
}

fn broken(at: usize) -> String {
    format!("`%` at byte {at} begins no format command; expected `%NAME%` or `%NAME(argument)%`, or `%%` for a percent sign")
}

/// Reads a command behind its first percent sign; returns it with the text behind its last one.
fn command(text: &str) -> Option<(FormatPiece, &str)> {
    let end = text.find(|char: char| !(char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'))?;
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let (argument, rest) = match rest.strip_prefix('(') {
        None => (None, rest),
        Some(inner) => {
            let close = closing(inner)?;
            (Some(inner[..close].to_owned()), &inner[close + 1..])
        }
    };
    let (length, rest) = rest.split_at(rest.find('%')?);
    let valid = length.is_empty() || length.strip_prefix(':').is_some_and(|digits| digits.parse::<u32>().is_ok());
    valid.then(|| (FormatPiece::Command { name: format!("{name}{length}"), argument }, &rest[1..]))
}

/// The parenthesis that ends an argument: the first one before `%` or `:LENGTH%` (START_TIME's argument has its own
/// percent signs).
fn closing(text: &str) -> Option<usize> {
    text.match_indices(')').map(|(at, _)| at).find(|at| {
        let behind = text[at + 1..].trim_start_matches(|char: char| char == ':' || char.is_ascii_digit());
        behind.starts_with('%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FormatPiece {
        FormatPiece::Text(text.to_owned())
    }

    fn command(name: &str, argument: Option<&str>) -> FormatPiece {
        FormatPiece::Command { name: name.to_owned(), argument: argument.map(str::to_owned) }
    }

    #[test]
    fn text_and_commands_are_told_apart() {
        for (format, expected) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("100%%", vec![text("100%")]),
            ("%PROTOCOL%", vec![command("PROTOCOL", None)]),
            ("a %REQ(X-A?:PATH)% b", vec![text("a "), command("REQ", Some("X-A?:PATH")), text(" b")]),
            ("%REQ(X-A):10%%%", vec![command("REQ:10", Some("X-A")), text("%")]),
            ("%START_TIME(%Y/%m/%dT%H:%M:%S%z)%", vec![command("START_TIME", Some("%Y/%m/%dT%H:%M:%S%z"))]),
        ] {
            assert_eq!(parse(format), Ok(expected), "{format}");
        }
    }

    #[test]
    fn a_lone_percent_sign_is_an_error_with_its_place() {
        for (format, place) in [("50%", 2), ("a %b c", 2), ("%REQ(x%", 0), ("%REQ(x):y%", 0), ("% %", 0)] {
            let error = parse(format).expect_err(format);
            assert!(error.contains(&format!("byte {place} ")), "{format}: {error}");
        }
    }
}
