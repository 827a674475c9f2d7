// SPDX-License-Identifier: GPL-2.0
//! A guest's FP registers: loaded at its first use, taken down when it leaves.
//!
//! Why unsafe: they are loaded, stored and cleared, and CPTR_EL2, which makes them trap, is written.

use core::arch::asm;

use mvirt_hyp::vm::vcpu::Fp;

use crate::sysreg::{isb, read_sysreg, write_sysreg};

/// CPTR_EL2.TFP with E2H 0.
const CPTR_TFP: u64 = 1 << 10;

/// Gives the guest its FP registers at its first use. The host saved its own (`module/el1`): with
/// the V registers the upper parts of its Z registers are lost.
pub fn load(fp: &Fp) {
    let cptr = read_sysreg!("cptr_el2") & !CPTR_TFP;
    // SAFETY: from here on the guest may use the registers, which are loaded below; EL2's own code
    // uses none (target aarch64-unknown-none-softfloat).
    unsafe { write_sysreg!("cptr_el2", cptr) };
    isb();
    macro_rules! load {
        ($($a:literal $b:literal $at:literal)*) => {
            concat!($("ldp q", $a, ", q", $b, ", [{v}, #", $at, "]\n"),*)
        };
    }
    // SAFETY: as above; `fp.v` is 512 bytes, 16-byte aligned.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            load!(0 1 0  2 3 32  4 5 64  6 7 96  8 9 128  10 11 160  12 13 192  14 15 224
                  16 17 256  18 19 288  20 21 320  22 23 352  24 25 384  26 27 416
                  28 29 448  30 31 480),
            "msr fpsr, {fpsr}",
            "msr fpcr, {fpcr}",
            v = in(reg) &raw const fp.v,
            fpsr = in(reg) fp.fpsr,
            fpcr = in(reg) fp.fpcr,
            options(nostack, preserves_flags)
        );
    }
}

/// Takes the guest's FP registers down, if it used them, and leaves zeros for the host: it loads its
/// own. Answers whether there were any.
pub fn save(fp: &mut Fp) -> bool {
    if read_sysreg!("cptr_el2") & CPTR_TFP != 0 {
        return false;
    }
    macro_rules! save {
        ($($a:literal $b:literal $at:literal)*) => {
            concat!($("stp q", $a, ", q", $b, ", [{v}, #", $at, "]\n"),*)
        };
    }
    macro_rules! clear {
        ($($n:literal)*) => { concat!($("movi v", $n, ".2d, #0\n"),*) };
    }
    let (fpsr, fpcr): (u64, u64);
    // SAFETY: `fp.v` is 512 bytes, 16-byte aligned, and ours; EL2's own code uses no FP register.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            save!(0 1 0  2 3 32  4 5 64  6 7 96  8 9 128  10 11 160  12 13 192  14 15 224
                  16 17 256  18 19 288  20 21 320  22 23 352  24 25 384  26 27 416
                  28 29 448  30 31 480),
            "mrs {fpsr}, fpsr",
            "mrs {fpcr}, fpcr",
            clear!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29
                   30 31),
            "msr fpsr, xzr",
            "msr fpcr, xzr",
            v = in(reg) &raw mut fp.v,
            fpsr = out(reg) fpsr,
            fpcr = out(reg) fpcr,
            options(nostack, preserves_flags)
        );
    }
    fp.fpsr = fpsr;
    fp.fpcr = fpcr;
    true
}

/// Leaves nothing of a guest's in the FP registers, whatever mode they are in: EL2 is broken. Loads
/// are legal in streaming mode, too.
pub fn forget() {
    let zero = [0u64; 2];
    let cptr = read_sysreg!("cptr_el2") & !CPTR_TFP;
    macro_rules! clear {
        ($($n:literal)*) => { concat!($("ldr q", $n, ", [{zero}]\n"),*) };
    }
    // SAFETY: EL2's own code uses no FP register, and nobody's are wanted any more: the guest is
    // lost, and the host is about to end itself.
    unsafe {
        write_sysreg!("cptr_el2", cptr);
        isb();
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            clear!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29
                   30 31),
            "msr fpsr, xzr",
            "msr fpcr, xzr",
            zero = in(reg) &raw const zero,
            options(nostack, preserves_flags)
        );
    }
}
