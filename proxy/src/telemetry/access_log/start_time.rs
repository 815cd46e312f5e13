//! START_TIME: the default ISO form, and the strftime letters people use in custom formats.

use std::cell::Cell;
use std::io::Write;
use std::time::SystemTime;

use time::OffsetDateTime;

use super::text;

/// How a time is printed; always UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-20T11:32:24.123Z`.
    Iso,
    /// Pieces of a strftime format.
    Custom(Vec<TimePiece>),
}

/// A piece of a custom format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimePiece {
    /// Verbatim.
    Text(String),
    /// A strftime letter; `f` with the number of digits.
    Letter(char, usize),
}

impl TimeFormat {
    /// Parses the argument of START_TIME. Letters: Y m d H M S s f (also `3f`, `6f`, `9f`) z F T j b e %; others are
    /// printed as they stand.
    pub fn parse(argument: Option<&str>) -> TimeFormat {
        let Some(text) = argument.filter(|text| !text.is_empty()) else { return TimeFormat::Iso };
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => pieces.push(letter(&mut chars)),
                c => pieces.push(TimePiece::Text(c.to_string())),
            }
        }
        TimeFormat::Custom(pieces)
    }

    /// Appends the time.
    pub fn write(&self, out: &mut Vec<u8>, at: SystemTime) {
        match self {
            TimeFormat::Iso => write_iso(out, at),
            TimeFormat::Custom(pieces) => {
                let at = OffsetDateTime::from(at);
                let _ = pieces.iter().try_for_each(|piece| write_piece(out, piece, at));
            }
        }
    }
}

thread_local! {
    /// The last second printed, and its text. Thousands of lines share one.
    static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
}

fn write_iso(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (known, mut text) = SECOND.get();
    if known != since.as_secs() {
        let at = OffsetDateTime::from(at);
        let mut fresh = Vec::with_capacity(text.len());
        let year = u32::try_from(at.year()).unwrap_or_default();
        let pieces = [(year, 4, b'-'), (u8::from(at.month()).into(), 2, b'-'), (at.day().into(), 2, b'T')];
        let times = [(at.hour().into(), 2, b':'), (at.minute().into(), 2, b':'), (at.second().into(), 2, b'.')];
        for (value, digits, mark) in pieces.into_iter().chain(times) {
            text::padded(&mut fresh, value, digits);
            fresh.push(mark);
        }
        text.copy_from_slice(&fresh);
        SECOND.set((since.as_secs(), text));
    }
    out.extend_from_slice(&text);
    text::padded(out, since.subsec_millis(), 3);
    out.push(b'Z');
}

fn letter(chars: &mut std::str::Chars<'_>) -> TimePiece {
    match chars.next() {
        None => TimePiece::Text("%".to_owned()),
        Some('%') => TimePiece::Text("%".to_owned()),
        Some(digit @ '1'..='9') if chars.as_str().starts_with('f') => {
            chars.next();
            TimePiece::Letter('f', digit.to_digit(10).unwrap_or(9) as usize)
        }
        Some('f') => TimePiece::Letter('f', 9),
        Some(c) if "YmdHMSszFTjbe".contains(c) => TimePiece::Letter(c, 0),
        Some(c) => TimePiece::Text(format!("%{c}")),
    }
}

fn write_piece(out: &mut Vec<u8>, piece: &TimePiece, at: OffsetDateTime) -> std::io::Result<()> {
    let month = u8::from(at.month());
    match piece {
        TimePiece::Text(text) => out.write_all(text.as_bytes()),
        TimePiece::Letter('Y', _) => write!(out, "{:04}", at.year()),
        TimePiece::Letter('m', _) => write!(out, "{month:02}"),
        TimePiece::Letter('d', _) => write!(out, "{:02}", at.day()),
        TimePiece::Letter('e', _) => write!(out, "{:2}", at.day()),
        TimePiece::Letter('H', _) => write!(out, "{:02}", at.hour()),
        TimePiece::Letter('M', _) => write!(out, "{:02}", at.minute()),
        TimePiece::Letter('S', _) => write!(out, "{:02}", at.second()),
        TimePiece::Letter('s', _) => write!(out, "{}", at.unix_timestamp()),
        TimePiece::Letter('z', _) => out.write_all(b"+0000"),
        TimePiece::Letter('F', _) => write!(out, "{:04}-{month:02}-{:02}", at.year(), at.day()),
        TimePiece::Letter('T', _) => write!(out, "{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
        TimePiece::Letter('j', _) => write!(out, "{:03}", at.ordinal()),
        TimePiece::Letter('b', _) => out.write_all(at.month().to_string().as_bytes().get(..3).unwrap_or_default()),
        TimePiece::Letter(_, digits) => {
            let nanos = format!("{:09}", at.nanosecond());
            out.write_all(nanos.as_bytes().get(..*digits).unwrap_or(nanos.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_are_utc_with_milliseconds() {
        let at = UNIX_EPOCH + Duration::from_millis(1_763_638_344_007);
        let print = |argument| {
            let mut out = Vec::new();
            TimeFormat::parse(argument).write(&mut out, at);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(print(None), "2025-11-20T11:32:24.007Z");
        assert_eq!(print(Some("%Y/%m/%dT%H:%M:%S.%3f %s%%")), "2025/11/20T11:32:24.007 1763638344%");
        assert_eq!(print(Some("%d/%b/%Y:%T %z %q")), "20/Nov/2025:11:32:24 +0000 %q");
    }
}
