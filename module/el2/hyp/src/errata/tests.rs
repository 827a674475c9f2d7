// SPDX-License-Identifier: GPL-2.0
//! The table against an independent list of what the kernel registers, and what comes of it on
//! real MIDRs.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::doc_check::check_table;

/// From Documentation/arch/arm64/silicon-errata.rst of Linux 7.3.4: all rows of the CPUs that the
/// module supports by name, with the numbers in its third column.
const REGISTERED: &[(Core, &[u32])] = &[
    (Core::CortexA35, &[]),
    (
        Core::CortexA53,
        &[826319, 827319, 824069, 819472, 845719, 843419],
    ),
    (Core::CortexA55, &[1024718, 1530923, 2441007]),
    (Core::CortexA57, &[832075, 852523, 834220, 1319537, 1742098]),
    (Core::CortexA72, &[853709, 1319367, 1655431]),
    (
        Core::CortexA76,
        &[
            1188873, 1418040, 1165522, 1286807, 1463225, 1490853, 3324349, 4193800,
        ],
    ),
    (Core::CortexA77, &[1491015, 1508412, 3324348, 4193798]),
    (Core::CortexA78, &[3324344, 4193791]),
    (Core::CortexA78ae, &[4193793]),
    (Core::CortexA78c, &[3324346, 3324347, 4193794]),
    (
        Core::CortexA510,
        &[
            2457168, 2064142, 2038923, 1902691, 2051678, 2077057, 2441009, 2658417, 3117295,
        ],
    ),
    (Core::CortexA520, &[2966298]),
    (
        Core::CortexA710,
        &[2119858, 2054223, 2224489, 3324338, 4193788],
    ),
    (Core::CortexA715, &[2645198, 3456084]),
    (Core::CortexA720, &[3456091]),
    (Core::CortexA725, &[3456106, 3821522]),
    (Core::CortexX1, &[1502854, 3324344, 4193791]),
    (Core::CortexX1c, &[3324346, 4193792]),
    (Core::CortexX2, &[2119858, 2224489, 3324338, 4193788]),
    (Core::CortexX3, &[3324335, 4193786]),
    (Core::CortexX4, &[3194386, 4118414]),
    (Core::CortexX925, &[3324334, 4193781]),
    (Core::C1Pro, &[4193714]),
    (Core::C1Premium, &[3683289, 4193780]),
    (Core::C1Ultra, &[3683289, 4193780]),
    (
        Core::NeoverseN1,
        &[
            1188873, 1418040, 1349291, 1490853, 1542419, 3324349, 4193800,
        ],
    ),
    (
        Core::NeoverseN2,
        &[2139208, 2067961, 2253138, 3324339, 4193789],
    ),
    (Core::NeoverseV1, &[1619801, 3324341, 4193790]),
    (Core::A64fx, &[10001]),
    (Core::QemuMax, &[]),
];

fn midr(core: Core, revision: u32) -> u64 {
    let (implementer, part) = core.model();
    let (variant, revision) = (revision >> 4, revision & 0xf);
    u64::from(implementer << 24 | variant << 20 | 0xf << 16 | part << 4 | revision)
}

fn ids(midr: u64) -> IdRegs {
    IdRegs {
        midr,
        ..IdRegs::default()
    }
}

fn of(ids: &IdRegs) -> Mitigations {
    Mitigations::of(ids, &Workarounds::default()).unwrap()
}

#[test]
fn every_registered_erratum_has_a_verdict() {
    for (core, errata) in REGISTERED {
        for erratum in *errata {
            let rows = ROWS
                .iter()
                .filter(|r| r.core == *core && r.erratum == *erratum)
                .count();
            assert_eq!(rows, 1, "{} {erratum}", core.name());
        }
        for row in ROWS.iter().filter(|r| r.core == *core) {
            let known = errata.contains(&row.erratum) || row.erratum == 835769;
            assert!(known, "{} {} is not registered", core.name(), row.erratum);
        }
    }
}

#[test]
fn models_are_unique() {
    for (n, a) in Core::ALL.iter().enumerate() {
        assert_eq!(Core::of(Midr::from_register(midr(*a, 0x23))), Some(*a));
        for b in &Core::ALL[..n] {
            assert_ne!(a.model(), b.model());
        }
    }
    // Another maker's core with the same part number is another core.
    assert_eq!(Core::of(Midr::from_register(0x51 << 24 | 0xd0b << 4)), None);
}

#[test]
fn revisions() {
    let midr = Midr::from_register(0x412f_d053);
    assert_eq!(
        (midr.implementer(), midr.part(), midr.revision()),
        (0x41, 0xd05, 0x23)
    );
    for row in ROWS {
        assert!(row.first <= row.last);
        let covers = |rev: u32| row.covers(Midr::from_register(self::midr(row.core, rev)));
        let (first, last) = (u32::from(row.first), u32::from(row.last));
        assert!(
            covers(first) && covers(last),
            "{} {}",
            row.core.name(),
            row.erratum
        );
        assert!(
            first == 0 || !covers(first - 1),
            "{} {}",
            row.core.name(),
            row.erratum
        );
        assert!(
            last == 0xff || !covers(last + 1),
            "{} {}",
            row.core.name(),
            row.erratum
        );
    }
}

/// The CPU models of QEMU 10.0 and the cores of phones and servers, at one revision each.
#[test]
fn known_cores() {
    // (MIDR_EL1, CSV2, on entry, speculative AT, repeat TLBI, translate again, clean by
    // invalidate, barriers at PAR_EL1, Spectre-v2 open)
    let yes = true;
    let no = false;
    let table = [
        // QEMU's.
        (0x411f_d040, 0, OnEntry::Nothing, no, no, no, no, no, no),
        (0x410f_d034, 0, OnEntry::Nothing, no, no, no, no, no, no),
        (0x412f_d050, 0, OnEntry::Nothing, yes, yes, no, no, no, no),
        (0x411f_d070, 0, OnEntry::Loop(8), yes, no, yes, no, no, yes),
        (0x410f_d083, 0, OnEntry::Loop(8), yes, no, no, no, no, yes),
        (0x414f_d0b1, 1, OnEntry::Loop(24), no, yes, no, no, no, no),
        (0x412f_d471, 1, OnEntry::Loop(32), no, yes, no, no, no, no),
        (0x414f_d0c1, 1, OnEntry::Loop(24), no, yes, no, no, no, no),
        (0x410f_d493, 1, OnEntry::Loop(32), no, yes, no, no, no, no),
        (0x411f_d402, 1, OnEntry::Loop(32), no, yes, no, no, no, no),
        (0x461f_0010, 0, OnEntry::Loop(132), no, no, no, no, no, yes),
        (0x000f_0510, 3, OnEntry::Nothing, no, no, no, no, no, no),
        // Others.
        (0x410f_d031, 0, OnEntry::Nothing, no, no, no, yes, no, no),
        (0x412f_d051, 0, OnEntry::Nothing, no, yes, no, no, no, no),
        (0x411f_d073, 0, OnEntry::Loop(8), yes, no, no, no, no, yes),
        (0x412f_d0b0, 1, OnEntry::Loop(24), yes, yes, no, no, no, no),
        (0x411f_d0d0, 1, OnEntry::Loop(24), no, yes, no, no, yes, no),
        (0x411f_d410, 1, OnEntry::Loop(32), no, yes, no, no, no, no),
        (0x411f_d461, 1, OnEntry::Nothing, no, yes, no, no, no, no),
        (0x411f_d462, 1, OnEntry::Nothing, no, no, no, no, no, no),
        (0x410f_d801, 1, OnEntry::Nothing, no, no, no, no, no, no),
        (0x411f_d4d0, 1, OnEntry::Loop(38), no, no, no, no, no, no),
        (0x410f_d811, 1, OnEntry::Loop(38), no, no, no, no, no, no),
        (0x411f_d440, 1, OnEntry::Loop(32), no, yes, no, no, no, no),
        (0x411f_d4e0, 1, OnEntry::Loop(132), no, yes, no, no, no, no),
        (0x51df_805e, 0, OnEntry::Nothing, yes, no, no, no, no, no),
        (0x51cf_804e, 1, OnEntry::Loop(24), no, yes, no, no, no, no),
        (0x51ff_804f, 1, OnEntry::Loop(24), no, no, no, no, no, no),
    ];
    for (midr, csv2, on_entry, at, tlbi, again, clean, par, open) in table {
        let ids = IdRegs {
            pfr0: csv2 << 56,
            ..ids(midr)
        };
        let expected = Mitigations {
            on_entry,
            spectre_v2_open: open,
            spectre_v2_call: false,
            speculative_at: at,
            repeat_tlbi: tlbi,
            retranslate: again,
            clean_by_invalidate: clean,
            par_barrier: par,
        };
        assert_eq!(of(&ids), expected, "MIDR {midr:#x}");
    }
}

#[test]
fn an_unknown_core_gets_what_is_harmless() {
    let expected = Mitigations {
        on_entry: OnEntry::Loop(132),
        spectre_v2_open: true,
        spectre_v2_call: false,
        speculative_at: true,
        repeat_tlbi: true,
        retranslate: false,
        clean_by_invalidate: true,
        par_barrier: true,
    };
    assert_eq!(of(&ids(0x610f_0220)), expected);
}

#[test]
fn id_registers_promise_better_than_the_list() {
    let x1 = midr(Core::CortexX1, 0x10);
    let csv2 = |n: u64| IdRegs {
        pfr0: n << 56,
        ..ids(x1)
    };
    assert_eq!(of(&csv2(1)).on_entry, OnEntry::Loop(32));
    assert_eq!(of(&csv2(2)).on_entry, OnEntry::Loop(32));
    assert_eq!(of(&csv2(3)).on_entry, OnEntry::Nothing);
    let ecbhb = IdRegs {
        mmfr1: 1 << 60,
        ..csv2(2)
    };
    assert_eq!(of(&ecbhb).on_entry, OnEntry::Nothing);
    let clrbhb = IdRegs {
        isar2: 1 << 28,
        ..csv2(2)
    };
    assert_eq!(of(&clrbhb).on_entry, OnEntry::ClearBhb);
    let both = IdRegs {
        isar2: 1 << 28,
        ..ecbhb
    };
    assert_eq!(of(&both).on_entry, OnEntry::Nothing);
}

#[test]
fn firmware() {
    use Support::{Required, Unknown, Unneeded};
    assert_eq!(Support::from_features(0), Required);
    assert_eq!(Support::from_features(1), Unneeded);
    assert_eq!(Support::from_features(u64::MAX), Unknown);
    assert_eq!(Support::from_features(0xffff_ffff), Unknown);
    assert_eq!(Support::from_features(2), Unknown);
    let (wa1, wa3) = (
        OnEntry::Firmware(WORKAROUND_1),
        OnEntry::Firmware(WORKAROUND_3),
    );
    let a72 = midr(Core::CortexA72, 0x03);
    let a64fx = midr(Core::A64fx, 0x10);
    // (MIDR, CSV2, WORKAROUND_1, WORKAROUND_3, on entry, open)
    let table = [
        (a72, 0, Required, Unknown, wa1, false),
        (a72, 0, Required, Required, wa3, false),
        (a72, 0, Unneeded, Unknown, OnEntry::Loop(8), false),
        (a72, 0, Unknown, Unknown, OnEntry::Loop(8), true),
        (a72, 0, Unknown, Required, OnEntry::Loop(8), true),
        (a72, 1, Required, Required, OnEntry::Loop(8), false),
        (a64fx, 1, Unknown, Required, wa3, false),
        (a64fx, 1, Unknown, Unneeded, OnEntry::Nothing, false),
        (a64fx, 1, Unknown, Unknown, OnEntry::Loop(132), false),
    ];
    for (midr, csv2, wa1, wa3, on_entry, open) in table {
        let ids = IdRegs {
            pfr0: csv2 << 56,
            ..ids(midr)
        };
        let got = Mitigations::of(&ids, &Workarounds { wa1, wa3 }).unwrap();
        let case = (midr, csv2, wa1, wa3);
        assert_eq!(
            (got.on_entry, got.spectre_v2_open),
            (on_entry, open),
            "{case:x?}"
        );
        // A72 with CSV2 0, and firmware that says so.
        let call = (midr, csv2) == (a72, 0) && wa1 == Required;
        assert_eq!(got.spectre_v2_call, call, "{case:x?}");
    }
}

#[test]
fn refusals() {
    let c1_pro = |revision, sme: u64, revidr| {
        let ids = IdRegs {
            pfr1: sme << 24,
            revidr,
            ..ids(midr(Core::C1Pro, revision))
        };
        Mitigations::of(&ids, &Workarounds::default()).err()
    };
    let refused = Some((4_193_714, Refused::EarlyDvmSync));
    assert_eq!(c1_pro(0x00, 2, 0), refused);
    assert_eq!(
        c1_pro(0x11, 2, 1),
        refused,
        "REVIDR_EL1 counts for r1p2 only"
    );
    assert_eq!(c1_pro(0x12, 2, 0), refused);
    assert_eq!(c1_pro(0x12, 2, 1), None);
    assert_eq!(c1_pro(0x13, 2, 0), None);
    assert_eq!(c1_pro(0x00, 0, 0), None, "no SME, no erratum");
}

/// What `mvirt doctor` knows of refusals is what is refused.
#[test]
fn refusals_are_those_that_user_space_is_told() {
    use mvirt_abi::refusal::{RefusedErratum, REFUSED_ERRATA};
    let rows: Vec<_> = ROWS
        .iter()
        .filter_map(|row| match row.verdict {
            Verdict::Refused(Refused::EarlyDvmSync) => {
                let core = midr(row.core, 0);
                Some(RefusedErratum {
                    erratum: row.erratum,
                    implementer: bits(core, 24, 8) as u32,
                    part: bits(core, 4, 12) as u32,
                    first: row.first.into(),
                    last: row.last.into(),
                    sme: true,
                    revidr_mends_last: row.last == 0x12,
                })
            }
            _ => None,
        })
        .collect();
    assert_eq!(rows, REFUSED_ERRATA);
}

fn revision_range(row: &Row) -> String {
    let name = |r: u8| match row.core {
        // Qualcomm's numbering: variant and revision as hexadecimal digits.
        Core::Kryo4xxGold | Core::Kryo4xxSilver => format!("r{:x}p{:x}", r >> 4, r & 0xf),
        _ => format!("r{}p{}", r >> 4, r & 0xf),
    };
    match (row.first, row.last) {
        (0x00, 0xff) => "all".to_string(),
        (first, last) if first == last => name(first),
        (first, last) => format!("{} to {}", name(first), name(last)),
    }
}

#[test]
fn the_documentation_shows_the_table() {
    let header = ["Core", "Erratum", "Revisions", "Verdict", "How or why"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for row in ROWS {
        rows.push(vec![
            row.core.name().to_string(),
            row.erratum.to_string(),
            revision_range(row),
            row.verdict.name().to_string(),
            row.verdict.text().to_string(),
        ]);
    }
    check_table("errata.rst", "errata", &rows);
}

#[test]
fn the_documentation_shows_branch_prediction() {
    let header = ["Core", "Implementer", "Part", "Spectre-v2", "Spectre-BHB"];
    let mut rows: Vec<Vec<String>> = vec![header.map(String::from).to_vec()];
    for core in Core::ALL {
        let (implementer, part) = core.model();
        rows.push(vec![
            core.name().to_string(),
            format!("{implementer:#04x}"),
            format!("{part:#05x}"),
            match core.spectre_v2() {
                SpectreV2::Safe => "not affected".to_string(),
                SpectreV2::IdRegister => "CSV2, else WORKAROUND_1".to_string(),
            },
            match core.spectre_bhb() {
                SpectreBhb::Safe => "not affected".to_string(),
                SpectreBhb::Loop(k) => format!("{k} branches"),
                SpectreBhb::IdRegister => "ID registers, WORKAROUND_3, 132 branches".to_string(),
            },
        ]);
    }
    check_table("errata.rst", "branch-prediction", &rows);
}
