//! What would change, as a unified diff.

use std::time::Duration;

use outrigger_loadtests::table::Paint;
use similar::{Algorithm, TextDiff};

use super::output::coloured;

/// Beyond this a diff may become larger than need be, but is finished.
const PATIENCE: Duration = Duration::from_secs(2);

/// The diff of one file; empty if nothing changes.
pub fn unified(name: &str, before: &str, after: &str, paint: Paint) -> String {
    if before == after {
        return String::new();
    }
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).timeout(PATIENCE).diff_lines(before, after);
    let text = diff.unified_diff().context_radius(3).header(name, &format!("{name} (changed)")).to_string();
    text.split_inclusive('\n').map(|line| painted(line, paint)).collect()
}

fn painted(line: &str, paint: Paint) -> String {
    let code = match line.get(..2) {
        Some("++" | "--") if line.starts_with("+++ ") || line.starts_with("--- ") => "1",
        Some("@@") => "36",
        _ if line.starts_with('+') => "32",
        _ if line.starts_with('-') => "31",
        _ => return line.to_owned(),
    };
    let text = line.trim_end_matches('\n');
    format!("{}{}", coloured(paint, code, text), &line[text.len()..])
}

#[cfg(test)]
mod tests {
    use super::{Paint, unified};

    #[test]
    fn lines_are_marked_and_on_a_terminal_coloured() {
        let (before, after) = ("a\nb\nc\n", "a\nB\nc\n");
        assert_eq!(unified("f", before, after, Paint::Plain), "--- f\n+++ f (changed)\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        let painted = unified("f", before, after, Paint::Colour);
        assert!(painted.contains("\x1b[31m-b\x1b[0m\n\x1b[32m+B\x1b[0m\n c\n"), "{painted:?}");
        assert_eq!(unified("f", before, before, Paint::Colour), "");
    }
}
