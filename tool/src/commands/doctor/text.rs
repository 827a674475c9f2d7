// SPDX-License-Identifier: Apache-2.0
//! The diagnosis as people read it: a line for each check, and below a bad one what mends it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};

use crate::doctor::{Diagnosis, Finding, Outcome, Verdict};

const BOLD: Style = Style::new().bold();
/// Width of the names of checks.
const NAME: usize = 10;

const fn colour(colour: AnsiColor) -> Style {
    BOLD.fg_color(Some(Color::Ansi(colour)))
}

/// Writes all of it.
pub fn write(out: &mut impl Write, diagnosis: &Diagnosis) -> io::Result<()> {
    for finding in &diagnosis.checks {
        line(out, finding)?;
    }
    let count = |outcome| {
        let is = |f: &&Finding| f.result == outcome && f.decides;
        diagnosis.checks.iter().filter(is).count()
    };
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let (no, open) = (count(Outcome::No), count(Outcome::Unknown));
    write!(out, "\n{BOLD}")?;
    match diagnosis.verdict {
        Verdict::Runs => write!(out, "mvirt runs here.")?,
        Verdict::Can => write!(out, "mvirt can run here.")?,
        Verdict::Cannot => write!(
            out,
            "mvirt cannot run here: {no} check{} said no.",
            plural(no)
        )?,
        Verdict::Unknown => write!(
            out,
            "It cannot be told whether mvirt runs here: {open} question{} left.",
            plural(open)
        )?,
    }
    writeln!(out, "{BOLD:#}")
}

fn line(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let (word, style) = match finding.result {
        Outcome::Ok => ("ok", colour(AnsiColor::Green)),
        Outcome::No => ("no", colour(AnsiColor::Red)),
        Outcome::Unknown => ("?", colour(AnsiColor::Yellow)),
    };
    let Finding { check, found, .. } = finding;
    writeln!(out, "{style}{word:<3}{style:#} {check:<NAME$} {found}")?;
    if let Some(remedy) = &finding.remedy {
        writeln!(out, "    {:NAME$} -> {remedy}", "")?;
    }
    Ok(())
}
