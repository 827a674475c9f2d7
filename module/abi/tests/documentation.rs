// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What Documentation/ says about the contract is made from the contract.
//!
//! A generated part of a page stands between `.. begin generated: NAME` and `.. end generated`.
//! `MVIRT_BLESS=1 cargo test -p mvirt-abi --test documentation` writes them anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mvirt_abi::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Tests run side by side, and several parts may belong to one page.
static PAGES: Mutex<()> = Mutex::new(());

/// Checks the part of a page against `expected`, or writes it.
fn check(page: &str, name: &str, expected: &str) {
    let _pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let text = read(page);
    let begin = format!(".. begin generated: {name}\n");
    let end = "\n.. end generated\n";
    let (head, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page}: no {name}"));
    let (found, tail) = rest
        .split_once(end)
        .unwrap_or_else(|| panic!("{page}: {name} has no end"));
    let expected = format!("\n{}", expected.trim_end());
    let expected = format!("{expected}\n");
    if std::env::var_os("MVIRT_BLESS").is_some() {
        let new = format!("{head}{begin}{expected}{end}{tail}");
        std::fs::write(root().join(page), new).expect("write");
        return;
    }
    assert!(
        found == expected,
        "{page}: {name} is stale: MVIRT_BLESS=1 writes it anew"
    );
}

/// The doc comments of a source file, each with the line of code that it documents.
fn documented(path: &str) -> Vec<(String, String)> {
    let mut items = Vec::new();
    let mut docs: Vec<String> = Vec::new();
    for line in read(path).lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc.trim().into());
        } else if !docs.is_empty() {
            items.push((line.into(), rst(&docs.join(" "))));
            docs.clear();
        }
    }
    items
}

/// Rustdoc's links and code as rst's code: [`Error::Busy`](super::Error), `x0`.
fn rst(doc: &str) -> String {
    let mut out = String::new();
    for (i, part) in doc.split('`').enumerate() {
        if i % 2 == 1 {
            write!(out, "``{part}``").unwrap();
            continue;
        }
        // Take off the brackets of a link, and its target.
        let part = match part.strip_prefix("](") {
            Some(rest) => rest.split_once(')').expect("a link's end").1,
            None if i > 0 => part.strip_prefix(']').unwrap_or(part),
            None => part,
        };
        out.push_str(part.strip_suffix('[').unwrap_or(part));
    }
    out
}

/// The doc of the one item whose line starts so.
fn doc_of<'a>(items: &'a [(String, String)], start: &str) -> &'a str {
    let mut found = items.iter().filter(|(line, _)| line.starts_with(start));
    let (_, doc) = found.next().unwrap_or_else(|| panic!("no doc for {start}"));
    assert!(found.next().is_none(), "two items start with {start}");
    doc
}

/// A table whose first row is the heading.
fn table(widths: &str, rows: &[Vec<String>]) -> String {
    let mut out = format!(".. list-table::\n   :header-rows: 1\n   :widths: {widths}\n\n");
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            writeln!(out, "   {} - {cell}", if i == 0 { '*' } else { ' ' }).unwrap();
        }
    }
    out
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).into()).collect()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Setup => "until finalise",
        Phase::Run => "after finalise",
        Phase::Any => "always",
    }
}

#[test]
fn hypercalls() {
    let items = documented("module/abi/contract/calls.rs");
    let mut out = String::new();
    for (n, call) in Call::ALL.iter().enumerate() {
        let word = match call.phase() {
            Phase::Setup => "Setup",
            Phase::Run => "Run",
            Phase::Any => "Any",
        };
        let doc = doc_of(&items, &format!("{word} {n} {call:?} as {}(", call.name()));
        let results = match call.results() {
            [] => String::new(),
            results => format!(" -> {}", results.join(", ")),
        };
        writeln!(
            out,
            "``{}({}){results}``",
            call.name(),
            call.args().join(", ")
        )
        .unwrap();
        writeln!(
            out,
            "    x0 = ``{:#x}``, answered {}.",
            call.id(),
            phase(call.phase())
        )
        .unwrap();
        writeln!(out, "    {doc}\n").unwrap();
    }
    check("Documentation/hypercalls.rst", "calls", &out);
}

#[test]
fn errors() {
    let items = documented("module/abi/contract/error.rs");
    let mut rows = vec![row(&["Error", "x0", "Meaning"])];
    for error in Error::ALL {
        let doc = doc_of(&items, &format!("{error:?} = "));
        rows.push(row(&[
            &format!("``{error:?}``"),
            &format!("-{}", error as i32),
            doc,
        ]));
    }
    check(
        "Documentation/hypercalls.rst",
        "errors",
        &table("15 10 75", &rows),
    );
}

#[test]
fn counters() {
    let items = documented("module/abi/contract/stats.rs");
    let mut rows = vec![row(&["Number", "Name", "Meaning"])];
    for stat in Stat::ALL {
        let doc = doc_of(&items, &format!("{stat:?} = "));
        let name = format!("``{}``", stat.name());
        rows.push(row(&[&(*stat as u32).to_string(), &name, doc]));
    }
    check(
        "Documentation/hypercalls.rst",
        "counters",
        &table("10 25 65", &rows),
    );
}

#[test]
fn header() {
    let items = documented("module/abi/contract/header.rs");
    let mut rows = vec![row(&["Offset", "Member", "Meaning"])];
    let mut at = 0;
    for (line, doc) in &items {
        let Some((name, kind)) = line
            .strip_prefix("pub ")
            .and_then(|l| l.strip_suffix(','))
            .and_then(|l| l.split_once(": "))
        else {
            continue;
        };
        rows.push(row(&[&at.to_string(), &format!("``{name}``"), doc]));
        at += match kind {
            "u64" => 8,
            "u32" => 4,
            other => panic!("{name}: {other}"),
        };
    }
    assert_eq!(at, size_of::<ImageHeader>());
    check(
        "Documentation/memory-layout.rst",
        "header",
        &table("10 20 70", &rows),
    );
}

#[test]
fn carveout() {
    // An image of 128 KiB: the offsets after it only shift with its size.
    let image = 128 << 10;
    let mut rows = vec![row(&[
        "Page size",
        "CPUs",
        "``params``",
        "``stacks``",
        "``pool``",
        "Size",
    ])];
    for page_shift in [12, 14] {
        for cpus in [1, 2, 4, 8, MAX_CPUS as u32] {
            let c = Carveout::new(image, cpus, page_shift).expect("in range");
            let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
            rows.push(vec![
                kib(1 << page_shift),
                cpus.to_string(),
                kib(c.params),
                kib(c.stacks),
                kib(c.pool),
                kib(c.size),
            ]);
        }
    }
    check(
        "Documentation/memory-layout.rst",
        "carveout",
        &table("15 10 20 20 20 15", &rows),
    );
}

#[test]
fn limits() {
    let rows = vec![
        row(&["What", "Value"]),
        row(&["CPUs", &MAX_CPUS.to_string()]),
        row(&["Ranges of RAM", &MAX_RAM_RANGES.to_string()]),
        row(&["Chunks of page metadata", &MAX_META_CHUNKS.to_string()]),
        row(&["Size of a chunk", &format!("{} MiB", META_CHUNK >> 20)]),
        row(&[
            "Metadata for each page of RAM",
            &format!("{META_BYTES_PER_PAGE} bytes"),
        ]),
        row(&["A CPU's EL2 stack", &format!("{} KiB", STACK_SIZE >> 10)]),
        row(&[
            "Pages that the pool starts with, without those of decoys",
            &INITIAL_POOL_PAGES.to_string(),
        ]),
        row(&[
            "Decoys of a CPU, and pages kept for their tables",
            &DECOYS_PER_CPU.to_string(),
        ]),
    ];
    check(
        "Documentation/memory-layout.rst",
        "limits",
        &table("60 40", &rows),
    );
}
