// SPDX-License-Identifier: GPL-2.0
//! Where EL2 is entered and left: the header, the identity page, the vectors.
//!
//! The assembly saves, switches and branches; what it needs to know it finds in [`BootRegs`] and
//! in a CPU's own data. Offsets come from `offset_of!`, never from a number written twice.
//!
//! With the MMU off all memory is Device-nGnRnE: no stack is used there but by the first CPU,
//! which builds the tables on `el2_boot_stack`. What later CPUs read with the MMU off
//! ([`BootRegs`]) was written with the MMU off too and never changes after, so it is in memory
//! and not only in a cache (Arm ARM D7.5.5).
//!
//! Why unsafe: entry, exit and vectors can only be assembly.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::{offset_of, size_of};

use crate::cpu::PerCpu;
use crate::layout::{IMAGE_BASE, PAGE_SHIFT, STACKS_BASE, STACK_SLOT};
use mvirt_abi::{BootParams, EntryError, HASH, IMAGE_MAGIC, MAX_CPUS, STACK_SIZE};
pub use mvirt_hyp::frame::Frame;

/// What a CPU needs to turn the EL2 MMU on.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct BootRegs {
    /// MAIR_EL2.
    pub mair: u64,
    /// TCR_EL2, in the format that `hcr` selects.
    pub tcr: u64,
    /// TTBR0_EL2.
    pub ttbr0: u64,
    /// SCTLR_EL2, with the MMU on.
    pub sctlr: u64,
    /// HCR_EL2 for a CPU that comes from reset: as the first CPU had it.
    pub hcr: u64,
}

/// The one [`BootRegs`].
pub struct BootRegsCell(UnsafeCell<BootRegs>);

// SAFETY: written once, by the first CPU before any other enters (`boot`); only read after.
unsafe impl Sync for BootRegsCell {}

impl BootRegsCell {
    /// Where it is.
    pub fn get(&self) -> *mut BootRegs {
        self.0.get()
    }
}

/// Filled by `boot`, read by the assembly below.
#[no_mangle]
pub static EL2_BOOT_REGS: BootRegsCell = BootRegsCell(UnsafeCell::new(BootRegs {
    mair: 0,
    tcr: 0,
    ttbr0: 0,
    sctlr: 0,
    hcr: 0,
}));

/// What the assembly gets from a step of the entry and passes on to EL1: two registers as a result
/// (AAPCS64 6.9), x0 and x1.
#[repr(C)]
pub struct Answer {
    x0: u64,
    x1: u64,
}

impl Answer {
    /// The flags of an entry that succeeded, or why it did not.
    pub fn new(result: Result<u64, EntryError>) -> Answer {
        let (x0, x1) = match result {
            Ok(flags) => (0, flags),
            Err(why) => why.to_raw(),
        };
        Answer { x0, x1 }
    }
}

const _: () = assert!(STACK_SIZE.is_power_of_two() && IMAGE_BASE % STACK_SLOT == 0);

extern "C" {
    static el2_vectors_plain: u8;
    static el2_vectors_loop: u8;
    static el2_vectors_firmware: u8;
    static el2_vectors_clearbhb: u8;
    static el2_cpu_on: u8;
    static el2_leave: u8;
    static el2_header: u8;
    static el2_serror_window: u8;
    static el2_serror_window_end: u8;
    /// Resumes what `frame` describes. The frame must be the topmost thing on this CPU's stack.
    pub fn el2_exit(frame: *mut Frame) -> !;
    /// Runs a guest from `frame` until `el2_guest_trap` answers false. The guest's System registers
    /// are in place, and `PerCpu::guest` is set.
    pub fn el2_guest_enter(frame: *const Frame);
    /// Takes an SError that is pending: its ESR_EL2, 0 if there was none.
    pub fn el2_take_serror() -> u64;
    /// Resumes what `frame` describes with the MMU off and EL2's registers as `cpu` found them.
    pub fn el2_exit_release(cpu: *const PerCpu, frame: *mut Frame) -> !;
}

/// What the vectors do first when a lower exception level enters, against branch prediction that
/// it trained (the reasons by core are in `mvirt_hyp::errata`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harden {
    /// Nothing: the core is not affected.
    Plain,
    /// The Spectre-BHB loop, `PerCpu::bhb_loops` rounds.
    Loop,
    /// SMCCC_ARCH_WORKAROUND_1 or _3, as `PerCpu::workaround` says.
    Firmware,
    /// CLRBHB.
    ClearBhb,
}

/// The address for VBAR_EL2.
pub fn vectors(kind: Harden) -> u64 {
    let table = match kind {
        Harden::Plain => &raw const el2_vectors_plain,
        Harden::Loop => &raw const el2_vectors_loop,
        Harden::Firmware => &raw const el2_vectors_firmware,
        Harden::ClearBhb => &raw const el2_vectors_clearbhb,
    };
    table as u64
}

/// Offset in the image of the entry for CPUs that firmware starts, MMU off, x0 = CPU index.
pub fn cpu_on_offset() -> u64 {
    (&raw const el2_cpu_on as u64) - (&raw const el2_header as u64)
}

/// Where `el2_take_serror` is interrupted by an SError: before its ISB or behind it.
pub fn serror_window() -> core::ops::RangeInclusive<u64> {
    (&raw const el2_serror_window as u64)..=(&raw const el2_serror_window_end as u64)
}

/// Offset in the image of the way back to the stub.
pub fn leave_offset() -> u64 {
    (&raw const el2_leave as u64) - (&raw const el2_header as u64)
}

global_asm!(
    include_str!("entry.S"),
    MAGIC = const IMAGE_MAGIC,
    ABI_HASH = const HASH,
    IMAGE_BASE = const IMAGE_BASE,
    PAGE_SHIFT = const PAGE_SHIFT,
    PARAMS_SIZE = const size_of::<BootParams>(),
    MAIR = const offset_of!(BootRegs, mair),
    TTBR0 = const offset_of!(BootRegs, ttbr0),
    HCR = const offset_of!(BootRegs, hcr),
    STACKS_BASE = const STACKS_BASE,
    STACK_SLOT = const STACK_SLOT,
    MAX_CPUS = const MAX_CPUS,
    FOUND = const offset_of!(PerCpu, found),
    EXIT_PHYS = const offset_of!(PerCpu, exit_phys),
);

global_asm!(
    include_str!("vectors.S"),
    FRAME_SIZE = const size_of::<Frame>(),
    FRAME_ELR = const offset_of!(Frame, elr),
    STACK_BIT = const STACK_SIZE.trailing_zeros(),
    STACK_SLOT = const STACK_SLOT,
    BHB_LOOPS = const offset_of!(PerCpu, bhb_loops),
    WORKAROUND = const offset_of!(PerCpu, workaround),
    GUEST = const offset_of!(PerCpu, guest),
    FOUND = const offset_of!(PerCpu, found),
    EXIT_PHYS = const offset_of!(PerCpu, exit_phys),
);
