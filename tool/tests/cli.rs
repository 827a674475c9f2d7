// SPDX-License-Identifier: Apache-2.0
//! The tool as a script sees it: exit codes, and which stream says what. Nothing here needs mvirt.

use std::fs::File;
use std::process::{Command, Output};

fn mvirt(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mvirt"))
        .args(args)
        .output()
        .expect("the tool starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn version_names_both_contracts() {
    let output = mvirt(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = format!(
        "mvirt {}\ndevice ABI 1\nEL2 contract {:#018x}\n",
        env!("CARGO_PKG_VERSION"),
        mvirt_abi::HASH
    );
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_wrong_command_line_is_2() {
    for args in [&["frobnicate"][..], &["info", "--frobnicate"], &[]] {
        let output = mvirt(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("Usage: mvirt"), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let output = mvirt(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("3  mvirt is not loaded"));
}

#[test]
fn what_run_cannot_be_told_names_the_option_and_the_reason() {
    for (args, parts) in [
        (&["--mem", "512"][..], &["--mem", "512", "has a unit"][..]),
        (&["--mem", "3M"], &["--mem", "3M", "multiple of 2 MiB"]),
        (&["--cpus", "0"], &["--cpus", "0 is not in 1.."]),
        (&["--name", "a/b"], &["--name", "a/b", "letters"]),
        (&["--disk", ",ro"], &["--disk", "no file"]),
        (&["--net", "tap0"], &["--net", "tap0", "tap=NAME"]),
        (
            &["--vsock", "2"],
            &["--vsock", "2 is not in 3..=4294967294"],
        ),
        (&["--console", "vga"], &["--console", "virtio, serial"]),
    ] {
        let output = mvirt(&[&["run", "--kernel", "Image"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = text(&output.stderr);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    let output = mvirt(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--kernel <FILE>"));
}

#[test]
fn doctor_of_nothing_says_no_to_both_readers() {
    let root = ["doctor", "--root", "/nonexistent"];
    let output = mvirt(&root);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty());
    let said = text(&output.stdout);
    assert!(
        said.contains("no  PSCI       no PSCI in the device tree"),
        "{said}"
    );
    assert!(
        said.contains("               -> the firmware must describe"),
        "{said}"
    );
    assert!(said.contains("\nmvirt cannot run here: "), "{said}");
    assert!(!said.contains('\x1b'), "colours on what is no terminal");

    let output = mvirt(&[&root[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["verdict"], "cannot");
    let checks = json["checks"].as_array().expect("an array");
    let psci = checks
        .iter()
        .find(|check| check["check"] == "PSCI")
        .expect("PSCI");
    assert_eq!(psci["result"], "no");
    assert_eq!(psci["refusals"], serde_json::json!(["NoPsci"]));
    assert_eq!(psci["decides"], true);
    for key in ["found", "remedy"] {
        assert!(psci[key].is_string(), "{psci}");
    }
}

#[cfg(not(target_arch = "aarch64"))]
#[test]
fn doctor_knows_another_machine() {
    let output = mvirt(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("this is no arm64 machine"));
}

#[cfg(not(target_arch = "aarch64"))]
#[test]
fn guests_need_arm64() {
    let output = mvirt(&["run", "--kernel", "Image"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("arm64 alone"));
}

#[test]
fn the_manual_lists_the_exit_codes_and_the_options() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../Documentation/mvirt-run.rst"
    );
    let manual = std::fs::read_to_string(path).expect("the manual");
    let output = mvirt(&["run", "--help"]);
    let (help, codes) = (text(&output.stdout), mvirt(&["--help"]));
    let options: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && *word != "--help")
        .map(|word| word.trim_end_matches(','))
        .collect();
    assert!(options.len() >= 12, "{options:?}");
    for option in options {
        assert!(
            manual.contains(&format!("\n**{option}**"))
                || manual.contains(&format!(", **{option}**")),
            "{option}"
        );
    }
    let (_, codes) = text(&codes.stdout)
        .split_once("Exit codes:\n")
        .expect("the codes");
    for line in codes.lines().filter(|line| !line.is_empty()) {
        let code = line.split_whitespace().next().expect("a code");
        assert!(manual.contains(&format!("\n{code}\n    ")), "{code}");
    }
}

#[test]
fn a_missing_device_is_3() {
    let output = mvirt(&["info", "--json", "--device", "/nonexistent/mvirt"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    // No colour codes: standard error is no terminal here.
    assert!(text(&output.stderr).starts_with("mvirt: /nonexistent/mvirt: no such device: "));
}

#[test]
fn another_driver_is_5() {
    let output = mvirt(&["--device", "/dev/null", "info"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).starts_with("mvirt: /dev/null: not the device of mvirt"));
}

#[test]
fn any_other_failure_is_1() {
    let output = mvirt(&["info", "--device", "/dev/null/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/null/x: open: Not a directory"));
}

#[test]
fn a_message_that_cannot_be_written_is_no_crash() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let status = Command::new(env!("CARGO_BIN_EXE_mvirt"))
        .args(["info", "--device", "/dev/null"])
        .stderr(full)
        .status()
        .expect("the tool starts");
    assert_eq!(status.code(), Some(5));
}
