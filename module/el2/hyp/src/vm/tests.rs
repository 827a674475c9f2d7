// SPDX-License-Identifier: GPL-2.0

use mvirt_abi::{reg, Error};
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec;

use super::registers::{Reg, COUNT};
use super::vcpu::Vcpu;
use super::{Phase, Vm};
use crate::addr::{Phys, K4};
use crate::guest::psci::EntryPoint;
use crate::guest::reset::mpidr;
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
    // CNTV_CTL_EL0 keeps its two bits, CNTV_CVAL_EL0 all.
    assert_eq!(vcpu.put(reg::SYSREG + 0xdf19, 7), Ok(()));
    assert_eq!(vcpu.get(reg::SYSREG + 0xdf19), Ok(3));
    assert_eq!(vcpu.put(reg::SYSREG + 0xdf1a, u64::MAX), Ok(()));
    assert_eq!(vcpu.get(reg::SYSREG + 0xdf1a), Ok(u64::MAX));
}

#[test]
fn each_number_is_a_register_of_its_own_or_none() {
    let mut vcpu = Vcpu::new(0, mpidr(0));
    let core = (0..reg::POWER).filter(|n| *n != reg::PSTATE);
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
    for number in [37, 63, 130, 131, 1 << 15, reg::SYSREG + 0x1_0000, u64::MAX] {
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
