// SPDX-License-Identifier: GPL-2.0
//! One CPU of a VM: all its registers while it does not run, and what it was in the middle of.
//!
//! A vCPU is a page of EL2's. It lies in its VM's table while it is stopped, and belongs to the CPU
//! that runs it while it runs, so no lock guards it.

use mvirt_abi::{reg, Error};

use super::registers::{Reg, Registers};
use crate::frame::Frame;
use crate::guest::event::{is_legal, Access};
use crate::guest::psci::EntryPoint;
use crate::guest::reset;
use crate::guest::setway::SetWay;
use crate::guest::sysreg::State;
use crate::guest::timer::Timer;
use crate::vgic::CpuInterface;

/// The FP and SIMD registers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Fp {
    /// V0 to V31, the lower half first.
    pub v: [[u64; 2]; 32],
    /// FPSR.
    pub fpsr: u64,
    /// FPCR.
    pub fpcr: u64,
}

impl Fp {
    /// All zero.
    pub const ZERO: Fp = Fp {
        v: [[0; 2]; 32],
        fpsr: 0,
        fpcr: 0,
    };
}

/// What a vCPU waits for the host to do.
#[derive(Clone, Copy, Debug)]
pub enum Pending {
    /// An access, to map or to do.
    Access {
        /// Which.
        access: Access,
        /// FAR_EL2.
        far: u64,
        /// Where.
        ipa: u64,
    },
    /// A hypercall's page, to map: the PC is at the instruction.
    Call,
}

/// A vCPU.
#[derive(Debug)]
#[repr(C)]
pub struct Vcpu {
    /// General-purpose registers, PC and PSTATE.
    pub frame: Frame,
    /// FP and SIMD registers.
    pub fp: Fp,
    /// System registers of EL1 and EL0.
    pub regs: Registers,
    /// The GIC's CPU interface.
    pub iface: CpuInterface,
    /// The virtual timer.
    pub vtimer: Timer,
    /// The physical timer, which is emulated.
    pub ptimer: Timer,
    /// Registers that trap and are only stored.
    pub stored: State,
    /// MPIDR_EL1 as the guest sees it.
    pub mpidr: u64,
    /// What the host was asked for at the last exit.
    pub pending: Option<Pending>,
    /// Maintenance by set and way.
    pub set_way: SetWay,
    /// An SError came when it had left: the next run fails by it.
    pub serror: bool,
    /// Its index in the VM.
    pub index: u8,
    /// KVM_ARM_VCPU_INIT has been there: it may run.
    pub ready: bool,
}

/// Linux's packing of a System register's encoding: what KVM_REG_ARM64_SYSREG carries.
const fn packed(reg: Reg) -> u64 {
    // sys_reg() shifted down to bit 0: op2 is in 7:5 there.
    reg.encoding().in_instruction() >> 5 & 0xffff
}

/// What a register number names.
enum Name {
    X(usize),
    Pc,
    Pstate,
    System(Reg),
    V(usize, usize),
    Fpsr,
    Fpcr,
    Mpidr,
    VtimerCtl,
    VtimerCval,
    PtimerCtl,
    PtimerCval,
    /// 0, and nothing else.
    Zero,
}

/// MPIDR_EL1 and the timers' registers, packed. KVM has CVAL and CNT of the virtual timer swapped in
/// its numbers, which EL1 translates.
const MPIDR_EL1: u64 = 0xc005;
const CNTP_CTL_EL0: u64 = 0xdf11;
const CNTP_CVAL_EL0: u64 = 0xdf12;
const CNTV_CTL_EL0: u64 = 0xdf19;
const CNTV_CVAL_EL0: u64 = 0xdf1a;

impl Name {
    fn of(number: u64) -> Option<Name> {
        if let Some(code) = number.checked_sub(reg::SYSREG) {
            return match code {
                MPIDR_EL1 => Some(Name::Mpidr),
                CNTV_CTL_EL0 => Some(Name::VtimerCtl),
                CNTV_CVAL_EL0 => Some(Name::VtimerCval),
                CNTP_CTL_EL0 => Some(Name::PtimerCtl),
                CNTP_CVAL_EL0 => Some(Name::PtimerCval),
                code => {
                    let found = Reg::ALL.iter().find(|reg| packed(**reg) == code);
                    found.copied().map(Name::System)
                }
            };
        }
        Some(match number {
            reg::SP_EL0 => Name::System(Reg::SpEl0),
            reg::PC => Name::Pc,
            reg::PSTATE => Name::Pstate,
            reg::SP_EL1 => Name::System(Reg::SpEl1),
            reg::ELR_EL1 => Name::System(Reg::Elr),
            reg::SPSR_EL1 => Name::System(Reg::Spsr),
            aa32 if (reg::SPSR_AA32..reg::SPSR_AA32 + 4).contains(&aa32) => Name::Zero,
            reg::FPSR => Name::Fpsr,
            reg::FPCR => Name::Fpcr,
            // Lossless: below 31, and below 64.
            x if x < reg::SP_EL0 => Name::X(x as usize),
            v if (reg::V..reg::FPSR).contains(&v) => {
                let n = (v - reg::V) as usize;
                Name::V(n / 2, n % 2)
            }
            _ => return None,
        })
    }
}

impl Vcpu {
    /// A vCPU that was never initialised.
    pub fn new(index: u8, mpidr: u64) -> Vcpu {
        Vcpu {
            frame: Frame::ZERO,
            fp: Fp::ZERO,
            regs: Registers::ZERO,
            iface: CpuInterface::RESET,
            vtimer: Timer::new(0, 0),
            ptimer: Timer::new(0, 0),
            stored: State::default(),
            mpidr,
            pending: None,
            set_way: SetWay::default(),
            serror: false,
            index,
            ready: false,
        }
    }

    /// Gives it the state of a reset, to start at `entry`.
    pub fn reset(&mut self, entry: &EntryPoint) {
        let state = reset::reset(usize::from(self.index), entry);
        *self = Vcpu::new(self.index, state.mpidr);
        self.frame.spsr = state.pstate;
        self.frame.elr = state.pc;
        self.frame.x[0] = state.x0;
        self.regs.set(Reg::Sctlr, state.sctlr);
        self.ready = true;
    }

    /// Reads a register by its number in the contract. [`Error::NoEntry`] if there is none such.
    pub fn get(&self, number: u64) -> Result<u64, Error> {
        let name = Name::of(number).ok_or(Error::NoEntry)?;
        Ok(match name {
            Name::X(n) => self.frame.x[n],
            Name::Pc => self.frame.elr,
            Name::Pstate => self.frame.spsr,
            Name::System(reg) => self.regs.get(reg),
            Name::V(n, half) => self.fp.v[n][half],
            Name::Fpsr => self.fp.fpsr,
            Name::Fpcr => self.fp.fpcr,
            Name::Mpidr => self.mpidr,
            Name::VtimerCtl => self.vtimer.ctl(),
            Name::VtimerCval => self.vtimer.cval(),
            Name::PtimerCtl => self.ptimer.ctl(),
            Name::PtimerCval => self.ptimer.cval(),
            Name::Zero => 0,
        })
    }

    /// Writes a register by its number in the contract. [`Error::NoEntry`] if there is none such,
    /// [`Error::Invalid`] for a PSTATE that is not one of an AArch64 guest's, another MPIDR, or what
    /// only AArch32 has.
    pub fn put(&mut self, number: u64, value: u64) -> Result<(), Error> {
        let name = Name::of(number).ok_or(Error::NoEntry)?;
        match name {
            Name::X(n) => self.frame.x[n] = value,
            Name::Pc => self.frame.elr = value,
            Name::Pstate if is_legal(value) => self.frame.spsr = value,
            Name::Pstate => return Err(Error::Invalid),
            Name::System(reg) => self.regs.set(reg, value),
            Name::V(n, half) => self.fp.v[n][half] = value,
            // 32-bit registers.
            Name::Fpsr => self.fp.fpsr = value & 0xffff_ffff,
            Name::Fpcr => self.fp.fpcr = value & 0xffff_ffff,
            Name::Mpidr if value == self.mpidr => {}
            Name::Mpidr => return Err(Error::Invalid),
            Name::VtimerCtl => self.vtimer = Timer::new(value, self.vtimer.cval()),
            Name::VtimerCval => self.vtimer = Timer::new(self.vtimer.ctl(), value),
            Name::PtimerCtl => self.ptimer = Timer::new(value, self.ptimer.cval()),
            Name::PtimerCval => self.ptimer = Timer::new(self.ptimer.ctl(), value),
            Name::Zero if value == 0 => {}
            Name::Zero => return Err(Error::Invalid),
        }
        Ok(())
    }
}
