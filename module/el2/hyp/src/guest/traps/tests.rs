// SPDX-License-Identifier: GPL-2.0
//! The registers of an old and of a new core, against values put together by hand.

use super::*;
use crate::guest::idregs::{Folded, SystemIds};

const CTR: u64 = 0x8444_c004;

fn guest(isar1: u64, ctr: u64) -> GuestIds {
    let mut system = SystemIds::new();
    assert!(system.fold(|register| match register {
        Folded::Ctr => ctr,
        Folded::Isar1 => isar1,
        _ => 0,
    }));
    GuestIds::new(&system).unwrap()
}

const OPTIONS: Options = Options {
    fwb: false,
    trap_fp: false,
    host_mdcr: 0,
};

/// Everything that the values depend on.
fn new_core() -> IdRegs {
    IdRegs {
        // RAS, AMU, SVE.
        pfr0: 1 << 28 | 1 << 44 | 1 << 32,
        // MTE, NMI.
        pfr1: 2 << 8 | 1 << 36,
        // SPE, TRBE.
        dfr0: 1 << 32 | 1 << 44,
        isar2: 1 << 60,
        // FGT.
        mmfr0: 1 << 56,
        // HCX, LOR.
        mmfr1: 1 << 40 | 1 << 16,
        // EVT.
        mmfr2: 2 << 56,
        // With TminLine, which guests do not see.
        ctr: CTR | 4 << 32,
        ..IdRegs::default()
    }
}

#[test]
fn an_old_core() {
    let got = Traps::new(&IdRegs::default(), &guest(0, CTR), &OPTIONS);
    let expected = Traps {
        // KVM's HCR_GUEST_FLAGS without TLOR, and TID2.
        hcr: 1 << 31 | 0x7f << 16 | 3 << 13 | 1 << 10 | 1 << 9 | 0x3f,
        hcrx: 0,
        cptr: 1 << 20 | 0x33ff,
        mdcr: 1 << 19 | 1 << 14 | 7 << 9 | 3 << 5,
        cnthctl: 1,
        hfgitr: 0,
        hdfgrtr: 0,
    };
    assert_eq!(got, expected);
}

#[test]
fn a_new_core() {
    let old = Traps::new(&IdRegs::default(), &guest(0, CTR), &OPTIONS);
    let options = Options {
        fwb: true,
        trap_fp: true,
        // HPMN 6, HPME, and TDE, E2PB, TPM that are not the guest's.
        host_mdcr: 0x1_0000_0000_0000 | 3 << 12 | 1 << 8 | 1 << 7 | 6,
    };
    let got = Traps::new(&new_core(), &guest(1 << 4, CTR), &options);
    // TID4 for TID2; TID5, FWB, API, APK, TEA, TERR, TLOR.
    let hcr = (old.hcr & !(1 << 17)) | 1 << 49 | 1 << 58 | 1 << 46 | 3 << 40 | 7 << 35;
    let expected = Traps {
        hcr,
        hcrx: 1 << 6,
        cptr: old.cptr | 1 << 30 | 1 << 10,
        mdcr: old.mdcr | 1 << 7 | 6,
        cnthctl: 1,
        hfgitr: 1 << 62,
        hdfgrtr: 1 << 63 | 1 << 51,
    };
    assert_eq!(got, expected);
}

#[test]
fn ctr_traps_where_it_is_another() {
    let both = |hcr: u64| (hcr >> 17 & 1, hcr >> 49 & 1);
    let hcr = |cpu: &IdRegs, ctr| Traps::new(cpu, &guest(0, ctr), &OPTIONS).hcr;
    assert_eq!(both(hcr(&new_core(), CTR)), (0, 1));
    assert_eq!(both(hcr(&new_core(), CTR ^ 1 << 20)), (1, 0));
    let no_evt = IdRegs {
        mmfr2: 0,
        ..new_core()
    };
    assert_eq!(both(hcr(&no_evt, CTR)), (1, 0));
}

/// What would give the machine away or end EL2's rule is 0 on any core.
#[test]
fn never_set() {
    let never = 1 << 6 // VF
        | 1 << 7 | 1 << 8 // VI, VSE
        | 1 << 12 // DC
        | 1 << 27 // TGE
        | 1 << 29 // HCD
        | 1 << 32 | 1 << 33 // CD, ID
        | 1 << 34 // E2H
        | 1 << 42 | 1 << 43 | 1 << 44 | 1 << 45 // NV, NV1, AT, NV2
        | 1 << 51 // AMVOFFEN
        | 1 << 53 // EnSCXT
        | 1 << 56; // ATA
    for cpu in [IdRegs::default(), new_core()] {
        for isar1 in [0, 1 << 4] {
            let got = Traps::new(&cpu, &guest(isar1, CTR), &OPTIONS);
            assert_eq!(got.hcr & never, 0);
        }
    }
    assert_eq!((HSTR, HFGXTR, OTHER_FGT), (0, 0, 0));
}

#[test]
fn mpam() {
    let host = 1 << 63 | 0x5_0005;
    assert_eq!(mpam2(host), host | 3 << 48);
    assert_eq!(mpamhcr(3), 1 << 31 | 3);
}
