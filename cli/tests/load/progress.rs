//! The line that shows how far a run is: on a terminal, and nowhere else.

use std::{
    fs::File,
    io::Read,
    os::fd::AsFd,
    process::{Command, Stdio},
};

use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::{PROGRAM, load, outcome, server, text};

/// Long enough for the line to be drawn several times.
const RUN: [&str; 6] = ["-q", "50", "-d", "1500ms", "-c", "2"];

#[test]
fn nothing_of_it_appears_when_standard_error_is_piped() {
    let output = load(&[&[&server::content()[..]], &RUN[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{:?}", outcome(&output));
    assert_eq!(text(&output.stderr), "");
}

/// What the run writes to a terminal of so many columns.
fn shown(columns: u16) -> String {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
    let mut child = Command::new(PROGRAM)
        .arg("load")
        .arg(server::content())
        .args(RUN)
        .env("NO_COLOR", "1")
        .env("TERM", "xterm")
        .stdout(Stdio::null())
        .stderr(slave.as_fd().try_clone_to_owned().expect("a descriptor"))
        .spawn()
        .expect("the program starts");
    drop(slave);
    let mut bytes = Vec::new();
    // A terminal whose other end is closed everywhere ends with an error.
    let _ended = File::from(master).read_to_end(&mut bytes);
    assert!(child.wait().expect("a child").success());
    text(&bytes)
}

/// The lines as they were drawn, without what moves the cursor.
fn lines(shown: &str) -> Vec<String> {
    let drawn = shown.split(['\r', '\n']).map(|line| {
        let mut pieces = line.split("\x1b[");
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |line, piece| {
            line + piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').get(1..).unwrap_or_default()
        })
    });
    drawn.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn on_a_terminal_of_80_columns_it_is_one_line_with_rate_and_percentiles() {
    let lines = lines(&shown(80));
    assert!(lines.len() >= 2, "{lines:?}");
    let last = lines.last().map(String::as_str).unwrap_or_default();
    for words in ["requests", "/s", "p50", "p99", "errors"] {
        assert!(last.contains(words), "{words}: {lines:?}");
    }
    assert!(lines.iter().all(|line| line.chars().count() < 80), "{lines:?}");
}

#[test]
fn on_a_narrow_terminal_the_line_is_cut_and_not_broken() {
    let lines = lines(&shown(40));
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
}
