// SPDX-License-Identifier: GPL-2.0
//! A CPU's own data, its take-over from the stub and its way back.
//!
//! ```text
//!  Outside --entry--> Entered --enable_cpu--> Enabled --PSCI CPU_OFF--> (off)
//!     ^                  |                       |  ^                     |
//!     +-----release------+-------release---------+  +----PSCI CPU_ON------+
//! ```
//!
//! `Outside`: the kernel's stub has EL2, or the CPU is off and never was here. `Entered`: EL2 is
//! ours, the host has no stage 2 yet. `Enabled`: the host is under stage 2 and its SMCs trap.
//!
//! All of a CPU's data is written by that CPU alone and is atomic only so that others may read
//! counters and kept registers; no order between its members is relied on but where it is said.
//!
//! * `take_over` the entry from the stub, the host's stage 2, the way back
//! * `registers` registers that more than one part of EL2 asks for
//! * `walks`     walks of stage 1, held off
//!
//! Why unsafe: TPIDR_EL2 is turned into a reference, and control registers of EL2 are written.

mod registers;
mod take_over;
mod walks;

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use mvirt_abi::{Stat, MAX_CPUS};
use mvirt_hyp::errata::{Mitigations, OnEntry};

use crate::entry::{vectors, Frame, Harden};
use crate::report::TrapRing;
use crate::sysreg::{isb, read_sysreg, write_sysreg};
use crate::{guest, machine};

pub use registers::{icc_sre, id_regs, read_reg, set_tvm, HCR_TVM};
pub use take_over::{abandon_lock, enable, least_pa_bits, release, start};
pub use walks::{Stage1Walks, SCTLR_M, TCR_EPD};

/// Where a CPU is in its life; see the picture above. Zero is the safe state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The stub has EL2.
    Outside = 0,
    /// EL2 is ours.
    Entered = 1,
    /// The host is under stage 2.
    Enabled = 2,
}

/// What the registers that EL2 runs by held when the CPU was taken, for the way back; where EL2 never
/// saw the stub, what those of a CPU of the same kind held. The vectors' code reads the first four.
#[repr(C)]
pub struct Found {
    /// SCTLR_EL2.
    pub sctlr: AtomicU64,
    /// TCR_EL2.
    pub tcr: AtomicU64,
    /// MAIR_EL2.
    pub mair: AtomicU64,
    /// TTBR0_EL2.
    pub ttbr0: AtomicU64,
    vbar: AtomicU64,
    hcr: AtomicU64,
    vtcr: AtomicU64,
    vttbr: AtomicU64,
}

/// A CPU's own data. TPIDR_EL2 points to it.
#[repr(C, align(64))]
pub struct PerCpu {
    /// Rounds of the Spectre-BHB loop at entry; read by the vectors.
    pub bhb_loops: AtomicU64,
    /// The SMCCC function that the vectors call at entry.
    pub workaround: AtomicU64,
    /// Physical address of `el2_leave`; read by the way back.
    pub exit_phys: AtomicU64,
    /// As found; read by the way back.
    pub found: Found,
    phase: AtomicU32,
    retranslates: AtomicBool,
    par_barrier: AtomicBool,
    speculative_at: AtomicBool,
    /// The host's frame while EL2 handles a trap of it.
    pub frame: AtomicPtr<Frame>,
    /// The `guest::Running` of the vCPU that runs here: whose the traps are. Read by the vectors.
    pub guest: AtomicPtr<c_void>,
    counters: [AtomicU64; Stat::ALL.len()],
    /// The last traps.
    pub traps: TrapRing,
}

static CPUS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

impl PerCpu {
    const fn new() -> PerCpu {
        PerCpu {
            bhb_loops: AtomicU64::new(0),
            workaround: AtomicU64::new(0),
            exit_phys: AtomicU64::new(0),
            found: Found {
                sctlr: AtomicU64::new(0),
                tcr: AtomicU64::new(0),
                mair: AtomicU64::new(0),
                ttbr0: AtomicU64::new(0),
                vbar: AtomicU64::new(0),
                hcr: AtomicU64::new(0),
                vtcr: AtomicU64::new(0),
                vttbr: AtomicU64::new(0),
            },
            phase: AtomicU32::new(Phase::Outside as u32),
            retranslates: AtomicBool::new(false),
            par_barrier: AtomicBool::new(false),
            speculative_at: AtomicBool::new(false),
            frame: AtomicPtr::new(core::ptr::null_mut()),
            guest: AtomicPtr::new(core::ptr::null_mut()),
            counters: [const { AtomicU64::new(0) }; Stat::ALL.len()],
            traps: TrapRing::new(),
        }
    }

    /// All of them, by index.
    pub fn all() -> &'static [PerCpu; MAX_CPUS] {
        &CPUS
    }

    /// This CPU's.
    pub fn current() -> &'static PerCpu {
        let address = read_sysreg!("tpidr_el2");
        // SAFETY: `adopt` has put the address of an element of CPUS there before any Rust code of
        // EL2 that runs with the MMU on asks for it, and nothing else writes it until release.
        unsafe { &*(address as *const PerCpu) }
    }

    /// Stops walks of stage 1 while VTTBR_EL2 changes, if this core needs that.
    pub fn stop_walks(&self) -> Option<Stage1Walks> {
        self.speculative_at
            .load(Ordering::Relaxed)
            .then(Stage1Walks::stop)
    }

    /// Its index.
    pub fn index(&self) -> u32 {
        let at = (&raw const *self) as usize - (&raw const CPUS) as usize;
        (at / core::mem::size_of::<PerCpu>()) as u32
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Entered,
            2 => Phase::Enabled,
            _ => Phase::Outside,
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, Ordering::Release);
    }

    /// Counts a trap.
    pub fn count(&self, stat: Stat) {
        let counter = &self.counters[stat as usize];
        // Only this CPU writes it: no read-modify-write is needed.
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Reads a counter.
    pub fn counter(&self, stat: Stat) -> u64 {
        self.counters[stat as usize].load(Ordering::Relaxed)
    }

    /// Makes this CPU's EL2 state ours: its own data and its vectors.
    fn adopt(&'static self) {
        // SAFETY: TPIDR_EL2 is EL2's own; the reference is 'static.
        unsafe { write_sysreg!("tpidr_el2", (&raw const *self) as u64) };
        // What was there belongs to a trap before the CPU went off.
        self.frame.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.guest.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Makes a CPU's EL2 state its own that firmware has just started. `index` is what the assembly
    /// checked against [`MAX_CPUS`].
    pub fn adopt_started(index: u64) -> &'static PerCpu {
        let this = &CPUS[index as usize];
        this.adopt();
        this.set_phase(Phase::Outside);
        // SAFETY: the vectors are EL2's text, and the stack that they use is this CPU's. VBAR_EL2
        // came out of reset UNKNOWN, so this comes before anything that may fault.
        unsafe { write_sysreg!("vbar_el2", vectors(Harden::Plain)) };
        isb();
        this
    }

    /// Whether HPFAR_EL2 is not to be believed (erratum 834220).
    pub fn retranslates(&self) -> bool {
        self.retranslates.load(Ordering::Relaxed)
    }

    /// Whether walks may start speculatively at EL2 (errata 1165522 and its kin).
    pub fn speculative_at(&self) -> bool {
        self.speculative_at.load(Ordering::Relaxed)
    }

    /// Whether a read of PAR_EL1 needs barriers around it (erratum 1508412).
    pub fn par_barrier(&self) -> bool {
        self.par_barrier.load(Ordering::Relaxed)
    }

    /// Puts the vectors and workarounds in force that the core needs.
    fn harden(&self, needs: &Mitigations) {
        let kind = match needs.on_entry {
            OnEntry::Nothing => Harden::Plain,
            OnEntry::Loop(rounds) => {
                self.bhb_loops.store(rounds.into(), Ordering::Relaxed);
                Harden::Loop
            }
            OnEntry::Firmware(function) => {
                self.workaround.store(function.into(), Ordering::Relaxed);
                Harden::Firmware
            }
            OnEntry::ClearBhb => Harden::ClearBhb,
        };
        self.retranslates
            .store(needs.retranslate, Ordering::Relaxed);
        self.par_barrier.store(needs.par_barrier, Ordering::Relaxed);
        self.speculative_at
            .store(needs.speculative_at, Ordering::Relaxed);
        if needs.repeat_tlbi {
            machine::repeat_tlbi();
        }
        guest::take_in(needs);
        // SAFETY: the vectors are EL2's text; this CPU's data and stack, which they use, are in
        // place.
        unsafe { write_sysreg!("vbar_el2", vectors(kind)) };
        isb();
    }
}
