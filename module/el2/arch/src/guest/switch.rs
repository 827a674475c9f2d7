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

mod controls;
mod recording;
mod registers;

use core::arch::asm;

use mvirt_hyp::guest::sysreg::{Debug, Points, MDSCR_MDE};
use mvirt_hyp::guest::traps::{mpam2, mpamhcr, HFGXTR, HSTR, OTHER_FGT};
use mvirt_hyp::pgtable::stage2::GuestRegime;
use mvirt_hyp::vm::registers::{Reg, Registers};
use mvirt_hyp::vm::vcpu::Vcpu;

use super::debug;
use super::system::Core;
use crate::cpu::{HCR_TVM, SCTLR_M, TCR_EPD};
use crate::sysreg::{isb, read_sysreg, write_sysreg};
use controls::Controls;
use recording::Recording;
use registers::{read_all, write_all};

pub use registers::write_one;

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
/// CPTR_EL2.TSM with E2H 0: SME traps.
const CPTR_TSM: u64 = 1 << 12;

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

/// Waits for what the guest began: its accesses, and its TLB and cache maintenance (Arm ARM B2.3.11).
pub fn drain() {
    // SAFETY: barriers.
    unsafe { asm!("dsb sy", "isb", options(nostack, preserves_flags)) };
}
