// SPDX-License-Identifier: GPL-2.0
//! The boot mode of a CPU that comes up under EL2.
//!
//! A kernel that was booted at EL2 records, for each CPU, at which level it came up, and does not
//! expect one at EL1: 7.3 dies of it, 6.18 warns and hides EL2 from later users. A CPU that the
//! relay starts enters the host at EL1. So EL2 finishes the kernel's init_kernel_el() for it as if
//! it had been called at EL2:
//!
//! ```text
//! secondary_entry, cpu_resume (arch/arm64/kernel/head.S, sleep.S)
//!     bl   init_kernel_el            x30 = return address
//!            reads CurrentEL: EL1, so
//!            msr  sctlr_el1, x0      first write that HCR_EL2.TVM traps
//!            ... eret to x30, w0 = BOOT_CPU_MODE_EL1
//! ```
//!
//! What the function does at EL1 is: write SCTLR_EL1, go to x30 with PSTATE EL1h and all masked,
//! and w0 = the boot mode. EL2 does the same with w0 = BOOT_CPU_MODE_EL2. Nothing is assumed of
//! the instructions, only the order of system register writes, which is the same in 6.18 and 7.3.
//! The HVC_FINALISE_EL2 that the kernel then makes is answered HVC_STUB_ERR (`smccc`), as the stub
//! does for a CPU that stays at EL1.
//!
//! This decides nothing about safety: EL2 writes to SCTLR_EL1 what the host wrote, and goes at EL1
//! to where the host could have branched.

use crate::trap::{Encoding, SysregAccess};

/// w0 of a CPU that came up at EL2 (arch/arm64/include/asm/virt.h). The flag for HCR_EL2.E2H in
/// bit 32 is only read on the boot CPU.
pub const BOOT_CPU_MODE_EL2: u64 = 0xe12;

/// PSTATE that init_kernel_el() returns with: EL1h; D, A, I and F masked (INIT_PSTATE_EL1).
const INIT_PSTATE_EL1: u64 = 0x3c5;
const PSTATE_M: u64 = 0x1f;
const EL1H: u64 = 5;
const SCTLR_M: u64 = 1;

/// A fresh CPU at its first trapped write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshCpu {
    /// The trap.
    pub access: SysregAccess,
    /// The value of the general-purpose register that the trap names; 0 for XZR.
    pub value: u64,
    /// SCTLR_EL1 before the write.
    pub sctlr: u64,
    /// x30.
    pub lr: u64,
    /// SPSR_EL2.
    pub pstate: u64,
}

/// What to do about it. HCR_EL2.TVM goes off in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstWrite {
    /// Finish init_kernel_el(): SCTLR_EL1, ELR_EL2, SPSR_EL2 and x0 get these values.
    Finish {
        /// For SCTLR_EL1.
        sctlr: u64,
        /// For ELR_EL2.
        pc: u64,
        /// For SPSR_EL2.
        pstate: u64,
        /// For x0.
        x0: u64,
    },
    /// Run the instruction again, untrapped, and log why.
    LetThrough(LetThrough),
}

/// Why an entry does not look like a kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetThrough {
    /// Another register came first, or a read.
    OtherRegister(Encoding),
    /// Not EL1 with its own stack pointer.
    NotEl1h,
    /// The MMU was on, or the write turns it on: not the first thing that a CPU does.
    Mmu,
    /// x30 is no return address.
    LinkRegister,
}

/// Decides about the first trap of a CPU whose [`Arrival`](super::Arrival) says so.
pub fn first_write(cpu: &FreshCpu) -> FirstWrite {
    let odd = FirstWrite::LetThrough;
    if cpu.access.is_read || cpu.access.register != Encoding::SCTLR_EL1 {
        return odd(LetThrough::OtherRegister(cpu.access.register));
    }
    if cpu.pstate & PSTATE_M != EL1H {
        return odd(LetThrough::NotEl1h);
    }
    if (cpu.sctlr | cpu.value) & SCTLR_M != 0 {
        return odd(LetThrough::Mmu);
    }
    if cpu.lr == 0 || cpu.lr & 3 != 0 {
        return odd(LetThrough::LinkRegister);
    }
    FirstWrite::Finish {
        sctlr: cpu.value,
        pc: cpu.lr,
        pstate: INIT_PSTATE_EL1,
        x0: BOOT_CPU_MODE_EL2,
    }
}
