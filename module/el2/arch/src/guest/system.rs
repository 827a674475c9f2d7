// SPDX-License-Identifier: GPL-2.0
//! What all CPUs have in common, and so what a guest is shown, which may run on any of them; and
//! what one CPU needs for the switch to a guest.
//!
//! Each CPU that is entered is taken in. The first VM closes that: a CPU that comes later and lacks
//! something runs no guests.
//!
//! Why unsafe: registers are read by their encodings.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use mvirt_abi::{Error, MAX_CPUS};
use mvirt_hyp::cpu::{Feature, IdRegs};
use mvirt_hyp::errata::Mitigations;
use mvirt_hyp::for_each_folded_register;
use mvirt_hyp::guest::idregs::{Folded, GuestIds, SystemIds};
use mvirt_hyp::guest::services::Workarounds;
use mvirt_hyp::guest::sysreg::{Context, Counts};
use mvirt_hyp::guest::traps::{Options, Traps};
use mvirt_hyp::vgic::Hardware;

use crate::cpu::{id_regs, PerCpu};
use crate::lock::{Once, SpinLock};
use crate::machine;
use crate::sysreg::read_sysreg;

/// Innermost of all locks.
static SYSTEM: SpinLock<System> = SpinLock::new(System {
    ids: SystemIds::new(),
    workarounds: Workarounds::NONE,
});

struct System {
    ids: SystemIds,
    workarounds: Workarounds,
}

/// What guests are shown.
pub struct Guests {
    /// The ID registers.
    pub ids: GuestIds,
    /// What their kernels do against speculation.
    pub workarounds: Workarounds,
}

static GUESTS: Once<Guests> = Once::new();

/// CPUs that lack what guests have been told of, one bit each.
static UNFIT: AtomicU64 = AtomicU64::new(0);

/// What the switch has to know of one CPU.
pub struct Core {
    /// Which of EL2's controls it has beyond the common ones.
    pub has: Optional,
    /// What the GIC's virtual interface has.
    pub hardware: Hardware,
    /// What guests run with there.
    pub traps: Traps,
    /// Its breakpoints and watchpoints, and those that guests are told of.
    pub points: Counts,
    /// See `points`.
    pub guest_points: Counts,
    /// Guests have pointer authentication.
    pub pauth: bool,
    /// It has one of the errata of speculative walks.
    pub speculative_at: bool,
}

/// Controls that come with a feature: asked for once, not at each switch.
pub struct Optional {
    /// HCRX_EL2.
    pub hcrx: bool,
    /// The registers of FEAT_FGT.
    pub fgt: bool,
    /// Those of FEAT_FGT2.
    pub fgt2: bool,
    /// MPAM2_EL2.
    pub mpam: bool,
    /// MPAMHCR_EL2.
    pub mpamhcr: bool,
    /// SVCR.
    pub sme: bool,
    /// SPE that EL3 left to EL2.
    pub spe: bool,
    /// TRFCR_EL1.
    pub trf: bool,
    /// The trace buffer.
    pub trbe: bool,
    /// Branch records.
    pub brbe: bool,
    /// SErrors with a syndrome, and ESB.
    pub ras: bool,
}

impl Optional {
    fn of(ids: &IdRegs) -> Optional {
        Optional {
            hcrx: ids.has(Feature::Hcx),
            fgt: ids.has(Feature::Fgt),
            fgt2: ids.has(Feature::Fgt2),
            mpam: ids.has(Feature::Mpam),
            mpamhcr: ids.has(Feature::MpamHcr),
            sme: ids.has(Feature::Sme),
            spe: ids.has(Feature::SpeAtEl2),
            // ID_AA64DFR0_EL1: TraceFilt, TraceBuffer.
            trf: ids.dfr0 >> 40 & 0xf != 0,
            trbe: ids.dfr0 >> 44 & 0xf != 0,
            brbe: ids.has(Feature::Brbe),
            // ID_AA64PFR0_EL1: RAS.
            ras: ids.pfr0 >> 28 & 0xf != 0,
        }
    }
}

static CORES: [Once<Core>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];

/// Releases the lock of this file if this CPU, which is broken, holds it.
pub fn abandon_lock() {
    SYSTEM.abandon();
}

macro_rules! read {
    ($($variant:ident $name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal);)*) => {
        fn read(register: Folded) -> u64 {
            let value: u64;
            match register {
                // SAFETY: each CPU has them, and reading changes nothing but the destination.
                $(Folded::$variant => unsafe {
                    asm!(concat!("mrs {}, s", $op0, "_", $op1, "_c", $crn, "_c", $crm, "_", $op2),
                         out(reg) value, options(nomem, nostack, preserves_flags));
                })*
            }
            value
        }
    };
}

for_each_folded_register!(read);

/// Takes the calling CPU in.
pub fn take_in(mitigations: &Mitigations) {
    let mut system = SYSTEM.lock();
    system.workarounds.fold(mitigations);
    let fits = system.ids.fold(read);
    // Before the CPU does anything that leaves lines in its caches: `SYSTEM` is locked, so that no later
    // value is overwritten by an earlier one.
    if let Some(ctr) = system.ids.ctr() {
        machine::set_ctr(ctr);
    }
    if !fits && GUESTS.get().is_some() {
        UNFIT.fetch_or(1 << PerCpu::current().index(), Ordering::Relaxed);
    }
}

/// What guests are shown, from here on. [`Error::NotSupported`] if no CPU was taken in.
pub fn guests() -> Result<&'static Guests, Error> {
    if let Some(guests) = GUESTS.get() {
        return Ok(guests);
    }
    let system = SYSTEM.lock();
    GUESTS
        .get_or_set(|| {
            let ids = GuestIds::new(&system.ids)?;
            Some(Guests {
                ids,
                workarounds: system.workarounds,
            })
        })
        .ok_or(Error::NotSupported)
}

/// The calling CPU. [`Error::NotSupported`] if it runs no guests: it lacks what they were told of,
/// or nobody knows its redistributor.
pub fn core(this: &PerCpu, guests: &Guests) -> Result<&'static Core, Error> {
    let n = this.index() as usize;
    if UNFIT.load(Ordering::Relaxed) & 1 << n != 0 || crate::boot::params().gicr[n] == 0 {
        return Err(Error::NotSupported);
    }
    let make = || {
        let ids = id_regs();
        let options = Options {
            fwb: false,
            trap_fp: true,
            host_mdcr: read_sysreg!("mdcr_el2"),
        };
        Some(Core {
            has: Optional::of(&ids),
            hardware: super::gic::hardware(),
            traps: Traps::new(&ids, &guests.ids, &options),
            points: Counts::of(ids.dfr0),
            guest_points: Context {
                ids: &guests.ids,
                has_gic: true,
            }
            .debug(),
            pauth: guests.ids.has_pauth(),
            speculative_at: this.speculative_at(),
        })
    };
    let core = CORES[n].get().or_else(|| CORES[n].get_or_set(make));
    core.ok_or(Error::NotSupported)
}
