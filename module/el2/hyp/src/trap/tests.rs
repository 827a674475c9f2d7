// SPDX-License-Identifier: GPL-2.0
//! Tables of syndromes and of exceptions, against values worked out by hand from the Arm ARM.

use std::vec::Vec;

use super::*;
use crate::cpu::IdRegs;

const IL: u64 = 1 << 25;

fn esr(ec: u64, iss: u64) -> u64 {
    (ec << 26) | IL | iss
}

fn abort(value: u64) -> Abort {
    match Trap::decode(value) {
        Ok(Trap::Abort(abort)) => abort,
        other => panic!("not an abort: {other:?}"),
    }
}

#[test]
fn calls_carry_their_immediate() {
    assert_eq!(Trap::decode(esr(0x16, 0)), Ok(Trap::Hvc { imm: 0 }));
    assert_eq!(
        Trap::decode(esr(0x16, 0xffff)),
        Ok(Trap::Hvc { imm: 0xffff })
    );
    assert_eq!(
        Trap::decode(esr(0x17, 0x1234)),
        Ok(Trap::Smc { imm: 0x1234 })
    );
    // An HVC returns behind itself, an SMC and an MSR return to themselves.
    assert_eq!(Trap::Hvc { imm: 0 }.advance(), 0);
    assert_eq!(Trap::Smc { imm: 0 }.advance(), 4);
}

#[test]
fn every_class_is_known_or_an_error() {
    let mut unknown = Vec::new();
    for ec in 0..64u64 {
        match Trap::decode(esr(ec, 0)) {
            Ok(Trap::Other { ec: got, .. }) => assert_eq!(u64::from(got), ec),
            Ok(_) => assert!([0x16, 0x17, 0x18, 0x20, 0x24].contains(&ec)),
            Err(e) => {
                assert_eq!(e, Unknown::Class(ec as u8));
                unknown.push(ec);
            }
        }
    }
    // Reserved, or of another level: 0x1e and 0x1f are EL3's, 0x2f comes by the SError vector,
    // and an odd number from 0x21 to 0x35 is an exception from EL2 itself.
    let expected = [
        0x02, 0x0b, 0x0f, 0x10, 0x1e, 0x1f, 0x21, 0x23, 0x25, 0x29, 0x2a, 0x2b, 0x2e, 0x2f, 0x31,
        0x33, 0x35, 0x36, 0x37, 0x39, 0x3b, 0x3e, 0x3f,
    ];
    assert_eq!(unknown, expected);
}

#[test]
fn register_traps() {
    // msr sctlr_el1, x0: op0 3, op1 0, CRn 1, CRm 0, op2 0, write.
    let iss = (3 << 20) | (1 << 10);
    let trap = Trap::decode(esr(0x18, iss));
    let access = SysregAccess {
        register: Encoding::SCTLR_EL1,
        rt: 0,
        is_read: false,
    };
    assert_eq!(trap, Ok(Trap::SystemRegister(access)));
    // mrs x30, S3_7_C15_C14_5.
    let iss = (3 << 20) | (5 << 17) | (7 << 14) | (15 << 10) | (30 << 5) | (14 << 1) | 1;
    let register = Encoding::new(3, 7, 15, 14, 5);
    let access = SysregAccess {
        register,
        rt: 30,
        is_read: true,
    };
    assert_eq!(
        Trap::decode(esr(0x18, iss)),
        Ok(Trap::SystemRegister(access))
    );
    assert_eq!(Trap::SystemRegister(access).advance(), 4);
    // sys_reg(3, 0, 1, 0, 0) of Linux is 0x181000.
    assert_eq!(Encoding::SCTLR_EL1.in_instruction(), 0x18_1000);
}

#[test]
fn every_fault_status_is_known_or_an_error() {
    let reserved: Vec<u64> = (0..64)
        .filter(|&fsc| {
            let got = Trap::decode(esr(0x24, fsc));
            got == Err(Unknown::FaultStatus(fsc as u8))
        })
        .collect();
    let expected = [
        0x19, 0x1a, 0x20, 0x2d, 0x2e, 0x2f, 0x32, 0x33, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c,
        0x3d, 0x3e, 0x3f,
    ];
    assert_eq!(reserved, expected);
}

#[test]
fn faults_and_levels() {
    let table = [
        (0x00, Fault::AddressSize { level: 0 }),
        (0x29, Fault::AddressSize { level: -1 }),
        (0x2c, Fault::AddressSize { level: -2 }),
        (0x04, Fault::Translation { level: 0 }),
        (0x07, Fault::Translation { level: 3 }),
        (0x2b, Fault::Translation { level: -1 }),
        (0x2a, Fault::Translation { level: -2 }),
        (0x0a, Fault::AccessFlag { level: 2 }),
        (0x0f, Fault::Permission { level: 3 }),
        (0x10, Fault::External { level: None }),
        (0x13, Fault::External { level: Some(-1) }),
        (0x17, Fault::External { level: Some(3) }),
        (0x18, Fault::External { level: None }),
        (0x1d, Fault::External { level: Some(1) }),
        (0x25, Fault::GranuleProtection { level: Some(1) }),
        (0x28, Fault::GranuleProtection { level: None }),
        (0x11, Fault::TagCheck),
        (0x21, Fault::Alignment),
        (0x30, Fault::TlbConflict),
        (0x34, Fault::Lockdown),
        (0x35, Fault::UnsupportedAtomic),
    ];
    for (fsc, fault) in table {
        assert_eq!(abort(esr(0x24, fsc)).fault, fault, "DFSC {fsc:#x}");
        assert_eq!(abort(esr(0x20, fsc)).fault, fault, "IFSC {fsc:#x}");
    }
}

#[test]
fn abort_flags() {
    let load = abort(esr(0x24, 0x07));
    assert_eq!(load.access, Access::Read);
    assert!(load.far_valid && !load.on_walk && !load.is_cache_maintenance);
    let store = abort(esr(0x24, 0x07 | 1 << 6));
    assert_eq!(store.access, Access::Write);
    let maintenance = abort(esr(0x24, 0x07 | 1 << 6 | 1 << 8));
    assert!(maintenance.is_cache_maintenance);
    let walk = abort(esr(0x24, 0x06 | 1 << 7));
    assert!(walk.on_walk);
    let external = abort(esr(0x24, 0x10 | 1 << 10));
    assert!(!external.far_valid);
    // Bits 6 and 8 are RES0 in the ISS of an Instruction Abort.
    let fetch = abort(esr(0x20, 0x07 | 1 << 6 | 1 << 8));
    assert_eq!(fetch.access, Access::Fetch);
    assert!(!fetch.is_cache_maintenance);
}

/// A fetch that stage 2 denies is told apart from a walk for one, and from what a mapping mends.
#[test]
fn denied_fetches() {
    // (class, ISS, fetch, denied): S1PTW is bit 7.
    let table = [
        (0x20, 0x0f, true, true),
        (0x20, 0x0d, true, true),
        (0x20, 0x07, true, false),
        (0x20, 0x0f | 1 << 7, false, false),
        (0x20, 0x07 | 1 << 7, false, false),
        (0x24, 0x0f, false, false),
        (0x24, 0x0f | 1 << 6, false, false),
    ];
    for (ec, iss, fetch, denied) in table {
        let abort = abort(esr(ec, iss));
        assert_eq!(abort.is_fetch(), fetch, "{ec:#x} {iss:#x}");
        assert_eq!(abort.is_denied_fetch(), denied, "{ec:#x} {iss:#x}");
    }
}

#[test]
fn fault_address() {
    let regs = FaultRegisters {
        far: 0xffff_0000_1234_5678,
        hpfar: 0x0000_0000_0089_abc0,
    };
    let cases = [
        // (ISS, retranslate, address)
        (0x07, false, FaultAddress::Ipa(0x89ab_c678)),
        (0x0b, false, FaultAddress::Ipa(0x89ab_c678)),
        (0x00, false, FaultAddress::Ipa(0x89ab_c678)),
        // A walk reports the table's page only.
        (0x07 | 1 << 7, false, FaultAddress::Ipa(0x89ab_c000)),
        (0x0f | 1 << 7, false, FaultAddress::Ipa(0x89ab_c000)),
        // HPFAR_EL2 is UNKNOWN after a Permission fault that is not on a walk.
        (0x0f, false, FaultAddress::Translate),
        (0x21, false, FaultAddress::Translate),
        (0x10, false, FaultAddress::Translate),
        (0x10 | 1 << 10, false, FaultAddress::None),
        (0x16, false, FaultAddress::None),
        // Erratum 834220.
        (0x07, true, FaultAddress::Translate),
        (0x07 | 1 << 7, true, FaultAddress::Ipa(0x89ab_c000)),
        (0x0b, true, FaultAddress::Ipa(0x89ab_c678)),
    ];
    for (iss, retranslate, expected) in cases {
        let got = abort(esr(0x24, iss)).address(regs, retranslate);
        assert_eq!(got, expected, "ISS {iss:#x}");
    }
    // Bits 63 (NS) and 3:0 are no part of the address; FIPA reaches to IPA[55:12].
    let regs = FaultRegisters {
        far: 0xfff,
        hpfar: 0x8000_ffff_ffff_ffff,
    };
    let got = abort(esr(0x24, 0x07)).address(regs, false);
    assert_eq!(got, FaultAddress::Ipa(0x00ff_ffff_ffff_ffff));
}

const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const SCTLR_SPINTMASK: u64 = 1 << 62;

fn host(pstate: u64) -> Host {
    Host {
        pstate,
        pc: 0x40_1000,
        sctlr: SCTLR_SPAN,
        vbar: 0xffff_8000_8001_0800,
        gcscr: 0,
    }
}

fn old_core() -> IdRegs {
    IdRegs::default()
}

/// FEAT_PAN, FEAT_SSBS, FEAT_MTE, FEAT_NMI, FEAT_EBEP, FEAT_GCS.
fn new_core() -> IdRegs {
    IdRegs {
        mmfr1: 1 << 20,
        pfr1: 1 << 4 | 2 << 8 | 1 << 36 | 1 << 44,
        dfr1: 1 << 48,
        ..IdRegs::default()
    }
}

fn alignment(iss: u64) -> Exception {
    Exception::Alignment {
        abort: abort(esr(0x24, iss)),
        far: 0x7777_1003,
    }
}

#[test]
fn vectors_and_syndromes() {
    // (PSTATE, ISS of the abort, vector offset, ESR_EL1)
    let table = [
        (0x0000_0000, 0x07, 0x400, 0x24 << 26 | IL | 0x21),
        (
            0x0000_0000,
            0x07 | 1 << 6,
            0x400,
            0x24 << 26 | IL | 1 << 6 | 0x21,
        ),
        (0x0000_0010, 0x07, 0x600, 0x24 << 26 | IL | 0x21),
        (0x0000_03c4, 0x07, 0x000, 0x25 << 26 | IL | 0x21),
        (
            0x0000_0005,
            0x07 | 1 << 6 | 1 << 8,
            0x200,
            0x25 << 26 | IL | 1 << 8 | 1 << 6 | 0x21,
        ),
    ];
    for (pstate, iss, offset, esr) in table {
        let host = host(pstate);
        let taken = alignment(iss).take(&host, &old_core()).unwrap();
        assert_eq!(taken.pc, host.vbar + offset, "PSTATE {pstate:#x}");
        assert_eq!(taken.esr, esr, "PSTATE {pstate:#x}");
        assert_eq!(taken.far, Some(0x7777_1003));
        assert_eq!((taken.spsr, taken.elr), (pstate, 0x40_1000));
    }
    // VBAR_EL1[10:0] are RES0: garbage there does not move the vector.
    let crooked = Host {
        vbar: 0xffff_8000_8001_0fff,
        ..host(0)
    };
    assert_eq!(
        alignment(7).take(&crooked, &old_core()).unwrap().pc,
        0xffff_8000_8001_0c00
    );
}

#[test]
fn a_fetch_takes_a_pc_alignment_fault() {
    let exception = Exception::Alignment {
        abort: abort(esr(0x20, 0x07)),
        far: 0x40_1000,
    };
    let taken = exception.take(&host(0), &old_core()).unwrap();
    assert_eq!(taken.esr, 0x22 << 26 | IL);
    assert_eq!(taken.far, Some(0x40_1000));
}

#[test]
fn serror_is_unrecoverable_and_has_its_own_vector() {
    for (pstate, offset) in [(0, 0x580), (4, 0x180), (5, 0x380), (0x10, 0x780)] {
        let host = host(pstate);
        let taken = Exception::SError.take(&host, &old_core()).unwrap();
        assert_eq!(taken.pc, (host.vbar & !0x7ff) + offset, "{pstate:#x}");
        assert_eq!(taken.esr, (0x2f << 26) | (1 << 25) | (1 << 24));
        assert_eq!((taken.elr, taken.spsr, taken.far), (host.pc, pstate, None));
    }
}

#[test]
fn undefined_instruction() {
    let taken = Exception::Undefined.take(&host(5), &old_core()).unwrap();
    assert_eq!((taken.esr, taken.far), (IL, None));
}

/// An External abort, as the architecture reports one that EL1 or EL0 caused.
#[test]
fn external_aborts() {
    let table = [
        (Access::Read, 0, 0x24 << 26 | IL | 0x10),
        (Access::Write, 0, 0x24 << 26 | IL | 1 << 6 | 0x10),
        (Access::Fetch, 0, 0x20 << 26 | IL | 0x10),
        (Access::Read, 5, 0x25 << 26 | IL | 0x10),
        (Access::Write, 4, 0x25 << 26 | IL | 1 << 6 | 0x10),
        (Access::Fetch, 5, 0x21 << 26 | IL | 0x10),
    ];
    for (access, pstate, esr) in table {
        let host = host(pstate);
        let exception = Exception::External {
            access,
            far: 0x9000_0018,
        };
        let taken = exception.take(&host, &old_core()).unwrap();
        assert_eq!(taken.esr, esr, "{access:?} {pstate}");
        assert_eq!(taken.far, Some(0x9000_0018));
        assert_eq!(taken.pc & 0x7f, 0, "a synchronous exception");
    }
}

/// What FEAT_IDST reports: the access as it was trapped.
#[test]
fn a_register_that_is_not_there() {
    let iss = (3 << 20) | (6 << 17) | (1 << 14) | (30 << 5) | 1;
    let Ok(Trap::SystemRegister(access)) = Trap::decode(esr(0x18, iss)) else {
        panic!("not a register");
    };
    let exception = Exception::SystemRegister { iss: access.iss() };
    let taken = exception.take(&host(5), &old_core()).unwrap();
    assert_eq!((taken.esr, taken.far), (esr(0x18, iss), None));
}

#[test]
fn no_exception_for_other_levels() {
    // EL2t, EL2h, EL3t, EL3h, reserved encodings, AArch32 other than User mode.
    for pstate in [
        0x8, 0x9, 0xc, 0xd, 0x1, 0x2, 0x3, 0x6, 0x7, 0x13, 0x1f, 0x1a,
    ] {
        assert_eq!(
            Exception::Undefined.take(&host(pstate), &old_core()),
            None,
            "{pstate:#x}"
        );
    }
}

#[test]
fn pstate_of_a_core_without_extensions() {
    // Everything set in the old PSTATE: only NZCV and DIT come through.
    let all = !0x1f;
    let taken = Exception::Undefined.take(&host(all), &old_core()).unwrap();
    assert_eq!(taken.pstate, 0xf << 28 | 1 << 24 | 0x3c5);
    let none = Exception::Undefined.take(&host(0), &old_core()).unwrap();
    assert_eq!(none.pstate, 0x3c5);
}

/// PM comes with each of the three exceptions that it masks.
#[test]
fn the_mask_of_profiling_exceptions() {
    // (ID_AA64DFR0_EL1, ID_AA64DFR1_EL1, whether there is PM)
    let table = [
        (0, 0, false),
        (5 << 32 | 1 << 44, 0, false),
        (6 << 32, 0, true),
        (2 << 44, 0, true),
        (0, 1 << 48, true),
    ];
    for (dfr0, dfr1, has) in table {
        let ids = IdRegs {
            dfr0,
            dfr1,
            ..IdRegs::default()
        };
        let taken = alignment(7).take(&host(0), &ids).unwrap();
        assert_eq!(taken.pstate & 1 << 32 != 0, has, "{dfr0:#x} {dfr1:#x}");
    }
}

#[test]
fn pstate_of_a_core_with_extensions() {
    let ids = new_core();
    let base = 0x3c5 | 1 << 25 | 1 << 32;
    // (PSTATE, SCTLR_EL1, GCSCR_EL1, new PSTATE)
    let table = [
        // SPAN 1: PAN is kept, clear or set. ALLINT is set because SPINTMASK is 0.
        (0, SCTLR_SPAN, 0, base | 1 << 13),
        (1 << 22, SCTLR_SPAN, 0, base | 1 << 13 | 1 << 22),
        // SPAN 0: PAN is set.
        (0, 0, 0, base | 1 << 13 | 1 << 22),
        (0, SCTLR_SPAN | SCTLR_SPINTMASK, 0, base),
        // ALLINT and SSBS are not inherited.
        (1 << 13 | 1 << 12, SCTLR_SPAN | SCTLR_SPINTMASK, 0, base),
        (
            0,
            SCTLR_SPAN | SCTLR_SPINTMASK | SCTLR_DSSBS,
            0,
            base | 1 << 12,
        ),
        // EXLOCK: 0 from EL0, EXLOCKEN within EL1.
        (1 << 34, SCTLR_SPAN | SCTLR_SPINTMASK, 1 << 6, base),
        (
            1 << 34 | 5,
            SCTLR_SPAN | SCTLR_SPINTMASK,
            1 << 6,
            base | 1 << 34,
        ),
        (1 << 34 | 5, SCTLR_SPAN | SCTLR_SPINTMASK, 0, base),
        // UINJ, PACM, PPEND, UAO, SS, IL and BTYPE become 0.
        (
            1 << 36 | 1 << 35 | 1 << 33 | 1 << 23 | 1 << 21 | 1 << 20 | 3 << 10,
            SCTLR_SPAN | SCTLR_SPINTMASK,
            0,
            base,
        ),
    ];
    for (pstate, sctlr, gcscr, expected) in table {
        let host = Host {
            pstate,
            sctlr,
            gcscr,
            ..host(pstate)
        };
        let taken = alignment(7).take(&host, &ids).unwrap();
        assert_eq!(
            taken.pstate, expected,
            "PSTATE {pstate:#x} SCTLR {sctlr:#x}"
        );
        assert_eq!(taken.spsr, pstate);
    }
}
