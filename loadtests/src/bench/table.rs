//! Tables that are Markdown and aligned in a terminal as well, for `latest.md`. What `outrigger load` prints, in `crate::table`, is no
//! Markdown: it has colours, units and no lines.

use std::fmt::Write as _;

/// Rows of cells; the first column is left-aligned, the others right.
#[derive(Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Table {
        Table { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table with a line feed behind each row.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = line(&self.header, &widths);
        for (column, width) in widths.iter().enumerate() {
            let dashes = "-".repeat(width + 1);
            text.push_str(&if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") });
        }
        text.push_str("|\n");
        self.rows.iter().for_each(|row| text.push_str(&line(row, &widths)));
        text
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (column, width) in widths.iter().enumerate() {
        let cell = cells.get(column).map_or("", String::as_str);
        let written = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        debug_assert!(written.is_ok(), "writing to a string");
    }
    text.push_str("|\n");
    text
}

/// A number with as many digits as are worth reading.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 9999.5 => {
            let digits = format!("{:.0}", value.abs());
            let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
            format!("{}{}", if value < 0.0 { "-" } else { "" }, groups.join(","))
        }
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_outcome_is_markdown() {
        let mut table = Table::new(["test", "us"]);
        table.row(["h1", "1.25"]);
        table.row(["longer"]);
        assert_eq!(table.render(), "| test   |   us |\n|--------|-----:|\n| h1     | 1.25 |\n| longer |      |\n");
    }

    #[test]
    fn numbers_keep_three_digits_and_large_ones_are_grouped() {
        let texts = [0.123, 1.0, 17.849, 350.6, 4000.0, 54828.5, -1234567.0].map(number);
        assert_eq!(texts, ["0.12", "1.00", "17.8", "351", "4000", "54,828", "-1,234,567"]);
    }
}
