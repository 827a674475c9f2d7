// SPDX-License-Identifier: GPL-2.0
//! The register list, and replays of snapshots on CPUs with other features.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::cpu::{Feature, Midr};
use crate::doc_check::check_table;

/// ID registers of a core that has everything but E2H RES1.
fn max() -> IdRegs {
    IdRegs {
        midr: 0x000f_0510,
        mmfr0: 2 << 56,
        mmfr1: 1 << 40 | 1 << 20 | 1 << 16,
        pfr0: 1 << 24 | 1 << 32 | 1 << 40 | 1 << 44,
        pfr1: 1 << 4 | 3 << 8 | 2 << 24 | 1 << 36 | 1 << 44,
        pfr2: 1 << 12,
        dfr0: 1 << 32 | 1 << 52,
        dfr1: 1 << 48,
        smidr: 1 << 15,
        mpamidr: 1 << 17,
        ..IdRegs::default()
    }
}

fn a72() -> IdRegs {
    IdRegs {
        midr: 0x410f_d083,
        pfr0: 1 << 24,
        ..IdRegs::default()
    }
}

/// CPTR_EL2 that traps nothing, E2H 0.
const CPTR: u64 = 0x33ff & !(1 << 8) & !(1 << 12);

fn reader(hcr: u64, cptr: u64) -> impl FnMut(Kept) -> u64 {
    move |kept| match kept {
        Kept::Hcr => hcr,
        Kept::Cptr => cptr,
        _ => 0x1000 + kept as u64 * 16 + 0xf,
    }
}

fn this(ids: IdRegs) -> This {
    This {
        ids,
        mpidr: 0x8000_0003,
        fwb: false,
        watch: false,
    }
}

fn steps(snapshot: &Snapshot, this: &This) -> Vec<Step> {
    snapshot.replay(this).unwrap().collect()
}

#[test]
fn encodings_are_unique_and_writable_at_el2() {
    for (n, a) in Kept::ALL.iter().enumerate() {
        assert_eq!(*a as usize, n, "{}", a.name());
        let e = a.encoding();
        assert!((2..=3).contains(&e.op0) && e.op1 < 8 && e.op2 < 8 && e.crn < 16 && e.crm < 16);
        // op1 is 4 for EL2 and 0 for EL1 (Arm ARM C5.1.3).
        assert_eq!(
            e.op1,
            if a.name().ends_with("_EL2") { 4 } else { 0 },
            "{}",
            a.name()
        );
        for b in &Kept::ALL[..n] {
            assert_ne!(a.encoding(), b.encoding(), "{} and {}", a.name(), b.name());
        }
    }
}

#[test]
fn every_feature_is_seen_where_it_is_and_only_there() {
    let none = IdRegs::default();
    let all = max();
    for feature in Feature::ALL {
        let negated = matches!(feature, Feature::NoE2h0);
        assert_eq!(all.has(feature), !negated, "{feature:?}");
        assert_eq!(none.has(feature), feature == Feature::Base, "{feature:?}");
    }
    // The fields that a level 0 in one register and a fraction in another make.
    assert!(
        IdRegs {
            pfr1: 1 << 16,
            ..none
        }
        .has(Feature::Mpam),
        "MPAM v0.1"
    );
    assert!(
        !IdRegs {
            pmbidr: 1 << 4,
            ..all
        }
        .has(Feature::SpeAtEl2),
        "EL3 owns the buffer"
    );
    assert!(!IdRegs { smidr: 0, ..all }.has(Feature::SmePriority));
    assert!(!IdRegs { mpamidr: 0, ..all }.has(Feature::MpamHcr));
    assert!(!IdRegs {
        mmfr0: 1 << 56,
        ..all
    }
    .has(Feature::Fgt2));
    assert!(!IdRegs { pfr0: 0, ..all }.has(Feature::FgtAmu));
    // E2H0 is signed: 0 is fine, -1 (FEAT_E2H0 absent) and -2 are not.
    for (e2h0, absent) in [(0x0, false), (0x7, false), (0xf, true), (0xe, true)] {
        let ids = IdRegs {
            mmfr4: e2h0 << 24,
            ..none
        };
        assert_eq!(ids.has(Feature::NoE2h0), absent, "{e2h0:#x}");
    }
}

#[test]
fn an_old_core_has_the_base_registers_only() {
    let mut read = Vec::new();
    Snapshot::take(&a72(), |kept| {
        read.push(kept);
        // ICC_SRE_EL2.SRE, where it is that.
        1
    });
    let expected = [
        Kept::Hcr,
        Kept::Cptr,
        Kept::Hstr,
        Kept::Mdcr,
        Kept::Cnthctl,
        Kept::Cntvoff,
        Kept::Vpidr,
        Kept::Vmpidr,
        Kept::IccSre,
        Kept::IchHcr,
    ];
    assert_eq!(read, expected);
}

#[test]
fn a_trapped_vector_length_is_not_touched() {
    const E2H: u64 = 1 << 34;
    // (HCR_EL2, CPTR_EL2, ID_AA64MMFR4_EL1, ZCR_EL2 there, SMCR_EL2 there)
    let table = [
        (0, CPTR, 0, true, true),
        (0, CPTR | 1 << 8, 0, false, true),
        (0, CPTR | 1 << 12, 0, true, false),
        (0, 0x33ff, 0, false, false),
        (E2H, 0b11 << 16 | 0b11 << 24, 0, true, true),
        (E2H, 0b11 << 24, 0, false, true),
        (E2H, 0b10 << 16 | 0b11 << 24, 0, false, true),
        (E2H, 0b01 << 16, 0, true, false),
        // E2H RES1 and read as 0 all the same.
        (0, 0b11 << 16, 0xf << 24, true, false),
    ];
    for (hcr, cptr, mmfr4, zcr, smcr) in table {
        let ids = IdRegs { mmfr4, ..max() };
        let snapshot = Snapshot::take(&ids, reader(hcr, cptr));
        let case = (hcr, cptr, mmfr4);
        assert_eq!(snapshot.get(Kept::Zcr).is_some(), zcr, "{case:x?}");
        assert_eq!(snapshot.get(Kept::Smcr).is_some(), smcr, "{case:x?}");
        let this = this(ids);
        let written = steps(&snapshot, &this);
        let has = |k| {
            written
                .iter()
                .any(|s| matches!(s, Step::Write(kept, _) if *kept == k))
        };
        assert_eq!((has(Kept::Zcr), has(Kept::Smcr)), (zcr, smcr), "{case:x?}");
    }
}

#[test]
fn a_gic_that_runs_as_a_gicv2_is_left_alone() {
    // SRE with the other bits set, and without any.
    for (sre, there) in [(0xe, false), (0xf, true), (0, false), (1, true)] {
        let mut other = reader(0, CPTR);
        let mut read = Vec::new();
        let snapshot = Snapshot::take(&max(), |kept| {
            read.push(kept);
            match kept {
                Kept::IccSre => sre,
                _ => other(kept),
            }
        });
        assert_eq!(read.contains(&Kept::IchHcr), there, "{sre:#x}");
        let this = this(max());
        let written = steps(&snapshot, &this);
        let has = |k| {
            written
                .iter()
                .any(|s| matches!(s, Step::Write(kept, _) if *kept == k))
        };
        assert!(has(Kept::IccSre), "{sre:#x}");
        assert_eq!(has(Kept::IchHcr), there, "{sre:#x}");
    }
    let gicv2 = IdRegs { pfr0: 0, ..a72() };
    assert!(!Kept::IchHcr.present(&gicv2, 0, CPTR, 1));
}

#[test]
fn barriers_stand_between_what_depends() {
    let snapshot = Snapshot::take(&max(), reader(0, CPTR));
    let steps = steps(&snapshot, &this(max()));
    let at = |kept| {
        steps
            .iter()
            .position(|s| matches!(s, Step::Write(k, _) if *k == kept))
            .expect("written")
    };
    let isb_between =
        |a, b| at(a) < at(b) && steps[at(a)..at(b)].iter().any(|s| matches!(s, Step::Isb));
    assert_eq!(at(Kept::Hcr), 0);
    for kept in [Kept::Cptr, Kept::Cnthctl] {
        assert!(isb_between(Kept::Hcr, kept), "E2H before {}", kept.name());
    }
    assert!(isb_between(Kept::Cptr, Kept::Zcr));
    assert!(isb_between(Kept::Cptr, Kept::Smcr));
    assert!(isb_between(Kept::IccSre, Kept::IchHcr));
    assert_eq!(steps.last(), Some(&Step::Isb));
    let writes = steps
        .iter()
        .filter(|s| matches!(s, Step::Write(..)))
        .count();
    assert_eq!(writes, COUNT, "each register once");
}

#[test]
fn each_treatment() {
    let snapshot = Snapshot::take(&max(), reader(1 << 34 | 1 << 56, 0b11 << 16 | 0b11 << 24));
    let this = This {
        fwb: true,
        watch: true,
        ..this(max())
    };
    for step in snapshot.replay(&this).unwrap() {
        let Step::Write(kept, value) = step else {
            continue;
        };
        let found = snapshot.get(kept).unwrap();
        let expected = match kept {
            Kept::Hcr => host_hcr(found, true, true),
            Kept::Vpidr => 0x000f_0510,
            Kept::Vmpidr => 0x8000_0003,
            Kept::Pmscr | Kept::Brbcr => found & !3,
            Kept::Lorc | Kept::Gcscr | Kept::Gcscre0 | Kept::GcscrEl2 => 0,
            _ => found,
        };
        assert_eq!(value, expected, "{}", kept.name());
    }
}

#[test]
fn the_host_s_hcr() {
    let base = 1 | 1 << 1 | 1 << 19 | 1 << 31;
    // What stays: E2H, API, APK, ATA. What goes: TVM, TGE, HCD, DC, CD, ID, NV*, FWB.
    let keep = 1 << 34 | 1 << 40 | 1 << 41 | 1 << 56;
    let clear = 1 << 12 | 1 << 26 | 1 << 27 | 1 << 29 | 3 << 32 | 3 << 42 | 1 << 45 | 1 << 46;
    assert_eq!(host_hcr(keep | clear, false, false), keep | base);
    assert_eq!(host_hcr(0, false, true), base | 1 << 26);
    assert_eq!(host_hcr(0, true, false), base | 1 << 46);
    assert_eq!(host_hcr(u64::MAX, false, false) & clear, 0);
}

#[test]
fn a_snapshot_that_lacks_a_register_is_refused() {
    // The snapshot's CPU had its SVE fused off.
    let poor = IdRegs {
        pfr0: max().pfr0 & !(0xf << 32),
        ..max()
    };
    let snapshot = Snapshot::take(&poor, reader(0, CPTR));
    assert_eq!(
        snapshot.replay(&this(max())).err(),
        Some(Missing(Kept::Zcr))
    );
    // The other way round the register is simply not written.
    let rich = Snapshot::take(&max(), reader(0, CPTR));
    assert!(!steps(&rich, &this(poor))
        .iter()
        .any(|s| matches!(s, Step::Write(Kept::Zcr, _))));
}

#[test]
fn which_snapshot() {
    let of = |midr| Some(Snapshot::take(&IdRegs { midr, ..a72() }, reader(0, CPTR)));
    let (a, b) = (0x410f_d083, 0x410f_d034);
    let snapshots = [of(a), None, of(b), None];
    let pick = |slot, midr| {
        choose(slot, Midr::from_register(midr), &snapshots).map(|(owner, s)| (owner, s.midr()))
    };
    assert_eq!(pick(0, a), Ok((0, Midr::from_register(a))));
    assert_eq!(pick(2, b), Ok((2, Midr::from_register(b))));
    assert_eq!(
        pick(1, a),
        Ok((0, Midr::from_register(a))),
        "one of its kind"
    );
    assert_eq!(pick(3, b), Ok((2, Midr::from_register(b))));
    let other = 0x410f_d082;
    let none = Err(NoSnapshot(Midr::from_register(other)));
    assert_eq!(pick(1, other), none, "another revision");
    assert_eq!(pick(9, other), none);
}

/// Which kernel sets a register: from el2_setup.h, hyp-stub.S and head.S of 6.18.15 and 7.3.4.
fn kernel(kept: Kept) -> &'static str {
    match kept {
        Kept::Hcr => "both; 7.3 sets ATA too",
        Kept::Hcrx => "both; 7.3 sets EnALS and EnASR too, for LS64",
        Kept::GcscrEl2 => "neither: zero by the boot protocol",
        Kept::Cptr | Kept::Cnthctl => "both; in the format of E2H as found",
        Kept::Zcr | Kept::Smcr | Kept::Smprimap => "both, in finalise_el2_state",
        Kept::Hdfgwtr2 => "both; 6.18 writes the value of HDFGRTR2_EL2, without nPMZR_EL0",
        Kept::Mpam2 => "both, in finalise_el2_state; 7.3 sets EnMPAMSM",
        Kept::Mpamhcr | Kept::Gcscr | Kept::Gcscre0 => "both, in finalise_el2_state",
        Kept::Mpamvpmv => "neither: what MPAMHCR_EL2 would enable",
        Kept::IchHfgrtr => "both; 7.3 leaves ICC_HAPR_EL1 out",
        Kept::IchVctlr => "7.3",
        Kept::Hstr
        | Kept::Mdcr
        | Kept::Cntvoff
        | Kept::Vpidr
        | Kept::Vmpidr
        | Kept::Hfgrtr
        | Kept::Hfgwtr
        | Kept::Hfgitr
        | Kept::Hdfgrtr
        | Kept::Hdfgwtr
        | Kept::Hafgrtr
        | Kept::Hfgrtr2
        | Kept::Hfgwtr2
        | Kept::Hfgitr2
        | Kept::Hdfgrtr2
        | Kept::IccSre
        | Kept::IchHcr
        | Kept::IchHfgwtr
        | Kept::IchHfgitr
        | Kept::Pmscr
        | Kept::Brbcr
        | Kept::Lorc => "both",
    }
}

#[test]
fn the_documentation_shows_the_registers() {
    let header = ["Register", "Encoding", "Exists if", "Replayed", "Kernel"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for kept in Kept::ALL {
        let e = kept.encoding();
        let replayed = match kept.treatment() {
            Treatment::Found => "as found",
            Treatment::Host => "host's",
            Treatment::NoEl2Recording => "without EL2",
            Treatment::Zero => "zero",
            Treatment::OwnMidr => "own MIDR",
            Treatment::OwnMpidr => "own MPIDR",
        };
        rows.push(vec![
            kept.name().to_string(),
            format!("S{}_{}_C{}_C{}_{}", e.op0, e.op1, e.crn, e.crm, e.op2),
            kept.feature().condition().to_string(),
            replayed.to_string(),
            kernel(*kept).to_string(),
        ]);
    }
    check_table("el2-registers.rst", "registers", &rows);
}
