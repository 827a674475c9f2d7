// SPDX-License-Identifier: GPL-2.0
//! KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST: KVM's names of registers, in EL2's.
//!
//! EL2 decides what there is and what a value may be. A protected guest's registers are closed once
//! it has run (EPERM).

use crate::abi::{self, reg, Caller};
use crate::bindings::{self, kvm_regs};
use crate::hvc::El2;
use crate::reglist;
use crate::user;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use core::mem::{offset_of, size_of};
use kernel::prelude::*;

const WORD: usize = size_of::<u32>();
const X: usize = offset_of!(kvm_regs, regs) / WORD;
const SP_EL1: usize = offset_of!(kvm_regs, sp_el1) / WORD;
const ELR_EL1: usize = offset_of!(kvm_regs, elr_el1) / WORD;
const SPSR: usize = offset_of!(kvm_regs, spsr) / WORD;
/// SPSR_abt, SPSR_und, SPSR_irq, SPSR_fiq. What alignment puts between them and V0 is no register.
const SPSR_AA32: usize = SPSR + 2;
const SPSR_END: usize = SPSR_AA32 + 4 * 2;
const V: usize = offset_of!(kvm_regs, fp_regs) / WORD;
const FPSR: usize = V + 32 * (size_of::<u128>() / WORD);
const FPCR: usize = FPSR + 1;

const SIZE: u64 = bindings::NR_KVM_REG_SIZE_MASK;
const U32: u64 = bindings::NR_KVM_REG_SIZE_U32;
const U64: u64 = bindings::NR_KVM_REG_SIZE_U64;
const U128: u64 = bindings::NR_KVM_REG_SIZE_U128;
const KIND: u64 = bindings::NR_KVM_REG_ARM_COPROC_MASK;
/// What follows the kind.
const NUMBER: u64 = 0xffff;

/// A register, as EL2 names it.
#[derive(Clone, Copy)]
enum Name {
    Word(u64),
    Double(u64),
    /// Two halves, the lower one first.
    Quad(u64),
}

impl Name {
    fn size(self) -> u64 {
        match self {
            Name::Word(_) => U32,
            Name::Double(_) => U64,
            Name::Quad(_) => U128,
        }
    }

    /// A member of `struct kvm_regs`, by its offset in words.
    fn core(word: usize) -> Option<Name> {
        let nth = |first: usize, words: usize| {
            let at = word - first;
            (at % words == 0).then_some((at / words) as u64)
        };
        match word {
            // x0 to x30, SP_EL0, PC, PSTATE follow each other on both sides.
            X..SP_EL1 => nth(X, 2).map(|n| Name::Double(reg::X + n)),
            SP_EL1 => Some(Name::Double(reg::SP_EL1)),
            ELR_EL1 => Some(Name::Double(reg::ELR_EL1)),
            SPSR => Some(Name::Double(reg::SPSR_EL1)),
            SPSR_AA32..SPSR_END => nth(SPSR_AA32, 2).map(|n| Name::Double(reg::SPSR_AA32 + n)),
            V..FPSR => nth(V, 4).map(|n| Name::Quad(reg::V + 2 * n)),
            FPSR => Some(Name::Word(reg::FPSR)),
            FPCR => Some(Name::Word(reg::FPCR)),
            _ => None,
        }
    }

    /// Reads KVM's number.
    fn new(id: u64) -> Option<Name> {
        if id & bindings::NR_KVM_REG_ARCH_MASK != bindings::NR_KVM_REG_ARM64 {
            return None;
        }
        let name = match id & KIND {
            bindings::NR_KVM_REG_ARM_CORE => Name::core((id & NUMBER) as usize)?,
            bindings::NR_KVM_REG_ARM64_SYSREG => Name::Double(reg::SYSREG | encoding(id)),
            bindings::NR_KVM_REG_ARM_FW => Name::Double(reg::FIRMWARE | small(id)?),
            bindings::NR_KVM_REG_ARM_FW_FEAT_BMAP => {
                Name::Double(reg::FIRMWARE | reg::FEATURES | small(id)?)
            }
            // KVM_REG_ARM_DEMUX_ID_CCSIDR, which is 0, and CSSELR_EL1.
            bindings::NR_KVM_REG_ARM_DEMUX => Name::Word(reg::CCSIDR | small(id)?),
            _ => return None,
        };
        let parts = bindings::NR_KVM_REG_ARCH_MASK | SIZE | KIND | NUMBER;
        (name.size() == id & SIZE && id & !parts == 0).then_some(name)
    }
}

/// What follows the kind, of a kind with less than [`reg::FEATURES`] registers.
fn small(id: u64) -> Option<u64> {
    Some(id & NUMBER).filter(|number| *number < reg::FEATURES)
}

/// The encoding in a System register's number. KVM has CNT and CVAL of the virtual timer mixed up, for
/// good: see KVM_REG_ARM_TIMER_CVAL in <asm/kvm.h>.
fn encoding(id: u64) -> u64 {
    let swapped = match id {
        bindings::NR_KVM_REG_ARM_TIMER_CNT => bindings::NR_KVM_REG_ARM_TIMER_CVAL,
        bindings::NR_KVM_REG_ARM_TIMER_CVAL => bindings::NR_KVM_REG_ARM_TIMER_CNT,
        id => id,
    };
    swapped & NUMBER
}

fn read(vm: &Vm, vcpu: &Vcpu, number: u64) -> Result<u64> {
    let [value, ..] = El2.vcpu_get_reg(vm.handle, vcpu.index as u64, number)?;
    Ok(value)
}

fn write(vm: &Vm, vcpu: &Vcpu, number: u64, value: u64) -> Result {
    El2.vcpu_set_reg(vm.handle, vcpu.index as u64, number, value)?;
    Ok(())
}

/// KVM_GET_ONE_REG. ENOENT: no such register.
pub(crate) fn get(vm: &Vm, vcpu: &Vcpu, one: &bindings::kvm_one_reg) -> Result<isize> {
    let addr = one.addr as usize;
    match Name::new(one.id).ok_or(ENOENT)? {
        // Lossless: the register has 32 bits.
        Name::Word(n) => user::write(addr, &(read(vm, vcpu, n)? as u32))?,
        Name::Double(n) => user::write(addr, &read(vm, vcpu, n)?)?,
        Name::Quad(n) => {
            let (low, high) = (read(vm, vcpu, n)?, read(vm, vcpu, n + 1)?);
            user::write(addr, &(u128::from(low) | u128::from(high) << 64))?;
        }
    }
    Ok(0)
}

/// KVM_SET_ONE_REG. ENOENT: no such register; EINVAL: not this value.
pub(crate) fn set(vm: &Vm, vcpu: &Vcpu, one: &bindings::kvm_one_reg) -> Result<isize> {
    let addr = one.addr as usize;
    match Name::new(one.id).ok_or(ENOENT)? {
        Name::Word(n) => write(vm, vcpu, n, user::read::<u32>(addr)?.into())?,
        Name::Double(n) => write(vm, vcpu, n, user::read(addr)?)?,
        Name::Quad(n) => {
            let value: u128 = user::read(addr)?;
            // The halves.
            write(vm, vcpu, n, value as u64)?;
            write(vm, vcpu, n + 1, (value >> 64) as u64)?;
        }
    }
    Ok(0)
}

/// KVM's numbers of all registers that may be there, those that EL2 knows among them.
fn candidates() -> impl Iterator<Item = u64> {
    let core = (0..size_of::<kvm_regs>() / WORD).filter_map(|word| {
        let name = Name::core(word)?;
        Some(bindings::NR_KVM_REG_ARM_CORE | name.size() | word as u64)
    });
    let all = Iterator::chain(core, reglist::others());
    all.map(|id| id | bindings::NR_KVM_REG_ARM64)
}

/// KVM_GET_REG_LIST: E2BIG, and how many there are, if there is not enough room.
pub(crate) fn list(vm: &Vm, vcpu: &Vcpu, arg: usize) -> Result<isize> {
    let room: u64 = user::read(arg)?;
    let mut found = KVec::new();
    for id in candidates() {
        let number = match Name::new(id) {
            Some(Name::Word(n) | Name::Double(n) | Name::Quad(n)) => n,
            None => continue,
        };
        match El2.vcpu_get_reg(vm.handle, vcpu.index as u64, number) {
            Ok(_) => found.push(id, GFP_KERNEL_ACCOUNT)?,
            Err(abi::Error::NoEntry) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let nr = found.len() as u64;
    user::write(arg, &nr)?;
    if room < nr {
        return Err(E2BIG);
    }
    let mut writer = user::writer(arg + size_of::<u64>(), found.len() * size_of::<u64>());
    for id in &found {
        writer.write_slice(&id.to_ne_bytes())?;
    }
    Ok(0)
}
