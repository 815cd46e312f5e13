//! What the demo measured, as aligned text for people and as JSON for scripts.

use std::io::{self, IsTerminal, Write};

use outrigger_loadtests::Report;
use serde::Serialize;

/// One numbered part of the demo.
#[derive(Debug, Serialize)]
pub struct Section {
    /// What was done, in one line.
    pub title: String,
    /// Measured figures, want beside got where something was wanted.
    pub tables: Vec<Table>,
    /// Statements that hold or not; one that does not makes the demo fail.
    pub checks: Vec<Check>,
}

/// Rows under a header; numbers are aligned to the right.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Cells, as many per row as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// A statement with what was wanted and what was measured.
#[derive(Debug, Serialize)]
pub struct Check {
    /// The statement.
    pub name: String,
    /// What was wanted.
    pub want: String,
    /// What was measured.
    pub got: String,
    /// Whether it holds.
    pub ok: bool,
}

impl Section {
    /// An empty section.
    pub fn new(title: impl Into<String>) -> Self {
        Section { title: title.into(), tables: Vec::new(), checks: Vec::new() }
    }

    /// Adds a statement.
    pub fn check(&mut self, name: impl Into<String>, want: impl ToString, got: impl ToString, ok: bool) {
        self.checks.push(Check { name: name.into(), want: want.to_string(), got: got.to_string(), ok });
    }

    /// Adds a statement that holds when both values are equal.
    pub fn check_eq<T: PartialEq + ToString>(&mut self, name: impl Into<String>, want: T, got: T) {
        let ok = want == got;
        self.check(name, want, got, ok);
    }

    /// Adds the statement that no request of these runs failed; those that did are named by cause.
    pub fn check_no_failures<'a>(&mut self, reports: impl Iterator<Item = &'a Report> + Clone) {
        let failed: u64 = reports.clone().map(Report::failed_count).sum();
        let statuses = reports.clone().flat_map(|report| report.statuses.range(400..));
        let causes = statuses.map(|(status, count)| format!("{count} × {status}")).chain(reports.flat_map(|r| r.error_examples.clone()));
        let got = std::iter::once(failed.to_string()).chain(causes).collect::<Vec<_>>().join("; ");
        self.check("failed requests", 0, got, failed == 0);
    }

    /// Whether every statement holds.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Writes the section as text; `colour` paints the marks.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, number: usize, out: &mut impl Write, colour: bool) -> io::Result<()> {
        writeln!(out, "\n{number}. {}\n", self.title)?;
        for table in &self.tables {
            table.write(out)?;
            writeln!(out)?;
        }
        let name = width(self.checks.iter().map(|check| check.name.as_str()));
        let want = width(self.checks.iter().map(|check| check.want.as_str()));
        for check in &self.checks {
            let mark = match (check.ok, colour) {
                (true, true) => "\x1b[32m✓\x1b[0m",
                (false, true) => "\x1b[31m✗\x1b[0m",
                (true, false) => "✓",
                (false, false) => "✗",
            };
            writeln!(out, "   {mark} {:<name$}   want {:<want$}   got {}", check.name, check.want, check.got)?;
        }
        Ok(())
    }
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new(columns: &[&str]) -> Self {
        Table { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = |index: usize| self.rows.iter().filter_map(move |row| row.get(index)).map(String::as_str);
        let columns: Vec<(usize, bool)> = self.columns.iter().enumerate().map(|(i, name)| column(name, cells(i))).collect();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let cells = row.iter().zip(&columns).map(|(cell, (width, right))| {
                let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *right { fill + cell } else { format!("{cell}{fill}") }
            });
            writeln!(out, "   {}", cells.collect::<Vec<_>>().join("   ").trim_end())?;
        }
        Ok(())
    }
}

/// Width of a column and whether all its cells are numbers (then aligned to the right).
fn column<'a>(name: &'a str, cells: impl Iterator<Item = &'a str> + Clone) -> (usize, bool) {
    let number = |cell: &str| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '±');
    let right = cells.clone().all(number);
    (width(cells.chain([name])), right)
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// Whether standard output is a terminal that wants colour.
pub fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
