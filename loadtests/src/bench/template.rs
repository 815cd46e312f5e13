//! The template language of `loadtests/peers`.
//!
//! Lines `#@if FLAG..`, `#@else`, `#@end`; `#@repeat N` and `#@each A,B` to `#@end`, in which `@I@` is the index and `@V@` the
//! value; `#@file NAME` to `#@endfile` for a further file. Elsewhere `@NAME@` is replaced by a value; a name without one
//! stays as it is.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Values by name, as in `@PORT@`.
pub type Values = BTreeMap<String, String>;

/// What a template becomes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The configuration itself.
    pub text: String,
    /// Further files by name.
    pub files: BTreeMap<String, String>,
}

enum Node<'a> {
    Line(&'a str),
    If { flags: Vec<&'a str>, then: Vec<Node<'a>>, otherwise: Vec<Node<'a>> },
    Repeat { count: &'a str, body: Vec<Node<'a>> },
    Each { list: &'a str, body: Vec<Node<'a>> },
    File { name: &'a str, body: Vec<Node<'a>> },
}

/// Fills a template in.
///
/// # Errors
/// A directive that is unknown or not closed, a count that is no number.
pub fn render(template: &str, flags: &[&str], values: &Values) -> Result<Rendered> {
    let mut lines = template.lines().enumerate();
    let (nodes, end) = parse(&mut lines)?;
    if let Some((number, word)) = end {
        bail!("line {number}: #@{word} closes nothing");
    }
    let mut rendered = Rendered::default();
    let mut text = String::new();
    fill(&nodes, flags, values, &mut text, &mut rendered.files)?;
    rendered.text = text;
    Ok(rendered)
}

/// A closing directive with the number of its line, counted from 1.
type End<'a> = Option<(usize, &'a str)>;

/// Nodes up to the directive that closes the block, or to the end.
fn parse<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Result<(Vec<Node<'a>>, End<'a>)> {
    let mut nodes = Vec::new();
    while let Some((index, line)) = lines.next() {
        let Some(directive) = line.trim().strip_prefix("#@") else {
            nodes.push(Node::Line(line));
            continue;
        };
        let number = index + 1;
        let mut words = directive.split_whitespace();
        let word = words.next().unwrap_or_default();
        let argument = words.clone().next().unwrap_or_default();
        nodes.push(match word {
            "if" => condition(words.collect(), lines, number)?,
            "repeat" => Node::Repeat { count: argument, body: closed(lines, number, "end")? },
            "each" => Node::Each { list: argument, body: closed(lines, number, "end")? },
            "file" => Node::File { name: argument, body: closed(lines, number, "endfile")? },
            "else" | "end" | "endfile" => return Ok((nodes, Some((number, word)))),
            _ => bail!("line {number}: unknown directive #@{word}"),
        });
    }
    Ok((nodes, None))
}

fn condition<'a>(flags: Vec<&'a str>, lines: &mut impl Iterator<Item = (usize, &'a str)>, number: usize) -> Result<Node<'a>> {
    let (then, end) = parse(lines)?;
    match end {
        Some((_, "end")) => Ok(Node::If { flags, then, otherwise: Vec::new() }),
        Some((_, "else")) => Ok(Node::If { flags, then, otherwise: closed(lines, number, "end")? }),
        _ => bail!("line {number}: expected #@else or #@end for this #@if"),
    }
}

fn closed<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, number: usize, by: &str) -> Result<Vec<Node<'a>>> {
    match parse(lines)? {
        (body, Some((_, word))) if word == by => Ok(body),
        _ => bail!("line {number}: expected #@{by} for this directive"),
    }
}

fn fill(nodes: &[Node<'_>], flags: &[&str], values: &Values, text: &mut String, files: &mut BTreeMap<String, String>) -> Result<()> {
    for node in nodes {
        match node {
            Node::Line(line) => {
                text.push_str(&substitute(line, values));
                text.push('\n');
            }
            Node::If { flags: wanted, then, otherwise } => {
                let branch = if wanted.iter().any(|flag| flags.contains(flag)) { then } else { otherwise };
                fill(branch, flags, values, text, files)?;
            }
            Node::Repeat { count, body } => {
                let count = substitute(count, values);
                let Ok(count) = count.parse::<usize>() else { bail!("#@repeat {count}: expected a number") };
                for index in 0..count {
                    fill(body, flags, &item(values, index, ""), text, files)?;
                }
            }
            Node::Each { list, body } => {
                for (index, value) in substitute(list, values).split(',').enumerate() {
                    fill(body, flags, &item(values, index, value), text, files)?;
                }
            }
            Node::File { name, body } => {
                let mut other = String::new();
                fill(body, flags, values, &mut other, files)?;
                files.insert((*name).to_owned(), other);
            }
        }
    }
    Ok(())
}

fn item(values: &Values, index: usize, value: &str) -> Values {
    let mut values = values.clone();
    values.insert("I".to_owned(), index.to_string());
    values.insert("V".to_owned(), value.to_owned());
    values
}

fn substitute(line: &str, values: &Values) -> String {
    let mut done = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('@') {
        done.push_str(before);
        let value = after.split_once('@').and_then(|(name, behind)| Some((values.get(name)?, behind)));
        rest = match value {
            Some((value, behind)) => {
                done.push_str(value);
                behind
            }
            None => {
                done.push('@');
                after
            }
        };
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        [("PORT", "80"), ("UPORTS", "1,2"), ("N", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn text(template: &str, flags: &[&str]) -> String {
        render(template, flags, &values()).expect("a valid template").text
    }

    #[test]
    fn values_are_filled_in_and_unknown_names_stay() {
        assert_eq!(text("listen @PORT@; a@b @NONE@ {\"@type\": x}", &[]), "listen 80; a@b @NONE@ {\"@type\": x}\n");
    }

    #[test]
    fn a_condition_holds_when_any_of_its_flags_is_set_and_nests() {
        let template = "#@if a b\nyes\n#@if c\ndeep\n#@end\n#@else\nno\n#@end";
        assert_eq!(text(template, &["b"]), "yes\n");
        assert_eq!(text(template, &["b", "c"]), "yes\ndeep\n");
        assert_eq!(text(template, &["c"]), "no\n");
    }

    #[test]
    fn blocks_repeat_with_index_and_value() {
        assert_eq!(text("#@repeat @N@\nr@I@\n#@end\n#@each @UPORTS@\ne@I@=@V@\n#@end", &[]), "r0\nr1\ne0=1\ne1=2\n");
    }

    #[test]
    fn a_file_block_becomes_a_file_of_its_own() {
        let rendered = render("a\n#@file m.map\n#@repeat 2\nline @I@\n#@end\n#@endfile\nb", &[], &values()).expect("valid");
        assert_eq!(rendered.text, "a\nb\n");
        assert_eq!(rendered.files["m.map"], "line 0\nline 1\n");
    }

    #[test]
    fn directives_that_do_not_fit_are_errors_with_their_line() {
        for (template, said) in [
            ("a\n#@when x\n#@end", "line 2: unknown directive #@when"),
            ("#@if x\na", "line 1: expected #@else or #@end"),
            ("a\n#@end", "line 2: #@end closes nothing"),
            ("#@repeat 2\n#@endfile", "line 1: expected #@end"),
            ("#@repeat x\n#@end", "expected a number"),
        ] {
            let error = render(template, &[], &values()).expect_err(template).to_string();
            assert!(error.contains(said), "{template}: {error}");
        }
    }
}
