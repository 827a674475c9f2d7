// SPDX-License-Identifier: Apache-2.0
//! The report as people read it. Colours are taken off by the stream where it is no terminal.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::Report;
use crate::units::{Bytes, Nanos};

const HEADING: Style = Style::new().bold();
const WARNING: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

/// Width of the names, and of the values that are set to the right.
const NAME: usize = 20;
const VALUE: usize = 14;

/// Writes all of it.
pub fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    heading(out, "mvirt")?;
    let module = &report.module;
    fact(out, "device ABI", module.abi_version)?;
    fact(out, "EL2 contract", &module.abi_hash)?;
    if module.abi_hash != report.tool.abi_hash {
        let tool = &report.tool.abi_hash;
        writeln!(
            out,
            "  {WARNING}this tool was built with EL2 contract {tool}: \
             counters may mean something else{WARNING:#}"
        )?;
    }
    let options = report.options.join(", ");
    fact(
        out,
        "options",
        if options.is_empty() { "none" } else { &options },
    )?;
    fact(out, "page size", Bytes(report.page_size.into()))?;
    fact(
        out,
        "CPUs under EL2",
        format!("{} of {}", report.cpus.active, report.cpus.possible),
    )?;
    fact(out, "take-over", Nanos(report.takeover_ns))?;
    fact(out, "longest teardown", Nanos(report.teardown_ns))?;

    let m = &report.memory;
    heading(out, "\nMemory taken from the host")?;
    row(out, "EL2 image", Bytes(m.image_bytes))?;
    row(out, "  text", Bytes(m.text_bytes))?;
    row(out, "  read-only data", Bytes(m.rodata_bytes))?;
    row(out, "EL2 stacks", Bytes(m.stack_bytes))?;
    row(out, "page metadata", Bytes(m.meta_bytes))?;
    row(out, "EL2 tables", Bytes(m.el2_table_bytes))?;
    row(out, "host tables", Bytes(m.host_table_bytes))?;
    row(out, "free pool", Bytes(m.pool_bytes))?;
    row(out, "guest tables", Bytes(m.guest_table_bytes))?;
    row(out, "VM state", Bytes(m.vm_bytes))?;
    row(out, "decoys", Bytes(m.decoy_bytes))?;
    row(out, "kept at EL1", Bytes(m.el1_bytes))?;
    total(out, Bytes(m.total_bytes))?;
    row(out, "shared with EL2", Bytes(report.shared_bytes))?;
    row(out, "owned by guests", Bytes(report.guest_bytes))?;

    let t = &report.traps;
    heading(out, "\nTraps to EL2")?;
    row(out, "hypercalls", t.hypercall)?;
    row(out, "stub calls", t.stub)?;
    row(out, "PSCI", t.psci)?;
    row(out, "firmware calls", t.smc)?;
    row(out, "faults mended", t.fault_mapped)?;
    row(out, "faults denied", t.fault_denied)?;
    row(out, "decoys met", t.fault_decoy)?;
    row(out, "system registers", t.sysreg)?;
    row(out, "other", t.other)?;
    total(out, t.total)
}

fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{HEADING}{text}{HEADING:#}")
}

/// A line whose value is set to the left.
fn fact(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:NAME$}{value}")
}

/// A line of a table of numbers.
fn row(out: &mut impl Write, name: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {name:NAME$}{value:>VALUE$}")
}

fn total(out: &mut impl Write, value: impl Display) -> io::Result<()> {
    writeln!(
        out,
        "  {HEADING}{:NAME$}{value:>VALUE$}{HEADING:#}",
        "total"
    )
}
