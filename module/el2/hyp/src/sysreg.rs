// SPDX-License-Identifier: GPL-2.0
//! The EL2 registers that the kernel sets at boot, and that EL2 must keep for each CPU.
//!
//! A kernel that is booted at EL2 sets them in init_el2_state and finalise_el2_state
//! (arch/arm64/include/asm/el2_setup.h) before it drops to EL1, on each CPU, each time the CPU
//! comes up. Under mvirt a CPU that comes up enters the kernel at EL1, where that code does not
//! run; so EL2 takes a [`Snapshot`] of the registers at take-over and replays it. A CPU that was
//! offline then gets the snapshot of one of its kind ([`choose`]). `Documentation/el2-registers.rst`
//! has the table, and says which kernel sets what.
//!
//! [`for_each_kept_register!`](crate::for_each_kept_register) is the one list. `arch` expands it
//! into accesses by encoding; here it becomes [`Kept`]. The order is the order of the writes.
//! A snapshot is only as good as its order: HCR_EL2.E2H changes what CPTR_EL2 and CNTHCTL_EL2
//! mean, CPTR_EL2 decides whether ZCR_EL2 and SMCR_EL2 can be reached at all, and ICC_SRE_EL2
//! whether ICH_HCR_EL2 can: after each of these an ISB comes before the next access (Arm ARM
//! D24.1.2, "Synchronization requirements for AArch64 System registers").
//!
//! No lock: a snapshot is written at take-over by its CPU, and only read afterwards.

mod snapshot;

pub use snapshot::{choose, Missing, NoSnapshot, Snapshot, Step, This};

use crate::cpu::{Feature, IdRegs};
use crate::trap::Encoding;

/// Calls `$callback!` with the list of kept registers: for each
/// `Variant NAME (op0 op1 CRn CRm op2) Feature Treatment;`, in the order of the writes.
#[macro_export]
macro_rules! for_each_kept_register {
    ($callback:ident) => {
        $callback! {
            // Says what the others mean: first.
            Hcr HCR_EL2 (3 4 1 1 0) Base Host;
            Hcrx HCRX_EL2 (3 4 1 2 2) Hcx Found;
            // EL2 has no guarded control stack of its own, whatever firmware left there.
            GcscrEl2 GCSCR_EL2 (3 4 2 5 0) Gcs Zero;
            Cptr CPTR_EL2 (3 4 1 1 2) Base Found;
            Zcr ZCR_EL2 (3 4 1 2 0) Sve Found;
            Smcr SMCR_EL2 (3 4 1 2 6) Sme Found;
            Smprimap SMPRIMAP_EL2 (3 4 1 2 5) SmePriority Found;
            Hstr HSTR_EL2 (3 4 1 1 3) Base Found;
            Mdcr MDCR_EL2 (3 4 1 1 1) Base Found;
            Cnthctl CNTHCTL_EL2 (3 4 14 1 0) Base Found;
            Cntvoff CNTVOFF_EL2 (3 4 14 0 3) Base Found;
            Vpidr VPIDR_EL2 (3 4 0 0 0) Base OwnMidr;
            Vmpidr VMPIDR_EL2 (3 4 0 0 5) Base OwnMpidr;
            Hfgrtr HFGRTR_EL2 (3 4 1 1 4) Fgt Found;
            Hfgwtr HFGWTR_EL2 (3 4 1 1 5) Fgt Found;
            Hfgitr HFGITR_EL2 (3 4 1 1 6) Fgt Found;
            Hdfgrtr HDFGRTR_EL2 (3 4 3 1 4) Fgt Found;
            Hdfgwtr HDFGWTR_EL2 (3 4 3 1 5) Fgt Found;
            Hafgrtr HAFGRTR_EL2 (3 4 3 1 6) FgtAmu Found;
            Hfgrtr2 HFGRTR2_EL2 (3 4 3 1 2) Fgt2 Found;
            Hfgwtr2 HFGWTR2_EL2 (3 4 3 1 3) Fgt2 Found;
            Hfgitr2 HFGITR2_EL2 (3 4 3 1 7) Fgt2 Found;
            Hdfgrtr2 HDFGRTR2_EL2 (3 4 3 1 0) Fgt2 Found;
            Hdfgwtr2 HDFGWTR2_EL2 (3 4 3 1 1) Fgt2 Found;
            IccSre ICC_SRE_EL2 (3 4 12 9 5) Gicv3 Found;
            IchHcr ICH_HCR_EL2 (3 4 12 11 0) Gicv3 Found;
            IchHfgrtr ICH_HFGRTR_EL2 (3 4 12 9 4) Gicv5 Found;
            IchHfgwtr ICH_HFGWTR_EL2 (3 4 12 9 6) Gicv5 Found;
            IchHfgitr ICH_HFGITR_EL2 (3 4 12 9 7) Gicv5 Found;
            IchVctlr ICH_VCTLR_EL2 (3 4 12 11 4) Gicv5 Found;
            Mpam2 MPAM2_EL2 (3 4 10 5 0) Mpam Found;
            Mpamhcr MPAMHCR_EL2 (3 4 10 4 0) MpamHcr Found;
            Mpamvpmv MPAMVPMV_EL2 (3 4 10 4 1) MpamHcr Found;
            // Profiling and branch records see EL1, as the kernel set them up, but not EL2. Trace
            // does not see EL2 as long as TRFCR_EL2 stays what reset made it; it is not touched,
            // because firmware may trap it to EL3 without saying so (MDCR_EL3.TTRF).
            Pmscr PMSCR_EL2 (3 4 9 9 0) SpeAtEl2 NoEl2Recording;
            Brbcr BRBCR_EL2 (2 4 9 0 0) Brbe NoEl2Recording;
            // EL1's registers that the kernel sets while it is at EL2.
            Lorc LORC_EL1 (3 0 10 4 3) Lor Zero;
            Gcscr GCSCR_EL1 (3 0 2 5 0) Gcs Zero;
            Gcscre0 GCSCRE0_EL1 (3 0 2 5 2) Gcs Zero;
        }
    };
}

macro_rules! define_kept {
    ($($variant:ident $name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal)
        $feature:ident $treatment:ident;)*) => {
        /// A register that EL2 keeps for the host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kept { $(#[doc = concat!("`", stringify!($name), "`.")] $variant),* }

        impl Kept {
            /// All, in the order of the writes.
            pub const ALL: &'static [Kept] = &[$(Kept::$variant),*];

            /// The name in the Arm ARM.
            pub const fn name(self) -> &'static str {
                match self { $(Kept::$variant => stringify!($name)),* }
            }

            /// The encoding in an MRS or MSR instruction.
            pub const fn encoding(self) -> Encoding {
                match self { $(Kept::$variant => Encoding::new($op0, $op1, $crn, $crm, $op2)),* }
            }

            /// What the register belongs to.
            pub const fn feature(self) -> Feature {
                match self { $(Kept::$variant => Feature::$feature),* }
            }

            /// What a replay writes to it.
            pub const fn treatment(self) -> Treatment {
                match self { $(Kept::$variant => Treatment::$treatment),* }
            }
        }
    };
}

for_each_kept_register!(define_kept);

/// How many registers there are.
pub const COUNT: usize = Kept::ALL.len();
const _: () = assert!(COUNT <= 64, "Snapshot::taken has one bit for each");

/// What a replay writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The value found at take-over.
    Found,
    /// The value found, with EL2's own bits: [`host_hcr`].
    Host,
    /// The value found, without the bits that record what EL2 itself does (bits 1:0, the enables
    /// for EL2 and for EL0 under it: PMSCR_EL2.{E2SPE, E0HSPE}, BRBCR_EL2.{E2BRE, E0HBRE}).
    NoEl2Recording,
    /// Zero, as the kernel does, whatever the register held at take-over.
    Zero,
    /// MIDR_EL1 of the CPU itself.
    OwnMidr,
    /// MPIDR_EL1 of the CPU itself.
    OwnMpidr,
}

/// HCR_EL2 bits.
mod hcr {
    /// Stage 2 is on.
    pub const VM: u64 = 1 << 0;
    /// Invalidation by set and way also cleans: the host must not throw away dirty lines of pages
    /// that were taken from it.
    pub const SWIO: u64 = 1 << 1;
    /// Default cacheability: would switch stage 1 off.
    pub const DC: u64 = 1 << 12;
    /// SMC traps.
    pub const TSC: u64 = 1 << 19;
    /// Writes to EL1's translation registers trap.
    pub const TVM: u64 = 1 << 26;
    /// Exceptions of EL0 go to EL2.
    pub const TGE: u64 = 1 << 27;
    /// HVC is undefined.
    pub const HCD: u64 = 1 << 29;
    /// EL1 is AArch64.
    pub const RW: u64 = 1 << 31;
    /// Stage 2 forces data accesses Non-cacheable.
    pub const CD: u64 = 1 << 32;
    /// Stage 2 forces instruction fetches Non-cacheable.
    pub const ID: u64 = 1 << 33;
    /// Nested virtualization.
    pub const NV: u64 = 1 << 42;
    /// Nested virtualization.
    pub const NV1: u64 = 1 << 43;
    /// Nested virtualization.
    pub const NV2: u64 = 1 << 45;
    /// Stage 2 attributes override stage 1's.
    pub const FWB: u64 = 1 << 46;
}

/// HCR_EL2 for the host, from the value found. E2H stays as found, and so do the trap bits that
/// the kernel chose.
///
/// `fwb` says that the host's stage 2 is written in the encoding of FEAT_S2FWB; `watch` sets TVM,
/// for a fresh CPU ([`crate::psci::first_write`]).
pub const fn host_hcr(found: u64, fwb: bool, watch: bool) -> u64 {
    use hcr::*;
    let clear = DC | TVM | TGE | HCD | CD | ID | NV | NV1 | NV2 | FWB;
    let mut value = (found & !clear) | VM | SWIO | TSC | RW;
    if fwb {
        value |= FWB;
    }
    if watch {
        value |= TVM;
    }
    value
}

/// HCR_EL2.E2H.
const HCR_E2H: u64 = 1 << 34;
/// ICC_SRE_EL2.SRE.
const ICC_SRE: u64 = 1 << 0;

impl Kept {
    /// Whether a CPU has the register and EL2 can reach it, with HCR_EL2, CPTR_EL2 and ICC_SRE_EL2
    /// (`sre`; 0 on a CPU without it) as they are.
    ///
    /// A kernel that was told to ignore SVE or SME (`arm64.nosve`, `arm64.nosme`) leaves the traps
    /// in CPTR_EL2 set. EL2's own access would trap too, and the host needs no value there.
    ///
    /// Firmware that runs the GIC as a GICv2 leaves ICC_SRE_EL2.SRE 0, and ICH_HCR_EL2 is then
    /// UNDEFINED at EL2. SRE may be RAZ/WI, so what is written to it decides nothing.
    pub const fn present(self, ids: &IdRegs, hcr: u64, cptr: u64, sre: u64) -> bool {
        if !ids.has(self.feature()) {
            return false;
        }
        let e2h = hcr & HCR_E2H != 0 || ids.has(Feature::NoE2h0);
        match self {
            Kept::Zcr => !traps(cptr, e2h, 8, 16),
            Kept::Smcr => !traps(cptr, e2h, 12, 24),
            Kept::IchHcr => sre & ICC_SRE != 0,
            _ => true,
        }
    }

    /// Whether an ISB must come between a write of this register and the next access.
    const fn needs_isb(self) -> bool {
        matches!(self, Kept::Hcr | Kept::Cptr | Kept::IccSre)
    }
}

/// Whether CPTR_EL2 traps a feature at EL2: the T bit at `trap` with E2H 0; with E2H 1 the field of
/// two bits at `enable`, of which bit 0 enables EL2 and EL1.
const fn traps(cptr: u64, e2h: bool, trap: u32, enable: u32) -> bool {
    if e2h {
        (cptr >> enable) & 1 == 0
    } else {
        (cptr >> trap) & 1 == 1
    }
}

#[cfg(test)]
mod tests;
