// SPDX-License-Identifier: GPL-2.0
//! Folds, the view of guests, and the tables of the documentation.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::text::{HIDDEN, REGISTERS, RESERVED};
use super::*;
use crate::doc_check::check_table;

/// Cortex-A76 r4p1, as its manual gives it.
const A76: &[(Folded, u64)] = &[
    (Folded::Midr, 0x414f_d0b1),
    (Folded::Ctr, 0x8444_c004),
    (Folded::Pfr0, 0x1100_0000_1111_1112),
    (Folded::Pfr1, 0x10),
    (Folded::Dfr0, 0x1030_5408),
    (Folded::Isar0, 0x0000_1000_1021_1120),
    (Folded::Isar1, 0x0010_0001),
    (Folded::Mmfr0, 0x0010_1122),
    (Folded::Mmfr1, 0x1021_2122),
    (Folded::Mmfr2, 0x1011),
];

fn fold(system: &mut SystemIds, cpu: &[(Folded, u64)]) -> bool {
    system.fold(|register| {
        let found = cpu.iter().rev().find(|(r, _)| *r == register);
        found.map_or(0, |(_, value)| *value)
    })
}

/// Guests on CPUs with one register each.
fn guests(register: Folded, values: &[u64]) -> GuestIds {
    let mut system = SystemIds::new();
    for value in values {
        let _ = fold(&mut system, &[(register, *value)]);
    }
    GuestIds::new(&system).unwrap()
}

fn value(ids: &GuestIds, register: Folded) -> u64 {
    ids.read(register.encoding(), true, 0).unwrap()
}

#[test]
fn no_cpu_no_guests() {
    assert_eq!(GuestIds::new(&SystemIds::new()), None);
}

#[test]
fn a_cortex_a76() {
    let mut system = SystemIds::new();
    assert!(fold(&mut system, A76));
    let ids = GuestIds::new(&system).unwrap();
    let expected = [
        (Folded::Ctr, 0x8444_c004),
        // EL0 and EL1 are AArch64 only; no EL2, EL3 and RAS.
        (Folded::Pfr0, 0x1100_0000_0111_0011),
        (Folded::Pfr1, 0x10),
        // Armv8.0 debug, six breakpoints, four watchpoints, no double lock, no PMU, no multi-threaded PMU.
        (Folded::Dfr0, 0x000f_00f0_0030_5006),
        (Folded::Isar0, 0x0000_1000_1021_1120),
        (Folded::Isar1, 0x0010_0001),
        (Folded::Mmfr0, 0x0010_0122),
        // No LOR, VHE, VMIDs, XNX.
        (Folded::Mmfr1, 0x0020_2002),
        (Folded::Mmfr2, 0x0011),
    ];
    for (register, expected) in expected {
        assert_eq!(value(&ids, register), expected, "{}", register.name());
    }
    assert_eq!(ids.midr(), 0x414f_d0b1);
    assert!(!ids.has_pauth());
}

/// (Register, value on CPU 0, on CPU 1, seen)
#[test]
fn folds() {
    let table = [
        (Folded::Isar0, 2 << 4, 1 << 4, 1 << 4),
        (Folded::Isar0, 0, 1 << 60, 0),
        // Signed: absent (-1) is less than present (0) and more (1).
        (Folded::Mmfr0, 0xf << 28, 0, 0xf << 28),
        (Folded::Mmfr0, 1 << 28, 0xf << 28, 0xf << 28),
        (Folded::Mmfr0, 1 << 28, 0, 0),
        // SpecSEI: it may happen.
        (Folded::Mmfr1, 1 << 24, 0, 1 << 24),
        (Folded::Mmfr1, 0, 1 << 24, 1 << 24),
        // CWG and ERG: the larger one, but 0 is "not told".
        (
            Folded::Ctr,
            3 << 24 | 4 << 20,
            4 << 24 | 3 << 20,
            4 << 24 | 4 << 20,
        ),
        (Folded::Ctr, 3 << 24 | 4 << 20, 0, 0),
        // Lines: the smaller one. L1Ip: VIPT if they differ.
        (
            Folded::Ctr,
            4 << 16 | 5 | 3 << 14,
            5 << 16 | 4 | 3 << 14,
            4 << 16 | 4 | 3 << 14,
        ),
        (Folded::Ctr, 3 << 14, 1 << 14, 2 << 14),
        (Folded::Ctr, 3 << 28, 1 << 28, 1 << 28),
        // One algorithm on all CPUs, or none.
        (
            Folded::Isar1,
            1 << 4 | 1 << 24,
            1 << 4 | 1 << 24,
            1 << 4 | 1 << 24,
        ),
        (Folded::Isar1, 1 << 4 | 1 << 24, 3 << 4 | 1 << 24, 0),
        (Folded::Isar1, 1 << 4, 1 << 8, 0),
    ];
    for (register, a, b, expected) in table {
        let mask = a | b | expected;
        for pair in [[a, b], [b, a]] {
            let seen = value(&guests(register, &pair), register) & mask;
            assert_eq!(seen, expected, "{} {pair:x?}", register.name());
        }
    }
}

#[test]
fn caches_are_maintained_by_the_smallest_lines() {
    let mut system = SystemIds::new();
    assert_eq!(system.ctr(), None);
    // DIC, IDC, DminLine 64, PIPT, IminLine 64; then IminLine 32 and no DIC; then DminLine 32, VPIPT.
    let cpus = [0xb004_c004, 0x9004_c003, 0xb003_8004];
    for cpu in cpus {
        let _ = fold(&mut system, &[(Folded::Ctr, cpu)]);
    }
    assert_eq!(system.ctr(), Some(0x9003_8003));
    // In each order.
    let mut system = SystemIds::new();
    for cpu in cpus.iter().rev() {
        let _ = fold(&mut system, &[(Folded::Ctr, *cpu)]);
    }
    assert_eq!(system.ctr(), Some(0x9003_8003));
}

#[test]
fn the_fold_tells_of_a_cpu_that_has_less() {
    let mut system = SystemIds::new();
    assert!(fold(&mut system, &[(Folded::Isar0, 2 << 4 | 1 << 60)]));
    // The same, and more: nothing that guests were promised is missing.
    assert!(fold(&mut system, &[(Folded::Isar0, 2 << 4 | 1 << 60)]));
    assert!(fold(
        &mut system,
        &[(Folded::Isar0, 2 << 4 | 1 << 60 | 1 << 8)]
    ));
    // A field that guests do not see.
    assert!(fold(
        &mut system,
        &[(Folded::Isar0, 2 << 4 | 1 << 60 | 1 << 24)]
    ));
    assert!(!fold(&mut system, &[(Folded::Isar0, 1 << 4 | 1 << 60)]));
    // It is worked in.
    assert!(fold(&mut system, &[(Folded::Isar0, 1 << 4 | 1 << 60)]));
    // Another revision is no feature: the first CPU's stays.
    let other = [(Folded::Isar0, 1 << 4 | 1 << 60), (Folded::Midr, 7)];
    assert!(fold(&mut system, &other));
    assert_eq!(GuestIds::new(&system).unwrap().midr(), 0);
}

#[test]
fn limits() {
    let table = [
        (Folded::Pfr0, 56, 3, 1),
        (Folded::Mmfr0, 0, 6, 5),
        (Folded::Mmfr0, 60, 2, 1),
        (Folded::Mmfr1, 0, 4, 2),
        (Folded::Dfr0, 0, 0xb, 6),
        (Folded::Dfr0, 12, 0xf, 0xf),
        (Folded::Dfr0, 28, 1, 0),
        (Folded::Dfr0, 8, 9, 0),
        (Folded::Pfr0, 24, 3, 1),
        (Folded::Pfr0, 24, 0, 1),
        (Folded::Pfr0, 32, 1, 0),
        (Folded::Pfr1, 8, 3, 0),
        (Folded::Isar2, 16, 1, 0),
    ];
    for (register, shift, has, expected) in table {
        let seen = value(&guests(register, &[has << shift]), register);
        assert_eq!(
            bits(seen, shift, 4),
            expected,
            "{} {shift}",
            register.name()
        );
    }
}

#[test]
fn pointer_authentication() {
    for (register, shift) in [(Folded::Isar1, 4), (Folded::Isar1, 8), (Folded::Isar2, 12)] {
        let ids = guests(register, &[5 << shift]);
        assert!(ids.has_pauth());
        assert_eq!(value(&ids, register), 5 << shift);
    }
    // Generic authentication alone is not given.
    for (register, shift) in [(Folded::Isar1, 24), (Folded::Isar1, 28), (Folded::Isar2, 8)] {
        let ids = guests(register, &[1 << shift]);
        assert!(!ids.has_pauth());
        assert_eq!(value(&ids, register), 0);
    }
}

#[test]
fn the_whole_id_space() {
    let ids = guests(Folded::Ctr, &[0x8444_c004]);
    let known = |e| Folded::ALL.iter().any(|folded| folded.encoding() == e);
    for crm in 1..8 {
        for op2 in 0..8 {
            let e = Encoding::new(3, 0, 0, crm, op2);
            let got = ids.read(e, true, 0);
            assert!(got.is_some(), "{e:?}");
            if !known(e) {
                assert_eq!(got, Some(0), "{e:?}");
            }
        }
    }
    // CCSIDR2_EL1, GMID_EL1, SMIDR_EL1, and an encoding of EL2's.
    for (op1, op2) in [(1, 2), (1, 4), (1, 6), (4, 0)] {
        assert_eq!(ids.read(Encoding::new(3, op1, 0, 0, op2), true, 0), None);
    }
}

#[test]
fn without_a_gic() {
    let ids = guests(Folded::Pfr0, &[0x1100_0000_1111_1112]);
    let gic = |has| bits(ids.read(Folded::Pfr0.encoding(), has, 0).unwrap(), 24, 4);
    assert_eq!((gic(true), gic(false)), (1, 0));
}

#[test]
fn identity_is_the_first_cpus() {
    let mut system = SystemIds::new();
    for n in 1..3 {
        let _ = fold(
            &mut system,
            &[
                (Folded::Midr, n),
                (Folded::Revidr, 10 * n),
                (Folded::Aidr, 100 * n),
            ],
        );
    }
    let ids = GuestIds::new(&system).unwrap();
    let got = [
        ids.midr(),
        value(&ids, Folded::Revidr),
        value(&ids, Folded::Aidr),
    ];
    assert_eq!(got, [1, 10, 100]);
}

#[test]
fn caches() {
    // (IDC, DIC, CLIDR_EL1)
    let table = [
        // L1 instruction and data: LoUU, LoC and LoUIS 1.
        (0, 0, 1 << 27 | 1 << 24 | 1 << 21 | 3),
        (0, 1, 1 << 27 | 1 << 24 | 1 << 21 | 2),
        // L1 instruction, L2 unified: LoC 2.
        (1, 0, 2 << 24 | 4 << 3 | 1),
        // L1 unified.
        (1, 1, 1 << 24 | 4),
    ];
    for (idc, dic, expected) in table {
        // Data lines of 64 bytes, instruction lines of 128.
        let ids = guests(Folded::Ctr, &[idc << 28 | dic << 29 | 4 << 16 | 5]);
        let read = |op2, csselr| ids.read(Encoding::new(3, 1, 0, 0, op2), true, csselr);
        assert_eq!(read(1, 0), Some(expected), "IDC {idc} DIC {dic}");
        // log2(64) - 4 and log2(128) - 4; NumSets and Associativity 0 are one.
        assert_eq!((read(0, 0), read(0, 1)), (Some(2), Some(3)));
        assert_eq!((read(0, 2), read(0, 3)), (Some(2), Some(3)));
    }
}

#[test]
fn every_field_has_one_row() {
    for register in &Folded::ALL[4..] {
        let mut all: Vec<u8> = FIELDS
            .iter()
            .filter(|field| field.register == *register)
            .inspect(|field| assert_eq!(field.width, 4))
            .map(|field| field.shift)
            .chain(
                HIDDEN
                    .iter()
                    .filter(|row| row.0 == *register)
                    .map(|row| row.2),
            )
            .chain(
                RESERVED
                    .iter()
                    .filter(|row| row.0 == *register)
                    .map(|row| row.1),
            )
            .collect();
        all.sort_unstable();
        let expected: Vec<u8> = (0..16).map(|n| n * 4).collect();
        assert_eq!(all, expected, "{}", register.name());
    }
}

#[test]
fn the_documentation_shows_what_guests_see_and_what_not() {
    let mut rows = vec![["Register", "Field", "Bits", "CPUs", "Guests", "Why"]
        .map(String::from)
        .to_vec()];
    for (field, (name, why)) in FIELDS.iter().zip(fields::TEXT) {
        rows.push(vec![
            field.register.name().to_string(),
            name.to_string(),
            format!("{}:{}", field.shift + field.width - 1, field.shift),
            match field.fold {
                _ if matches!(field.policy, Policy::Fixed(_)) => "any".to_string(),
                Fold::Lower => "lowest".to_string(),
                Fold::LowerSigned => "lowest, signed".to_string(),
                Fold::Higher => "highest".to_string(),
                Fold::HigherOrZero => "highest, or 0".to_string(),
                Fold::Exact(safe) => format!("same, else {safe}"),
            },
            match field.policy {
                Policy::Allow => "as is".to_string(),
                Policy::Limit(most) => format!("at most {most}"),
                Policy::Fixed(value) => format!("{value}"),
                Policy::WithPauth => "with API, APA, APA3".to_string(),
            },
            why.to_string(),
        ]);
    }
    check_table("guest-cpu.rst", "seen", &rows);
    let mut rows = vec![["Register", "Field", "Bits", "What keeps guests from it"]
        .map(String::from)
        .to_vec()];
    for (register, name, shift, trap) in HIDDEN {
        rows.push(vec![
            register.name().to_string(),
            name.to_string(),
            format!("{}:{shift}", shift + 3),
            trap.to_string(),
        ]);
    }
    check_table("guest-cpu.rst", "hidden", &rows);
    let mut rows = vec![["Register", "Of", "What keeps guests from it"]
        .map(String::from)
        .to_vec()];
    for (register, of, trap) in REGISTERS {
        rows.push([register, of, trap].map(|text| text.to_string()).to_vec());
    }
    check_table("guest-cpu.rst", "zero", &rows);
}
