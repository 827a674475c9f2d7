// SPDX-License-Identifier: GPL-2.0

use mvirt_abi::{reg, Error};
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec;

use super::registers::{Reg, COUNT};
use super::user::View;
use super::vcpu::Vcpu;
use super::{Phase, Vm};
use crate::addr::{Phys, K4};
use crate::guest::firmware::Firmware;
use crate::guest::idregs::{Folded, GuestIds, SystemIds};
use crate::guest::psci::EntryPoint;
use crate::guest::reset::mpidr;
use crate::guest::services::Workarounds;
use crate::guest::sysreg::Context;
use crate::pgtable::stage2::{GuestRegime, Shape};
use crate::vgic::{Irq, Vgic, MAX_SPIS};

fn vm() -> Vm<'static> {
    let shape = Shape::guest::<K4>(40, 44).expect("a size that there is");
    let regime = GuestRegime::new(&shape, Phys::new(0x4000_0000), 1);
    let spis = Box::leak(vec![Irq::RESET; MAX_SPIS].into_boxed_slice());
    let routes = Box::leak(vec![0; MAX_SPIS].into_boxed_slice());
    Vm::new(true, regime, 0, Vgic::new(spis, routes))
}

fn vcpu(index: u8) -> &'static mut Vcpu {
    Box::leak(Box::new(Vcpu::new(index, mpidr(index.into()))))
}

#[test]
fn a_vcpu_is_in_one_place() {
    let mut vm = vm();
    assert_eq!(vm.expect_free(8), Err(Error::Invalid));
    assert_eq!(vm.expect_free(u64::MAX), Err(Error::Invalid));
    assert_eq!(vm.expect_free(3), Ok(3));
    vm.put(vcpu(3));
    assert_eq!(vm.expect_free(3), Err(Error::Exists));
    assert_eq!(vm.present(), 1 << 3);
    // Not initialised yet.
    assert_eq!(vm.take(3, 0).err(), Some(Error::Perm));
    assert_eq!(vm.take(2, 0).err(), Some(Error::NoEntry));
    vm.vcpu(3)
        .expect("it is there")
        .reset(&EntryPoint::default());
    let taken = vm.take(3, 5).expect("it is ready");
    assert!(vm.is_busy());
    assert_eq!(vm.present(), 1 << 3);
    assert_eq!(vm.vcpu(3).err(), Some(Error::Busy));
    assert_eq!(vm.take(3, 6).err(), Some(Error::Busy));
    // One that runs is not taken apart.
    assert!(vm.remove_one().is_none());
    vm.put(taken);
    assert!(!vm.is_busy());
    assert_eq!(vm.remove_one().map(|vcpu| vcpu.index), Some(3));
    assert_eq!(vm.present(), 0);
    assert!(vm.remove_one().is_none());
}

#[test]
fn no_vcpu_comes_late() {
    let mut vm = vm();
    vm.phase = Phase::Running;
    assert_eq!(vm.expect_free(0), Err(Error::Busy));
    vm.phase = Phase::Dying;
    assert_eq!(vm.expect_free(0), Err(Error::Busy));
}

#[test]
fn entries_of_another_vcpu_go() {
    let mut vm = vm();
    assert!(vm.moves_in(1, 0), "whatever was there before");
    assert!(!vm.moves_in(1, 0));
    assert!(vm.moves_in(2, 0), "another CPU");
    assert!(vm.moves_in(1, 1), "another vCPU on the same CPU");
    assert!(vm.moves_in(1, 0), "and back");
    assert!(!vm.moves_in(2, 0), "which changed nothing elsewhere");
}

#[test]
fn registers_have_the_numbers_of_linux() {
    // sys_reg() of Linux, as KVM_REG_ARM64_SYSREG packs it: op0 << 14 | op1 << 11 | CRn << 7 |
    // CRm << 3 | op2.
    for (register, packed) in [
        (Reg::Sctlr, 0xc080),
        (Reg::Ttbr0, 0xc100),
        (Reg::Vbar, 0xc600),
        (Reg::TpidrEl0, 0xde82),
        (Reg::Par, 0xc3a0),
        (Reg::SpEl1, 0xe208),
    ] {
        let mut vcpu = Vcpu::new(0, mpidr(0));
        assert_eq!(vcpu.put(reg::SYSREG + packed, 0x1234_5678_9abc), Ok(()));
        assert_eq!(vcpu.regs.get(register), 0x1234_5678_9abc, "{register:?}");
    }
    // MPIDR_EL1: the vCPU's own, and no other.
    let mut vcpu = Vcpu::new(5, mpidr(5));
    assert_eq!(vcpu.get(reg::SYSREG + 0xc005), Ok(0x8000_0005));
    assert_eq!(vcpu.put(reg::SYSREG + 0xc005, 0x8000_0005), Ok(()));
    assert_eq!(vcpu.put(reg::SYSREG + 0xc005, 6), Err(Error::Invalid));
    // CNTV_CTL_EL0 and CNTP_CTL_EL0 keep their two bits, CNTV_CVAL_EL0 and CNTP_CVAL_EL0 all.
    for (ctl, cval) in [(0xdf19, 1), (0xdf11, 2)] {
        let cval = u64::MAX - cval;
        assert_eq!(vcpu.put(reg::SYSREG + ctl, 7), Ok(()));
        assert_eq!(vcpu.get(reg::SYSREG + ctl), Ok(3));
        assert_eq!(vcpu.put(reg::SYSREG + ctl + 1, cval), Ok(()));
        assert_eq!(vcpu.get(reg::SYSREG + ctl + 1), Ok(cval));
    }
    assert_eq!(vcpu.vtimer.cval(), u64::MAX - 1);
    assert_eq!(vcpu.ptimer.cval(), u64::MAX - 2);
    // AArch32's.
    for number in reg::SPSR_AA32..reg::SPSR_AA32 + 4 {
        assert_eq!(vcpu.put(number, 0), Ok(()));
        assert_eq!(vcpu.put(number, 1), Err(Error::Invalid));
        assert_eq!(vcpu.get(number), Ok(0));
    }
}

/// A CPU with or without pointer authentication, with minimal lines of 64 and 16 bytes.
fn ids(pauth: bool) -> GuestIds {
    let mut system = SystemIds::new();
    assert!(system.fold(|register| match register {
        Folded::Ctr => 0x8444_c002,
        Folded::Isar1 if pauth => 0x10,
        _ => 0,
    }));
    GuestIds::new(&system).expect("a CPU was folded")
}

#[test]
fn user_space_reads_what_it_may_write_back() {
    for pauth in [false, true] {
        let (ids, mut cntvoff) = (ids(pauth), 1000);
        let mut vcpu = Vcpu::new(1, mpidr(1));
        vcpu.reset(&EntryPoint::default());
        let mut view = View {
            context: Context {
                ids: &ids,
                has_gic: true,
            },
            firmware: Firmware {
                has_trng: true,
                workarounds: Workarounds::NONE,
            },
            count: 1500,
            cntvoff: &mut cntvoff,
        };
        let system = (0..1 << 16).map(|code| reg::SYSREG + code);
        let firmware = (0..1 << 16).map(|n| reg::FIRMWARE + n);
        let caches = (0..1 << 16).map(|n| reg::CCSIDR + n);
        let all = (0..=reg::FPCR).chain(system).chain(firmware).chain(caches);
        let mut nr = 0;
        for number in all {
            match view.get(&vcpu, number) {
                Ok(value) => {
                    nr += 1;
                    assert_eq!(view.set(&mut vcpu, number, value), Ok(()), "{number:#x}");
                    assert_eq!(view.get(&vcpu, number), Ok(value), "{number:#x}");
                }
                Err(e) => {
                    assert_eq!(e, Error::NoEntry);
                    let done = view.set(&mut vcpu, number, 0);
                    assert_eq!(done, Err(Error::NoEntry), "{number:#x}");
                }
            }
        }
        // 37 of the core's, 4 of AArch32's, 66 of FP's; System registers: 22, 64 breakpoints and
        // watchpoints and 4 more debug ones, 56 of the ID space and 6 beside it (MIDR, REVIDR, AIDR,
        // CLIDR, CCSIDR, CTR), MPIDR, 6 of timers, CSSELR, ACTLR, DISR and three of AArch32; 8 of
        // firmware, 14 caches.
        let keys = if pauth { 10 } else { 0 };
        assert_eq!(nr, 107 + 22 + 68 + 62 + 13 + 8 + 14 + keys);
    }
}

#[test]
fn counters_as_user_space_sees_them() {
    let (ids, mut cntvoff) = (ids(false), 1000);
    let mut vcpu = Vcpu::new(0, mpidr(0));
    let mut view = View {
        context: Context {
            ids: &ids,
            has_gic: false,
        },
        firmware: Firmware {
            has_trng: false,
            workarounds: Workarounds::NONE,
        },
        count: 1500,
        cntvoff: &mut cntvoff,
    };
    let (cntpct, cntvct) = (reg::SYSREG + 0xdf01, reg::SYSREG + 0xdf02);
    assert_eq!(view.get(&vcpu, cntpct), Ok(1500));
    assert_eq!(view.get(&vcpu, cntvct), Ok(500));
    // The machine's stays; the VM's goes on from what is written, beyond the machine's too.
    assert_eq!(view.set(&mut vcpu, cntpct, 7), Ok(()));
    assert_eq!(view.get(&vcpu, cntpct), Ok(1500));
    for count in [0, 500, 1 << 40] {
        assert_eq!(view.set(&mut vcpu, cntvct, count), Ok(()));
        assert_eq!(view.get(&vcpu, cntvct), Ok(count));
        view.count += 10;
        assert_eq!(view.get(&vcpu, cntvct), Ok(count + 10));
        view.count -= 10;
    }
    // CCSIDR by CSSELR: a line of 64 bytes, and of 16 of instructions; the value alone may be written.
    assert_eq!(view.get(&vcpu, reg::CCSIDR), Ok(2));
    assert_eq!(view.get(&vcpu, reg::CCSIDR + 1), Ok(0));
    assert_eq!(view.set(&mut vcpu, reg::CCSIDR, 1), Err(Error::Invalid));
    assert_eq!(
        view.get(&vcpu, reg::CCSIDR + reg::NR_CCSIDR),
        Err(Error::NoEntry)
    );
    assert_eq!(cntvoff, 1500u64.wrapping_sub(1 << 40));
}

#[test]
fn each_number_is_a_register_of_its_own_or_none() {
    let mut vcpu = Vcpu::new(0, mpidr(0));
    let aa32 = reg::SPSR_AA32..reg::SPSR_AA32 + 4;
    let core = (0..reg::POWER).filter(|n| *n != reg::PSTATE && !aa32.contains(n));
    let system = Reg::ALL.iter().map(|register| {
        let code = register.encoding().in_instruction() >> 5 & 0xffff;
        reg::SYSREG + code
    });
    let mut seen = BTreeSet::new();
    for (value, number) in (1u64..).zip(core.chain(system)) {
        if vcpu.put(number, value) == Err(Error::NoEntry) {
            assert_eq!(vcpu.get(number), Err(Error::NoEntry), "{number:#x}");
            continue;
        }
        assert_eq!(vcpu.get(number), Ok(value), "{number:#x}");
        seen.insert(number);
    }
    // x0 to x30, six more of the core's (PSTATE apart), 64 halves of V, FPSR and FPCR; the System
    // registers, of which SP_EL0, SP_EL1, ELR_EL1 and SPSR_EL1 have two numbers.
    assert_eq!(seen.len(), 31 + 5 + 64 + 2 + COUNT);
    for number in [41, 63, 130, 131, 1 << 15, reg::SYSREG + 0x1_0000, u64::MAX] {
        assert_eq!(vcpu.get(number), Err(Error::NoEntry), "{number:#x}");
    }
}

#[test]
fn a_guest_is_not_given_another_state_than_it_may_have() {
    let mut vcpu = Vcpu::new(0, mpidr(0));
    for pstate in [0x3c5, 0x3c4, 0] {
        assert_eq!(vcpu.put(reg::PSTATE, pstate), Ok(()));
    }
    // AArch32, EL2h, EL3h, and a reserved mode.
    for pstate in [0x10, 0x1f, 0x3c9, 0x3cd, 0x3c1] {
        assert_eq!(vcpu.put(reg::PSTATE, pstate), Err(Error::Invalid));
        assert_eq!(vcpu.get(reg::PSTATE), Ok(0));
    }
}

#[test]
fn a_reset_leaves_nothing() {
    let mut vcpu = Vcpu::new(2, mpidr(2));
    vcpu.frame.x = [7; 31];
    vcpu.fp.v[31] = [8, 9];
    vcpu.regs.set(Reg::Vbar, 10);
    vcpu.reset(&EntryPoint {
        pc: 0x4000,
        x0: 11,
        big_endian: false,
    });
    assert_eq!((vcpu.frame.elr, vcpu.frame.x[0]), (0x4000, 11));
    assert_eq!(vcpu.frame.x[1..], [0; 30]);
    assert_eq!(vcpu.fp.v[31], [0; 2]);
    for register in Reg::ALL.iter().filter(|reg| **reg != Reg::Sctlr) {
        assert_eq!(vcpu.regs.get(*register), 0, "{}", register.name());
    }
    assert_eq!(vcpu.mpidr, mpidr(2));
    assert!(vcpu.ready);
}
