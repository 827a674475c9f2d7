// SPDX-License-Identifier: GPL-2.0
//! Each register that is answered, and that the rest is UNDEFINED.

use std::vec::Vec;

use super::*;
use crate::guest::idregs::{Folded, SystemIds};

fn ids(mmfr2: u64) -> GuestIds {
    let mut system = SystemIds::new();
    assert!(system.fold(|register| match register {
        Folded::Ctr => 0x8444_c004,
        Folded::Mmfr2 => mmfr2,
        Folded::Pfr0 => 0x0100_0000,
        // Six breakpoints and four watchpoints.
        Folded::Dfr0 => 0x0030_5000,
        Folded::Revidr => 0x77,
        _ => 0,
    }));
    GuestIds::new(&system).unwrap()
}

fn access(e: (u8, u8, u8, u8, u8), is_read: bool) -> SysregAccess {
    SysregAccess {
        register: Encoding::new(e.0, e.1, e.2, e.3, e.4),
        rt: 5,
        is_read,
    }
}

pub(super) struct Cpu {
    ids: GuestIds,
    pub(super) state: State,
    has_gic: bool,
}

impl Cpu {
    pub(super) fn new() -> Cpu {
        Cpu {
            ids: ids(0),
            state: State::default(),
            has_gic: true,
        }
    }

    fn access(&mut self, e: (u8, u8, u8, u8, u8), written: Option<u64>) -> Outcome {
        let context = Context {
            ids: &self.ids,
            has_gic: self.has_gic,
        };
        let access = access(e, written.is_none());
        self.state.access(access, written.unwrap_or(0), &context)
    }

    pub(super) fn read(&mut self, e: (u8, u8, u8, u8, u8)) -> Outcome {
        self.access(e, None)
    }

    pub(super) fn write(&mut self, e: (u8, u8, u8, u8, u8), value: u64) -> Outcome {
        self.access(e, Some(value))
    }
}

#[test]
fn id_registers() {
    let mut cpu = Cpu::new();
    assert_eq!(cpu.read((3, 0, 0, 4, 0)), Outcome::Value(0x0100_0011));
    assert_eq!(cpu.read((3, 0, 0, 1, 0)), Outcome::Value(0));
    assert_eq!(cpu.read((3, 0, 0, 7, 7)), Outcome::Value(0));
    assert_eq!(cpu.read((3, 0, 0, 0, 6)), Outcome::Value(0x77));
    assert_eq!(cpu.read((3, 3, 0, 0, 1)), Outcome::Value(0x8444_c004));
    // They cannot be written, and some features have none.
    assert_eq!(cpu.write((3, 0, 0, 4, 0), 1), Outcome::Undefined);
    for hidden in [
        (3, 1, 0, 0, 2),
        (3, 1, 0, 0, 4),
        (3, 1, 0, 0, 6),
        (3, 4, 0, 0, 0),
    ] {
        assert_eq!(cpu.read(hidden), Outcome::Undefined);
    }
}

#[test]
fn csselr_selects() {
    let mut cpu = Cpu::new();
    let csselr = (3, 2, 0, 0, 0);
    assert_eq!(cpu.read(csselr), Outcome::Value(0));
    assert_eq!(cpu.write(csselr, 0xffff_fff3), Outcome::Done);
    assert_eq!(cpu.read(csselr), Outcome::Value(3));
    // log2 of 4 words of 4 bytes is 6 with CTR_EL0 as above; less 4.
    assert_eq!(cpu.read((3, 1, 0, 0, 0)), Outcome::Value(2));
}

#[test]
fn actlr_and_the_gic() {
    let mut cpu = Cpu::new();
    assert_eq!(cpu.write((3, 0, 1, 0, 1), 7), Outcome::Done);
    assert_eq!(cpu.read((3, 0, 1, 0, 1)), Outcome::Value(0));
    let sgis = [(5, Sgi::Group1), (6, Sgi::OtherGroup1), (7, Sgi::Group0)];
    for (op2, sgi) in sgis {
        let register = (3, 0, 12, 11, op2);
        cpu.has_gic = true;
        assert_eq!(cpu.write(register, 0x123), Outcome::Sgi(sgi, 0x123));
        assert_eq!(cpu.read(register), Outcome::Undefined);
        cpu.has_gic = false;
        assert_eq!(cpu.write(register, 0x123), Outcome::Undefined);
    }
    let sre = (3, 0, 12, 12, 5);
    assert_eq!(cpu.read(sre), Outcome::Undefined);
    cpu.has_gic = true;
    assert_eq!(cpu.read(sre), Outcome::Value(7));
    assert_eq!(cpu.write(sre, 0), Outcome::Done);
}

#[test]
fn the_physical_timer() {
    use timer::Register::{Ctl, Cval, Tval};
    let mut cpu = Cpu::new();
    for (op2, register) in [(0, Tval), (1, Ctl), (2, Cval)] {
        let e = (3, 3, 14, 2, op2);
        assert_eq!(cpu.read(e), Outcome::Timer(register, None));
        assert_eq!(cpu.write(e, 9), Outcome::Timer(register, Some(9)));
    }
    assert_eq!(cpu.read((3, 3, 14, 2, 3)), Outcome::Undefined);
}

#[test]
fn set_and_way() {
    let mut cpu = Cpu::new();
    for crm in [6, 10, 14] {
        assert_eq!(cpu.write((1, 0, 7, crm, 2), 0), Outcome::SetWay);
        for tags in [4, 6] {
            assert_eq!(cpu.write((1, 0, 7, crm, tags), 0), Outcome::Undefined);
        }
    }
}

#[test]
fn translation_registers_are_written() {
    let mut cpu = Cpu::new();
    for register in TRANSLATION {
        let e = register.encoding();
        let code = (e.op0, e.op1, e.crn, e.crm, e.op2);
        let written = cpu.write(code, 0x1234);
        assert_eq!(written, Outcome::Translation(register, 0x1234));
        // Reads are not trapped.
        assert_eq!(cpu.read(code), Outcome::Undefined);
    }
    // VBAR_EL1, CPACR_EL1, TCR2_EL1: not of them.
    for code in [(3, 0, 12, 0, 0), (3, 0, 1, 0, 2), (3, 0, 2, 0, 3)] {
        assert_eq!(cpu.write(code, 0), Outcome::Undefined);
    }
}

#[test]
fn hidden_features_are_undefined() {
    let mut cpu = Cpu::new();
    let hidden = [
        (3, 3, 9, 12, 0), // PMCR_EL0
        (3, 0, 9, 14, 1), // PMINTENSET_EL1
        (3, 3, 14, 8, 0), // PMEVCNTR0_EL0
        (3, 0, 9, 9, 0),  // PMSCR_EL1
        (3, 0, 9, 11, 7), // TRBIDR_EL1
        (3, 0, 1, 2, 1),  // TRFCR_EL1
        (2, 1, 0, 1, 0),  // TRCPRGCTLR
        (3, 3, 13, 2, 0), // AMCR_EL0
        (3, 0, 10, 5, 1), // MPAM0_EL1... MPAM1_EL1
        (3, 0, 5, 3, 0),  // ERRIDR_EL1
        (3, 0, 10, 4, 3), // LORC_EL1
        (3, 0, 1, 2, 0),  // ZCR_EL1
        (3, 0, 1, 2, 6),  // SMCR_EL1
        (3, 3, 4, 2, 2),  // SVCR
        (3, 0, 1, 0, 5),  // RGSR_EL1
        (3, 0, 2, 0, 3),  // TCR2_EL1
        (3, 0, 10, 2, 3), // PIR_EL1
        (3, 0, 13, 0, 7), // SCXTNUM_EL1
        (3, 0, 2, 1, 0),  // APIAKeyLo_EL1, trapped only if hidden
        (3, 0, 11, 0, 0), // IMPLEMENTATION DEFINED
        (3, 7, 15, 1, 2),
        (3, 4, 1, 1, 0), // HCR_EL2
    ];
    for e in hidden {
        assert_eq!(cpu.read(e), Outcome::Undefined, "{e:?}");
        assert_eq!(cpu.write(e, 0), Outcome::Undefined, "{e:?}");
    }
    assert_eq!(cpu.state, State::default());
}

#[test]
fn syndromes_of_undefined() {
    let (without, with) = (ids(0), ids(1 << 36));
    let ask = |ids: &GuestIds, e, is_read| {
        let context = Context { ids, has_gic: true };
        syndrome(access(e, is_read), &context)
    };
    let smidr = (3, 1, 0, 0, 6);
    assert_eq!(ask(&without, smidr, true), None);
    let iss = 3 << 20 | 6 << 17 | 1 << 14 | 5 << 5 | 1;
    assert_eq!(ask(&with, smidr, true), Some(iss));
    // Not a read, not in the feature ID space.
    assert_eq!(ask(&with, smidr, false), None);
    assert_eq!(ask(&with, (3, 3, 9, 12, 0), true), None);
    assert_eq!(ask(&with, (3, 4, 0, 0, 0), true), None);
}

/// What user space of the host sees: KVM's list, and what it reads can be written back.
#[test]
fn user_space() {
    let mut cpu = Cpu::new();
    let context = Context {
        ids: &cpu.ids,
        has_gic: true,
    };
    let e = |e: (u8, u8, u8, u8, u8)| Encoding::new(e.0, e.1, e.2, e.3, e.4);
    let mut listed: Vec<Encoding> = (0..16)
        .flat_map(|n| (4..8).map(move |op2| Encoding::new(2, 0, 0, n, op2)))
        .chain((1..8).flat_map(|crm| (0..8).map(move |op2| Encoding::new(3, 0, 0, crm, op2))))
        .collect();
    let others = [
        (2, 0, 0, 2, 0),
        (2, 0, 0, 2, 2),
        (2, 0, 1, 1, 4),
        (2, 4, 0, 7, 0),
        (3, 4, 3, 0, 0),
        (3, 4, 5, 0, 1),
        (3, 4, 5, 3, 0),
        (3, 0, 0, 0, 0),
        (3, 0, 0, 0, 6),
        (3, 1, 0, 0, 1),
        (3, 1, 0, 0, 7),
        (3, 3, 0, 0, 1),
        (3, 2, 0, 0, 0),
        (3, 0, 1, 0, 1),
        (3, 0, 12, 1, 1),
    ];
    listed.extend(others.map(e));
    let state = &mut cpu.state;
    for r in &listed {
        let value = state.user_get(*r, &context).unwrap();
        assert_eq!(state.user_set(*r, value, &context), Written::Done, "{r:?}");
    }
    assert_eq!(*state, State::default());
    // (register, value, what becomes of it)
    let table = [
        ((2, 0, 0, 1, 5), 0x1e5, Written::Done),
        ((2, 0, 0, 6, 5), 0x1e5, Written::Invalid),
        ((2, 0, 0, 2, 2), 1 << 15, Written::Done),
        ((2, 0, 1, 1, 4), 0b1010, Written::Done),
        ((2, 0, 1, 1, 4), 0, Written::Invalid),
        ((3, 2, 0, 0, 0), 3, Written::Done),
        ((3, 2, 0, 0, 0), 16, Written::Invalid),
        ((3, 0, 0, 4, 0), 0, Written::Invalid),
        ((3, 0, 0, 0, 0), 1, Written::Invalid),
        ((3, 0, 1, 0, 1), 1, Written::Invalid),
        // Switched with the vCPU, or nobody's.
        ((3, 0, 1, 0, 0), 0, Written::Absent),
        ((3, 3, 9, 12, 0), 0, Written::Absent),
    ];
    for (r, value, expected) in table {
        let old = state.user_get(e(r), &context);
        assert_eq!(state.user_set(e(r), value, &context), expected, "{r:?}");
        let now = if expected == Written::Done {
            Some(value)
        } else {
            old
        };
        assert_eq!(state.user_get(e(r), &context), now, "{r:?}");
    }
    // The guest sees it.
    assert_eq!(cpu.read((2, 0, 0, 1, 5)), Outcome::Value(0x1e5));
    assert_eq!(cpu.read((2, 0, 1, 1, 4)), Outcome::Value(0b1010));
}

/// As the kernel's selftest aarch32_id_regs asks for it.
#[test]
fn user_space_and_aarch32() {
    let mut cpu = Cpu::new();
    let context = Context {
        ids: &cpu.ids,
        has_gic: true,
    };
    let invariant = [(1, 3), (3, 3), (3, 5), (3, 7)];
    for crm in 1..4 {
        for op2 in 0..8 {
            let r = Encoding::new(3, 0, 0, crm, op2);
            let expected = if invariant.contains(&(crm, op2)) {
                Written::Invalid
            } else {
                Written::Done
            };
            assert_eq!(cpu.state.user_set(r, 0x1bad_c0de, &context), expected);
            assert_eq!(cpu.state.user_get(r, &context), Some(0), "{r:?}");
        }
    }
}
