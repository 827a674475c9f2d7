// SPDX-License-Identifier: Apache-2.0
//! Tests of `mvirt info` on an answer in which each member has a value of its own.

use super::*;

fn sample() -> mvirt_info {
    mvirt_info {
        size: 240,
        flags: 0,
        abi_version: MVIRT_ABI_VERSION,
        page_size: 4096,
        abi_hash: 0x0123_4567_89ab_cdef,
        cpus_possible: 8,
        options: MVIRT_OPTION_RELEASE | MVIRT_OPTION_CRASH_TEST,
        takeover_ns: 1_234_567,
        text_bytes: 48 << 10,
        rodata_bytes: 12 << 10,
        el1_bytes: 1000,
        cpus_active: 6,
        image_bytes: 96 << 10,
        stack_bytes: 128 << 10,
        meta_bytes: 1 << 20,
        el2_table_bytes: 24 << 10,
        host_table_bytes: 36 << 10,
        pool_bytes: 80 << 10,
        shared_bytes: 8 << 10,
        trap_hypercall: 1,
        trap_stub: 20,
        trap_psci: 300,
        trap_smc: 4_000,
        trap_fault_mapped: 50_000,
        trap_fault_denied: 600_000,
        trap_sysreg: 7_000_000,
        trap_other: 80_000_000,
        guest_table_bytes: 44 << 10,
        vm_bytes: 20 << 10,
        guest_bytes: 3 << 20,
        trap_fault_decoy: 900_000_000,
        decoy_bytes: 64 << 10,
        teardown_ns: 98_765,
    }
}

fn plain(report: &Report) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    text::write(&mut out, report).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

#[test]
fn text() {
    let mut info = sample();
    info.abi_hash = mvirt_abi::HASH;
    let expected = format!(
        "\
mvirt
  device ABI          1
  EL2 contract        {:#018x}
  options             release, crash_test
  page size           4 KiB
  CPUs under EL2      6 of 8
  take-over           1.234 ms
  longest teardown    98.765 us

Memory taken from the host
  EL2 image                   96 KiB
    text                      48 KiB
    read-only data            12 KiB
  EL2 stacks                 128 KiB
  page metadata             1.00 MiB
  EL2 tables                  24 KiB
  host tables                 36 KiB
  free pool                   80 KiB
  guest tables                44 KiB
  VM state                    20 KiB
  decoys                      64 KiB
  kept at EL1               1000 B  
  total                     1.48 MiB
  shared with EL2              8 KiB
  owned by guests           3.00 MiB

Traps to EL2
  hypercalls                       1
  stub calls                      20
  PSCI                           300
  firmware calls                4000
  faults mended                50000
  faults denied               600000
  decoys met               900000000
  system registers           7000000
  other                     80000000
  total                    987654321
",
        mvirt_abi::HASH
    );
    assert_eq!(plain(&Report::new(&info)), expected);
}

#[test]
fn json() {
    let json = serde_json::to_value(Report::new(&sample())).unwrap();
    let expected = serde_json::json!({
        "module": { "abi_version": 1, "abi_hash": "0x0123456789abcdef" },
        "tool": { "abi_version": 1, "abi_hash": format!("{:#018x}", mvirt_abi::HASH) },
        "options": ["release", "crash_test"],
        "page_size": 4096,
        "cpus": { "possible": 8, "active": 6 },
        "takeover_ns": 1_234_567,
        "memory": {
            "image_bytes": 98_304,
            "text_bytes": 49_152,
            "rodata_bytes": 12_288,
            "stack_bytes": 131_072,
            "meta_bytes": 1_048_576,
            "el2_table_bytes": 24_576,
            "host_table_bytes": 36_864,
            "pool_bytes": 81_920,
            "guest_table_bytes": 45_056,
            "vm_bytes": 20_480,
            "decoy_bytes": 65_536,
            "el1_bytes": 1000,
            "total_bytes": 1_553_384,
        },
        "shared_bytes": 8192,
        "guest_bytes": 3_145_728,
        "teardown_ns": 98_765,
        "traps": {
            "hypercall": 1,
            "stub": 20,
            "psci": 300,
            "smc": 4_000,
            "fault_mapped": 50_000,
            "fault_denied": 600_000,
            "fault_decoy": 900_000_000,
            "sysreg": 7_000_000,
            "other": 80_000_000,
            "total": 987_654_321,
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn another_contract_is_pointed_out() {
    let text = plain(&Report::new(&sample()));
    assert!(text.contains("0x0123456789abcdef"));
    assert!(text.contains(&format!(
        "built with EL2 contract {:#018x}",
        mvirt_abi::HASH
    )));
}

#[test]
fn options_have_names() {
    assert!(options(0).is_empty());
    assert_eq!(options(MVIRT_OPTION_DEBUG), ["debug"]);
    assert_eq!(
        options(MVIRT_OPTION_RELEASE | 1 << 31),
        ["release", "unknown"]
    );
}

#[test]
fn absurd_numbers_do_not_panic() {
    let mut info = sample();
    info.image_bytes = u64::MAX;
    info.trap_other = u64::MAX;
    info.takeover_ns = u64::MAX;
    let report = Report::new(&info);
    assert_eq!(
        (report.memory.total_bytes, report.traps.total),
        (u64::MAX, u64::MAX)
    );
    assert!(plain(&report).contains("total"));
}
