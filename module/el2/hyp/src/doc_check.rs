// SPDX-License-Identifier: GPL-2.0
//! Tables in the documentation that a test compares with the code.
//!
//! In the file, a table stands between the comments `.. begin NAME` and `.. end NAME`. With
//! `MVIRT_UPDATE_DOCS=1` in the environment the test writes the table instead of comparing it.

use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;
use std::{env, format, fs};

/// Renders a simple table of reStructuredText; the first row is the header.
fn simple_table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        rows.iter()
            .filter_map(|row| row.get(n))
            .map(String::len)
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule = line(
        &widths
            .iter()
            .map(|width| "=".repeat(*width))
            .collect::<Vec<_>>(),
    );
    let mut text = rule.clone();
    for (n, row) in rows.iter().enumerate() {
        text += &line(row);
        if n == 0 {
            text += &rule;
        }
    }
    text + &rule
}

/// Checks that the table `name` of `Documentation/<file>` is this one.
pub(crate) fn check_table(file: &str, name: &str, rows: &[Vec<String>]) {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "..",
        "..",
        "Documentation",
        file,
    ]
    .iter()
    .collect();
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (begin, end) = (format!(".. begin {name}\n\n"), format!("\n.. end {name}\n"));
    let start = text.find(&begin).expect("the marker that begins the table") + begin.len();
    let stop = text[start..]
        .find(&end)
        .expect("the marker that ends the table")
        + start;
    let expected = simple_table(rows);
    if env::var_os("MVIRT_UPDATE_DOCS").is_some() {
        let updated = format!("{}{expected}{}", &text[..start], &text[stop..]);
        fs::write(&path, updated).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    } else {
        assert_eq!(
            &text[start..stop],
            expected,
            "{file} and the code differ: run `MVIRT_UPDATE_DOCS=1 cargo test -p mvirt-hyp`"
        );
    }
}
