// SPDX-License-Identifier: Apache-2.0
//! The device's contract, checked: the layout of its structures in C on several architectures, the
//! Rust side that bindgen made from it, and the names of the counters against EL2's list.
//!
//! The Rust side is kept in the tree so that building the tool takes no libclang. When the header
//! changes, `MVIRT_BLESS=1 cargo test -p mvirt --test uapi` makes it anew with the bindgen that the
//! kernel build uses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The bindgen whose output is kept: another one may print the same facts in another way.
const BINDGEN: &str = "bindgen 0.72.1";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `program`; a missing one fails the test with its name.
fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"))
}

/// Runs `program`, expects success, and answers what it printed.
fn stdout(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?} failed:\n{stderr}"
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Where a compiler for x86-64 that was asked for i386 still finds <asm/*.h>.
fn i386_includes() -> String {
    format!(
        "/usr/include/{}",
        stdout("gcc", &["-print-multiarch"]).trim()
    )
}

#[test]
fn layout_is_the_same_on_every_architecture() {
    // i386 aligns 64-bit members to 4 bytes, so padding that is only implied shows there.
    let i386 = i386_includes();
    let compilers: [(&str, &[&str]); 3] = [
        ("gcc", &[]),
        ("gcc", &["-m32", "-idirafter", &i386]),
        ("aarch64-linux-gnu-gcc", &[]),
    ];
    for (compiler, extra) in compilers {
        let mut args = vec!["-std=c11", "-Wall", "-Wpadded", "-Werror", "-fsyntax-only"];
        args.extend(extra);
        args.push("uapi/layout.c");
        stdout(compiler, &args);
    }
}

#[test]
fn header_stands_alone() {
    // As the kernel's usr/include build checks its own: C90, nothing included before.
    stdout(
        "gcc",
        &[
            "-std=c90",
            "-Wall",
            "-Werror",
            "-fsyntax-only",
            "-x",
            "c",
            "uapi/mvirt.h",
        ],
    );
}

#[test]
fn rust_side_is_up_to_date() {
    let version = stdout("bindgen", &["--version"]);
    assert_eq!(
        version.trim(),
        BINDGEN,
        "install it with `make` or cargo install bindgen-cli"
    );
    let generated = stdout(
        "bindgen",
        &[
            "uapi/mvirt.h",
            "--allowlist-type=mvirt_.*",
            "--allowlist-var=MVIRT_.*",
            "--use-core",
            "--with-derive-default",
            "--no-doc-comments",
            "--formatter=prettyplease",
            "--raw-line=// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note",
            "--raw-line=//! Made from uapi/mvirt.h, which documents it: see tests/uapi.rs.",
        ],
    );
    // bindgen puts its own line first, but the licence opens each file of the tree.
    let (banner, rest) = generated.split_once("\n\n").expect("a banner");
    let generated = rest.replacen("\n//!", &format!("\n{banner}\n//!"), 1);

    let path = root().join("tool/src/uapi.rs");
    if std::env::var_os("MVIRT_BLESS").is_some() {
        std::fs::write(&path, &generated).expect("write");
    }
    let kept = std::fs::read_to_string(&path).expect("tool/src/uapi.rs");
    assert!(
        kept == generated,
        "tool/src/uapi.rs is stale: MVIRT_BLESS=1 makes it anew"
    );
}

#[test]
fn counters_are_el2s_by_name_and_order() {
    let header = std::fs::read_to_string(root().join("uapi/mvirt.h")).expect("uapi/mvirt.h");
    let (_, rest) = header
        .split_once("struct mvirt_info {")
        .expect("the structure");
    let (body, _) = rest.split_once("};").expect("its end");
    let members: Vec<&str> = body
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.split(' ').nth(1))
        .collect();
    let first = members
        .iter()
        .position(|m| *m == "cpus_active")
        .expect("the first counter");
    let names: Vec<&str> = mvirt_abi::Stat::ALL
        .iter()
        .map(|stat| stat.name())
        .collect();
    assert_eq!(members[first..], names);
}
