// SPDX-License-Identifier: Apache-2.0
//! The tree as the kernel's own compiler for device trees reads it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn description(protected: bool) -> Description<'static> {
    let ram = 0x8000_0000..0x9000_0000;
    let seed = Seed {
        kaslr: 0x1122_3344_5566_7788,
        rng: [0xab; 64],
    };
    Description {
        cmdline: "console=hvc0 quiet",
        mpidrs: &[0x8000_0000, 0x8000_0101],
        ram,
        initrd: (!protected).then_some(0x8220_0000..0x8230_0123),
        pool: protected.then_some(0x8f00_0000..0x9000_0000),
        virtio: 2,
        seed: (!protected).then_some(seed),
    }
}

/// As source text, each line without its indent. The compiler's warnings fail the test.
fn source(description: &Description<'_>) -> Vec<String> {
    let mut dtc = Command::new("dtc")
        .args(["-I", "dtb", "-O", "dts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dtc (package device-tree-compiler)");
    let fdt = build(description).unwrap();
    dtc.stdin.take().unwrap().write_all(&fdt).unwrap();
    let output = dtc.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().into()).collect()
}

#[track_caller]
fn has(source: &[String], line: &str) {
    assert!(
        source.iter().any(|l| l == line),
        "no \"{line}\" in {source:#?}"
    );
}

#[test]
fn a_guest_that_trusts_the_host() {
    let source = source(&description(false));
    for line in [
        "bootargs = \"console=hvc0 quiet\";",
        "stdout-path = \"/serial@9000000\";",
        "linux,initrd-start = <0x00 0x82200000>;",
        "linux,initrd-end = <0x00 0x82300123>;",
        "kaslr-seed = <0x11223344 0x55667788>;",
        "memory@80000000 {",
        "reg = <0x00 0x80000000 0x00 0x10000000>;",
        "cpu@0 {",
        "cpu@101 {",
        "reg = <0x101>;",
        "compatible = \"arm,psci-1.0\\0arm,psci-0.2\";",
        "method = \"hvc\";",
        "interrupts = <0x01 0x0d 0x04 0x01 0x0e 0x04 0x01 0x0b 0x04 0x01 0x0a 0x04>;",
        "reg = <0x00 0x10000000 0x00 0x10000 0x00 0x10100000 0x00 0x40000>;",
        "virtio@a000000 {",
        "virtio@a010000 {",
        "interrupts = <0x00 0x02 0x04>;",
        "dma-coherent;",
    ] {
        has(&source, line);
    }
    let text = source.concat();
    assert!(text.contains("rng-seed = <0xabababab"));
    assert!(!text.contains("reserved-memory") && !text.contains("memory-region"));
    assert!(!text.contains("virtio@a020000"));
}

#[test]
fn a_protected_guest_has_a_pool_and_no_seed_of_the_hosts() {
    let source = source(&description(true));
    for line in [
        "restricted-dma-pool@8f000000 {",
        "compatible = \"restricted-dma-pool\";",
        "reg = <0x00 0x8f000000 0x00 0x1000000>;",
    ] {
        has(&source, line);
    }
    let phandle = source
        .iter()
        .filter(|line| *line == "memory-region = <0x02>;");
    assert_eq!(phandle.count(), 2);
    let text = source.concat();
    assert!(!text.contains("seed") && !text.contains("initrd"));
}

#[test]
fn the_largest_guest_has_room() {
    let mpidrs: Vec<u64> = (0..u64::from(layout::MAX_CPUS)).collect();
    let largest = Description {
        cmdline: &"x".repeat(2048),
        mpidrs: &mpidrs,
        virtio: layout::MAX_VIRTIO as u32,
        ..description(false)
    };
    assert!(build(&largest).unwrap().len() as u64 <= layout::FDT_SIZE);
}
