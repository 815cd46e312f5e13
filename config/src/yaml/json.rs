//! One JSON value to a tree (RFC 8259). YAML readers take most JSON, but not surrogate pairs, `\/`, or tabs everywhere.

use super::document::Repeated;
use super::mapping::MappingBuilder;
use super::{Entry, MAX_DEPTH, Node, Position, SyntaxError, Value};

/// Reads one value and the offset behind it. `None` when only white space is left.
pub(super) fn read(text: &str, first_line: u32, repeated: &mut Vec<Repeated>) -> Result<Option<(Node, usize)>, SyntaxError> {
    let mut reader = Reader { text, at: 0, line: first_line, counted: (0, 1), depth: 0, repeated };
    reader.blanks();
    if reader.peek().is_none() {
        return Ok(None);
    }
    let node = reader.value()?;
    Ok(Some((node, reader.at)))
}

struct Reader<'t, 'r> {
    text: &'t str,
    at: usize,
    line: u32,
    /// An offset on the current line and its column, so that columns need not be counted from the start each time.
    counted: (usize, u32),
    depth: usize,
    repeated: &'r mut Vec<Repeated>,
}

impl<'t> Reader<'t, '_> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn position(&mut self) -> Position {
        let (from, column) = self.counted;
        let more = self.text.get(from..self.at).map_or(0, |text| text.chars().count());
        let column = column.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.counted = (self.at, column);
        Position { line: self.line, column }
    }

    fn error<T>(&mut self, expected: &str) -> Result<T, SyntaxError> {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        Err(SyntaxError { position: self.position(), message: format!("expected {expected}, found {found}") })
    }

    fn blanks(&mut self) {
        while let Some(c) = self.peek().filter(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            self.at += 1;
            if c == '\n' {
                self.line += 1;
                self.counted = (self.at, 1);
            }
        }
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        self.blanks();
        let position = self.position();
        let value = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Value::Scalar { text: self.string()?.into(), quoted: true },
            _ => self.literal()?,
        };
        Ok(Node { position, value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, SyntaxError>) -> Result<Value, SyntaxError> {
        if self.depth >= MAX_DEPTH {
            return self.error(&format!("at most {MAX_DEPTH} levels of nesting"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let mut mapping = MappingBuilder::default();
        self.blanks();
        if self.take('}') {
            return Ok(Value::Mapping(mapping.finish()));
        }
        loop {
            self.blanks();
            let key_position = self.position();
            if self.peek() != Some('"') {
                return self.error("a key in double quotes");
            }
            let key: Box<str> = self.string()?.into();
            self.blanks();
            if !self.take(':') {
                return self.error("\":\"");
            }
            let entry = Entry { value: self.value()?, key, key_position };
            mapping.insert(entry, self.repeated);
            self.blanks();
            if self.take('}') {
                return Ok(Value::Mapping(mapping.finish()));
            }
            if !self.take(',') {
                return self.error("\",\" or \"}\"");
            }
        }
    }

    fn array(&mut self) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        self.blanks();
        if self.take(']') {
            return Ok(Value::Sequence(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            if self.take(']') {
                return Ok(Value::Sequence(items));
            }
            if !self.take(',') {
                return self.error("\",\" or \"]\"");
            }
        }
    }

    fn literal(&mut self) -> Result<Value, SyntaxError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(rest.len());
        let (word, _) = rest.split_at(end);
        if !matches!(word, "null" | "true" | "false") && !is_number(word) {
            return self.error("a value");
        }
        self.at += end;
        Ok(Value::Scalar { text: word.into(), quoted: false })
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(c) if c >= ' ' => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
                _ => return self.error("a closing \""),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let c = match self.peek() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            _ => return self.error("an escape"),
        };
        self.at += 1;
        Ok(c)
    }

    /// `uXXXX`, and the second half of a surrogate pair. A lone half becomes U+FFFD, as in Go.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) || !self.rest().starts_with("\\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        self.at += 1;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            self.at = before;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.rest().get(1..5).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                self.at += 5;
                Ok(code)
            }
            None => self.error("four hexadecimal digits"),
        }
    }
}

/// A number as JSON writes it. Leading zeros are refused: the scalar rules would read them as octal.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let leading_zero = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
    !leading_zero && digits.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok()
}
