// SPDX-License-Identifier: GPL-2.0
//! The world switch: from the host's System registers to a guest's and back.
//!
//! What is switched is in one place each: the EL1 and EL0 registers (the logic's list), EL2's
//! controls that decide what traps (`Controls`), stage 2, the virtual timer, MDSCR_EL1. The GIC's
//! list registers are `gic`'s, the FP registers come at the guest's first use, the breakpoints and
//! watchpoints when the guest arms one.
//!
//! Order, into the guest: EL1's registers first, while HCR_EL2.VM and VTTBR_EL2 are still the
//! host's, so that no walk can use the guest's tables with the host's stage 2 or the reverse: at EL2
//! no walk of the EL1&0 regime starts (Arm ARM D8.2.12), but on cores with errata 1165522, 1319367,
//! 1319537 and 1530923 it may, speculatively. There stage 1 is held off meanwhile: TCR_EL1.EPD0 and
//! EPD1 set, and SCTLR_EL1.M so that EPD counts.
//!
//! Why unsafe: control registers of EL2 are written, and the vCPU's registers by name.

use core::arch::asm;

use mvirt_hyp::for_each_guest_register;
use mvirt_hyp::guest::sysreg::{Debug, Points, MDSCR_MDE};
use mvirt_hyp::guest::traps::{mpam2, mpamhcr, HFGXTR, HSTR, OTHER_FGT};
use mvirt_hyp::pgtable::stage2::GuestRegime;
use mvirt_hyp::vm::registers::{Reg, Registers};
use mvirt_hyp::vm::vcpu::{Fp, Vcpu};

use super::debug;
use super::system::{Core, Optional};
use crate::cpu::{HCR_TVM, SCTLR_M, TCR_EPD};
use crate::host::read_par;
use crate::sysreg::{isb, read_sysreg, write_sysreg};

macro_rules! accesses {
    (
        base { $($base:ident $base_name:ident ($($base_code:literal)*) $base_asm:literal;)* }
        pauth { $($pac:ident $pac_name:ident ($($pac_code:literal)*) $pac_asm:literal;)* }
    ) => {
        /// Reads all registers of EL1 and EL0.
        fn read_all(regs: &mut Registers, pauth: bool) {
            $(if !matches!(Reg::$base, Reg::Par) {
                regs.set(Reg::$base, read_sysreg!($base_asm));
            })*
            regs.set(Reg::Par, read_par());
            if pauth {
                $(regs.set(Reg::$pac, read_sysreg!($pac_asm));)*
            }
        }

        /// Writes all registers of EL1 and EL0 but SCTLR_EL1 and TCR_EL1, which `write_stage1` does.
        ///
        /// # Safety
        ///
        /// They are of the EL1&0 regime, which EL2 does not use; whoever enters it next must have
        /// the stage 2 that belongs to them.
        unsafe fn write_all(regs: &Registers, pauth: bool) {
            // SAFETY: by the caller's promise.
            unsafe {
                $(if !matches!(Reg::$base, Reg::Sctlr | Reg::Tcr) {
                    write_sysreg!($base_asm, regs.get(Reg::$base));
                })*
                if pauth {
                    $(write_sysreg!($pac_asm, regs.get(Reg::$pac));)*
                }
            }
        }

        /// Writes one register of EL1 or EL0.
        ///
        /// # Safety
        ///
        /// It is of the guest whose registers are in the CPU; one of pointer authentication only where
        /// guests have that.
        pub unsafe fn write_one(register: Reg, value: u64) {
            // SAFETY: by the caller's promise.
            unsafe {
                match register {
                    $(Reg::$base => write_sysreg!($base_asm, value),)*
                    $(Reg::$pac => write_sysreg!($pac_asm, value),)*
                }
            }
        }
    };
}

for_each_guest_register!(accesses);

/// EL2's controls of what a lower level may do. Those of FEAT_HCX and FEAT_FGT are 0 where the CPU
/// lacks them.
#[derive(Clone, Copy, Debug, Default)]
struct Controls {
    hcr: u64,
    cptr: u64,
    mdcr: u64,
    hstr: u64,
    cnthctl: u64,
    cntvoff: u64,
    vpidr: u64,
    vmpidr: u64,
    mdscr: u64,
    icc_sre: u64,
    hcrx: u64,
    fgt: [u64; 5],
    fgt2: [u64; 5],
    mpam2: u64,
    mpamhcr: u64,
}

impl Controls {
    #[inline(always)]
    fn read(has: &Optional) -> Controls {
        Controls {
            hcr: read_sysreg!("hcr_el2"),
            cptr: read_sysreg!("cptr_el2"),
            mdcr: read_sysreg!("mdcr_el2"),
            hstr: read_sysreg!("hstr_el2"),
            cnthctl: read_sysreg!("cnthctl_el2"),
            cntvoff: read_sysreg!("cntvoff_el2"),
            vpidr: read_sysreg!("vpidr_el2"),
            vmpidr: read_sysreg!("vmpidr_el2"),
            mdscr: read_sysreg!("mdscr_el1"),
            icc_sre: read_sysreg!("s3_4_c12_c9_5"),
            hcrx: if has.hcrx {
                read_sysreg!("s3_4_c1_c2_2")
            } else {
                0
            },
            fgt: if has.fgt {
                [
                    read_sysreg!("s3_4_c1_c1_4"),
                    read_sysreg!("s3_4_c1_c1_5"),
                    read_sysreg!("s3_4_c1_c1_6"),
                    read_sysreg!("s3_4_c3_c1_4"),
                    read_sysreg!("s3_4_c3_c1_5"),
                ]
            } else {
                [0; 5]
            },
            fgt2: if has.fgt2 {
                [
                    read_sysreg!("s3_4_c3_c1_2"),
                    read_sysreg!("s3_4_c3_c1_3"),
                    read_sysreg!("s3_4_c3_c1_7"),
                    read_sysreg!("s3_4_c3_c1_0"),
                    read_sysreg!("s3_4_c3_c1_1"),
                ]
            } else {
                [0; 5]
            },
            mpam2: if has.mpam {
                read_sysreg!("s3_4_c10_c5_0")
            } else {
                0
            },
            mpamhcr: if has.mpamhcr {
                read_sysreg!("s3_4_c10_c4_0")
            } else {
                0
            },
        }
    }

    /// # Safety
    ///
    /// HCR_EL2.E2H is what it was, and the controls are those of whoever is entered next.
    unsafe fn write(&self, has: &Optional) {
        // SAFETY: by the caller's promise; none of them changes EL2's own translation.
        unsafe {
            write_sysreg!("hcr_el2", self.hcr);
            write_sysreg!("cptr_el2", self.cptr);
            write_sysreg!("mdcr_el2", self.mdcr);
            write_sysreg!("hstr_el2", self.hstr);
            write_sysreg!("cnthctl_el2", self.cnthctl);
            write_sysreg!("cntvoff_el2", self.cntvoff);
            write_sysreg!("vpidr_el2", self.vpidr);
            write_sysreg!("vmpidr_el2", self.vmpidr);
            write_sysreg!("mdscr_el1", self.mdscr);
            write_sysreg!("s3_4_c12_c9_5", self.icc_sre);
            if has.hcrx {
                write_sysreg!("s3_4_c1_c2_2", self.hcrx);
            }
            if has.fgt {
                write_sysreg!("s3_4_c1_c1_4", self.fgt[0]);
                write_sysreg!("s3_4_c1_c1_5", self.fgt[1]);
                write_sysreg!("s3_4_c1_c1_6", self.fgt[2]);
                write_sysreg!("s3_4_c3_c1_4", self.fgt[3]);
                write_sysreg!("s3_4_c3_c1_5", self.fgt[4]);
            }
            if has.fgt2 {
                write_sysreg!("s3_4_c3_c1_2", self.fgt2[0]);
                write_sysreg!("s3_4_c3_c1_3", self.fgt2[1]);
                write_sysreg!("s3_4_c3_c1_7", self.fgt2[2]);
                write_sysreg!("s3_4_c3_c1_0", self.fgt2[3]);
                write_sysreg!("s3_4_c3_c1_1", self.fgt2[4]);
            }
            if has.mpam {
                write_sysreg!("s3_4_c10_c5_0", self.mpam2);
            }
            if has.mpamhcr {
                write_sysreg!("s3_4_c10_c4_0", self.mpamhcr);
            }
        }
    }
}

/// What the host had, while a guest is in its place.
pub struct HostContext {
    regs: Registers,
    controls: Controls,
    vtcr: u64,
    vttbr: u64,
    recording: Recording,
    /// Its breakpoints and watchpoints, where the guest's are in their place.
    points: Option<Points>,
    cpu: &'static Core,
}

/// What the host set up to record EL1 and EL0: it would go on with the guest, into buffers whose
/// addresses EL2's controls give another meaning to. All of it is off while a guest is in.
#[derive(Clone, Copy, Debug, Default)]
struct Recording {
    pmscr: u64,
    pmblimitr: u64,
    trfcr: u64,
    trblimitr: u64,
    brbcr: u64,
}

impl Recording {
    /// Stops it, and waits until what was recorded is in memory: the host's stage 2 is in force yet
    /// (Arm ARM D16.4 "synchronization and Statistical Profiling", D6.8 for trace).
    fn stop(has: &Optional) -> Recording {
        let &Optional {
            spe,
            trf,
            trbe,
            brbe,
            ..
        } = has;
        let was = Recording {
            pmscr: if spe { read_sysreg!("s3_0_c9_c9_0") } else { 0 },
            pmblimitr: if spe {
                read_sysreg!("s3_0_c9_c10_0")
            } else {
                0
            },
            trfcr: if trf { read_sysreg!("s3_0_c1_c2_1") } else { 0 },
            trblimitr: if trbe {
                read_sysreg!("s3_0_c9_c11_0")
            } else {
                0
            },
            brbcr: if brbe {
                read_sysreg!("s2_1_c9_c0_0")
            } else {
                0
            },
        };
        // SAFETY: EL1's registers of features that this CPU has; 0 is off for each.
        unsafe {
            if spe {
                write_sysreg!("s3_0_c9_c9_0", 0);
                isb();
                // PSB CSYNC.
                asm!("hint #17", "dsb nsh", options(nostack, preserves_flags));
                write_sysreg!("s3_0_c9_c10_0", 0);
            }
            if trf {
                write_sysreg!("s3_0_c1_c2_1", 0);
                isb();
            }
            if trbe {
                // TSB CSYNC.
                asm!("hint #18", "dsb nsh", options(nostack, preserves_flags));
                write_sysreg!("s3_0_c9_c11_0", 0);
            }
            if brbe {
                write_sysreg!("s2_1_c9_c0_0", 0);
            }
            if spe || trf || trbe || brbe {
                isb();
            }
        }
        was
    }

    /// Goes on: after the host's controls and stage 2 are back.
    fn resume(&self, has: &Optional) {
        // SAFETY: what the host had.
        unsafe {
            if has.brbe {
                write_sysreg!("s2_1_c9_c0_0", self.brbcr);
            }
            if has.trbe {
                write_sysreg!("s3_0_c9_c11_0", self.trblimitr);
                isb();
            }
            if has.trf {
                write_sysreg!("s3_0_c1_c2_1", self.trfcr);
            }
            if has.spe {
                write_sysreg!("s3_0_c9_c10_0", self.pmblimitr);
                isb();
                write_sysreg!("s3_0_c9_c9_0", self.pmscr);
            }
        }
    }
}

impl HostContext {
    /// Of the host on `cpu`, which has not been taken down yet.
    pub fn new(cpu: &'static Core) -> HostContext {
        HostContext {
            regs: Registers::ZERO,
            controls: Controls::default(),
            vtcr: 0,
            vttbr: 0,
            recording: Recording::default(),
            points: None,
            cpu,
        }
    }

    /// Whether the CPU has FEAT_RAS.
    pub fn has_ras(&self) -> bool {
        self.cpu.has.ras
    }

    /// Takes the host's registers down and puts the vCPU's in their place.
    ///
    /// The caller enters the guest next, or calls [`leave`](Self::leave).
    pub fn enter(&mut self, vcpu: &Vcpu, regime: &GuestRegime, cntvoff: u64, vpidr: u64) {
        let host = self;
        let cpu = host.cpu;
        let guest = &cpu.traps;
        let cptr = read_sysreg!("cptr_el2");
        if cpu.has.sme && cptr & CPTR_TSM == 0 {
            // SVCR: out of streaming mode, where not each instruction that saves and clears the guest's
            // FP registers is legal. The host has saved its own state.
            // SAFETY: the host's SME state, which it can reach itself.
            unsafe { write_sysreg!("s3_3_c4_c2_2", 0) };
        }
        host.controls = Controls::read(&cpu.has);
        host.vtcr = read_sysreg!("vtcr_el2");
        host.vttbr = read_sysreg!("vttbr_el2");
        host.recording = Recording::stop(&cpu.has);
        read_all(&mut host.regs, cpu.pauth);
        let controls = Controls {
            hcr: guest.hcr | if vcpu.set_way.watches() { HCR_TVM } else { 0 },
            cptr: guest.cptr,
            mdcr: guest.mdcr,
            hstr: HSTR,
            cnthctl: guest.cnthctl,
            cntvoff,
            vpidr,
            vmpidr: vcpu.mpidr,
            // No debug exceptions of the host's in the guest.
            mdscr: vcpu.stored.debug.hardware_mdscr(),
            // ICC_SRE_EL1 of the guest traps.
            icc_sre: host.controls.icc_sre & !ICC_SRE_ENABLE,
            hcrx: guest.hcrx,
            fgt: [HFGXTR, HFGXTR, guest.hfgitr, guest.hdfgrtr, OTHER_FGT],
            fgt2: [OTHER_FGT; 5],
            mpam2: mpam2(host.controls.mpam2),
            mpamhcr: mpamhcr(host.controls.mpamhcr),
        };
        // SAFETY: a guest's registers and controls, with its own stage 2 in force before it is
        // entered; `vcpu` is the one that the caller enters.
        unsafe {
            swap(&vcpu.regs, &controls, (regime.vtcr, regime.vttbr), host);
        }
        if controls.mdscr & MDSCR_MDE != 0 {
            host.load_points(&vcpu.stored.debug);
        }
    }

    /// The guest's debug registers have changed: puts them into the hardware as far as they can have an
    /// effect. Called with the guest's controls in force.
    pub fn set_debug(&mut self, debug: &Debug) {
        let mdscr = debug.hardware_mdscr();
        // SAFETY: debug exceptions of the guest, which go to the guest; MDE only with its own points.
        unsafe { write_sysreg!("mdscr_el1", mdscr) };
        if mdscr & MDSCR_MDE != 0 {
            self.load_points(debug);
        }
    }

    /// Puts the guest's breakpoints and watchpoints in the place of the host's until it leaves.
    #[inline(never)]
    fn load_points(&mut self, debug: &Debug) {
        let cpu = self.cpu;
        // MDSCR_EL1 is the guest's from here on.
        isb();
        self.points.get_or_insert_with(|| debug::read(cpu.points));
        let points = debug.hardware(cpu.guest_points, cpu.points);
        // SAFETY: the guest's own, and it is entered next.
        unsafe { debug::write(&points, cpu.points) };
    }

    /// Takes the vCPU's registers down and puts the host's back.
    pub fn leave(&self, vcpu: &mut Vcpu) {
        read_all(&mut vcpu.regs, self.cpu.pauth);
        self.restore();
    }

    /// Puts the host's registers back, and loses the guest's: EL2 is broken.
    pub fn restore(&self) {
        if let Some(points) = &self.points {
            // SAFETY: the host's own.
            unsafe { debug::write(points, self.cpu.points) };
        }
        // SAFETY: the host's own registers, controls and stage 2.
        unsafe { swap(&self.regs, &self.controls, (self.vtcr, self.vttbr), self) };
        self.recording.resume(&self.cpu.has);
    }
}

/// ICC_SRE_EL2.Enable: EL1 reaches ICC_SRE_EL1.
const ICC_SRE_ENABLE: u64 = 1 << 3;

/// # Safety
///
/// Registers, controls and stage 2 belong together, and to whoever is entered next.
unsafe fn swap(regs: &Registers, controls: &Controls, stage2: (u64, u64), how: &HostContext) {
    let (sctlr, tcr) = (regs.get(Reg::Sctlr), regs.get(Reg::Tcr));
    let (old_tcr, old_sctlr) = (read_sysreg!("tcr_el1"), read_sysreg!("sctlr_el1"));
    // SAFETY: by the caller's promise. Each step leaves no walk that mixes the two: see the head of
    // this file.
    unsafe {
        if how.cpu.speculative_at {
            write_sysreg!("tcr_el1", old_tcr | TCR_EPD);
            isb();
            write_sysreg!("sctlr_el1", old_sctlr | SCTLR_M);
            isb();
            write_all(regs, how.cpu.pauth);
            write_sysreg!("vtcr_el2", stage2.0);
            write_sysreg!("vttbr_el2", stage2.1);
            controls.write(&how.cpu.has);
            isb();
            write_sysreg!("sctlr_el1", sctlr);
            isb();
            write_sysreg!("tcr_el1", tcr);
        } else {
            write_all(regs, how.cpu.pauth);
            write_sysreg!("sctlr_el1", sctlr);
            write_sysreg!("tcr_el1", tcr);
            write_sysreg!("vtcr_el2", stage2.0);
            write_sysreg!("vttbr_el2", stage2.1);
            controls.write(&how.cpu.has);
        }
    }
    // The ERET synchronises for whoever comes next; EL2's own maintenance may come before it.
    isb();
}

/// Drops what the TLB and the instruction cache of this CPU hold of the VMID that VTTBR_EL2 names:
/// another vCPU of the same VM left it, whose tables need not agree with this one's.
pub fn flush_local() {
    // SAFETY: invalidation makes no access possible.
    unsafe {
        asm!(
            "tlbi vmalle1",
            "ic iallu",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// CPTR_EL2.TSM with E2H 0: SME traps.
const CPTR_TSM: u64 = 1 << 12;

/// CPTR_EL2.TFP with E2H 0.
pub const CPTR_TFP: u64 = 1 << 10;

/// Gives the guest its FP registers at its first use. The host saved its own (`module/el1`): with
/// the V registers the upper parts of its Z registers are lost.
pub fn load_fp(fp: &Fp) {
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
pub fn save_fp(fp: &mut Fp) -> bool {
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

/// Waits for what the guest began: its accesses, and its TLB and cache maintenance (Arm ARM B2.3.11).
pub fn drain() {
    // SAFETY: barriers.
    unsafe { asm!("dsb sy", "isb", options(nostack, preserves_flags)) };
}

/// Leaves nothing of a guest's in the FP registers, whatever mode they are in: EL2 is broken. Loads
/// are legal in streaming mode, too.
pub fn forget_fp() {
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
