// SPDX-License-Identifier: GPL-2.0
//! The conduit to EL2.
//!
//! Why unsafe: HVC is only reachable as assembly.

use crate::abi::{Caller, Results};

/// HVC_SOFT_RESTART of the kernel's hyp stub.
const HVC_SOFT_RESTART: u64 = 1;

/// What the stub answers to a number that it does not know.
pub(crate) const HVC_STUB_ERR: u64 = 0xbad_ca11;

/// The EL2 of the CPU that calls.
pub(crate) struct El2;

impl Caller for El2 {
    fn hvc(&self, id: u64, args: [u64; 6]) -> (u64, Results) {
        let [mut x1, mut x2, mut x3, mut x4, mut x5, mut x6] = args;
        let mut x0 = id;
        // SAFETY: a hypercall answers in x0 to x6 and leaves all else as it was; the clobbers are
        // those of SMCCC. What EL2 does to memory of ours that the call names, the caller of the
        // call has to have given away first.
        unsafe {
            core::arch::asm!(
                "hvc #0",
                inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
                inout("x4") x4, inout("x5") x5, inout("x6") x6,
                out("x7") _, out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _,
                out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
                options(nostack),
            );
        }
        (x0, [x1, x2, x3, x4, x5, x6])
    }
}

/// Makes the stub branch to `entry`, a physical address, at EL2 with the MMU off. The answer, x0
/// and x1, is the entry's.
///
/// # Safety
///
/// `entry` must lead to an image's entry point that returns as `module/abi`'s `BootParams` says,
/// clean to the point of coherency, with its carve-out; interrupts must be off.
pub(crate) unsafe fn soft_restart(entry: u64, carveout: u64, cpu: u64, first: bool) -> (u64, u64) {
    let mut x0 = HVC_SOFT_RESTART;
    let mut x1 = entry;
    // SAFETY: by the caller's promise the entry preserves x18 to x30 and SP and returns here.
    unsafe {
        core::arch::asm!(
            "hvc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") carveout => _,
            inout("x3") cpu => _, inout("x4") u64::from(first) => _,
            out("x5") _, out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _,
            out("x11") _, out("x12") _, out("x13") _, out("x14") _, out("x15") _, out("x16") _,
            out("x17") _,
            options(nostack),
        );
    }
    (x0, x1)
}

/// Reads a system register by its name.
macro_rules! mrs {
    ($reg:literal) => {{
        let value: u64;
        // SAFETY: an MRS changes nothing but its destination; the registers read here exist at EL1
        // on each CPU.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $reg), out(reg) value,
                             options(nomem, nostack, preserves_flags));
        }
        value
    }};
}
pub(crate) use mrs;

/// Cleans and invalidates a range of the linear map to the point of coherency, and drops what the
/// instruction caches of all CPUs hold: EL2 reads and executes it with its MMU and caches off first
/// (Arm ARM D7.5.9; B2.4.4 for the instructions: an instruction cache may hold what these pages
/// were before, also for fetches that are Non-cacheable). Each CPU synchronises its context by the
/// exception that its HVC is.
pub(crate) fn clean_to_poc(virt: *const u8, size: usize) {
    // CTR_EL0.DminLine: log2 of the words in the smallest data cache line.
    let line = 4usize << ((mrs!("ctr_el0") >> 16) & 0xf);
    let start = virt as usize & !(line - 1);
    let end = virt as usize + size;
    for at in (start..end).step_by(line) {
        // SAFETY: cleaning and invalidating changes no memory's value, and the addresses are of
        // an allocation that the caller holds.
        unsafe { core::arch::asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers, and an invalidation of what is read again from memory.
    unsafe {
        core::arch::asm!(
            "dsb sy",
            "ic ialluis",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}
