// SPDX-License-Identifier: GPL-2.0
//! A guest's debug registers.
//!
//! Every access traps and is answered from storage, so that a guest sees no more breakpoints than it
//! is told of and none of the host's. What it enables takes effect by [`Debug::hardware_mdscr`], and by
//! [`Debug::hardware`] while it is [armed](Debug::is_armed): then the hardware's breakpoints and
//! watchpoints are the guest's until the vCPU leaves. Else they stay the host's, and MDSCR_EL1.MDE is 0
//! while the guest runs, so that they are not seen there.
//!
//! With MDCR_EL2.TDE and HCR_EL2.TGE 0 the debug target Exception level is EL1: what fires goes to the
//! guest, and nothing fires at EL2, whatever HMC and SSC say (Arm ARM D2.3). The registers of an
//! external debugger are RAZ/WI: there is none. Arm ARM (DDI 0487) D24.3.

use super::Outcome;
use crate::cpu::bits;
use crate::trap::Encoding;

/// The most breakpoints, and the most watchpoints, that a guest or a CPU has here. With FEAT_Debugv8p9
/// there may be more, in banks that are off while MDSCR_EL1.EMBWE is 0.
pub const POINTS: usize = 16;

/// MDSCR_EL1.
const MDSCR_SS: u64 = 1 << 0;
const MDSCR_KDE: u64 = 1 << 13;
/// MDSCR_EL1.MDE.
pub const MDSCR_MDE: u64 = 1 << 15;
/// OSLSR_EL1: OSLM, bits 3 and 0, is 0b10: the lock is implemented.
const OSLSR_OSLM: u64 = 1 << 3;
const OSLSR_OSLK: u64 = 1 << 1;
/// DBGAUTHSTATUS_EL1: Non-secure debug by an external debugger is implemented and disabled.
const DBGAUTHSTATUS: u64 = 0b1010;

/// DBGBCR_EL1 and DBGWCR_EL1: E.
const ENABLE: u64 = 1 << 0;
/// LBN, the linked breakpoint.
const LBN: u64 = 0xf << LBN_SHIFT;
const LBN_SHIFT: u32 = 16;
/// E, PMC, BAS, HMC, SSC, LBN, BT. Not MASK, BT2, LBNX, SSCE, which belong to later debug
/// architectures than DebugVer tells of.
const BCR: u64 = 0x00ff_e1e7;
/// E, PAC, LSC, BAS, HMC, SSC, LBN, WT, MASK. Not WT2, LBNX, SSCE.
const WCR: u64 = 0x1f1f_ffff;

/// The kinds, in the order of their op2: DBGBVR, DBGBCR, DBGWVR, DBGWCR.
const BVR_KIND: usize = 0;
const BCR_KIND: usize = 1;
const WVR_KIND: usize = 2;
const WCR_KIND: usize = 3;

/// DBGBVR, DBGBCR, DBGWVR, DBGWCR by number.
pub type Points = [[u64; POINTS]; 4];

/// How many breakpoints and watchpoints there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Breakpoints: 2 to 16. The last one is context-aware.
    pub breakpoints: usize,
    /// Watchpoints: 2 to 16.
    pub watchpoints: usize,
}

impl Counts {
    /// Of a CPU with this ID_AA64DFR0_EL1: BRPs and WRPs are one less.
    pub const fn of(dfr0: u64) -> Counts {
        Counts {
            // Lossless: 4 bits.
            breakpoints: bits(dfr0, 12, 4) as usize + 1,
            watchpoints: bits(dfr0, 20, 4) as usize + 1,
        }
    }

    /// How many there are of the kind with this index.
    const fn of_kind(&self, kind: usize) -> usize {
        if kind < WVR_KIND {
            self.breakpoints
        } else {
            self.watchpoints
        }
    }
}

/// The registers. The OS lock is open after a reset, as under KVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debug {
    pub(super) mdscr: u64,
    pub(super) mdccint: u64,
    os_locked: bool,
    points: Points,
}

impl Debug {
    /// Whether the guest's breakpoints or watchpoints can fire: the hardware's have to be its own.
    pub fn is_armed(&self) -> bool {
        let enabled = || {
            let [_, bcr, _, wcr] = &self.points;
            bcr.iter().chain(wcr).any(|control| control & ENABLE != 0)
        };
        !self.os_locked && self.mdscr & MDSCR_MDE != 0 && enabled()
    }

    /// What the hardware's MDSCR_EL1 holds while the guest runs. MDE only where it is armed: else the
    /// host's breakpoints are in the hardware.
    pub fn hardware_mdscr(&self) -> u64 {
        if self.os_locked {
            return 0;
        }
        let mde = if self.is_armed() { MDSCR_MDE } else { 0 };
        self.mdscr & (MDSCR_SS | MDSCR_KDE) | mde
    }

    /// What the hardware of a CPU with `cpu` holds for a guest that is told of `guest`, which is no
    /// more. Breakpoint n is the hardware's n, but for the last one, which is the last of both: it is
    /// the only one of which it is certain that it is context-aware.
    pub fn hardware(&self, guest: Counts, cpu: Counts) -> Points {
        let [bvr, bcr, wvr, wcr] = &self.points;
        let mut hardware = Points::default();
        let place = |n: u64| {
            if n as usize + 1 == guest.breakpoints {
                (cpu.breakpoints - 1) as u64
            } else {
                n
            }
        };
        let linked = |control: u64| {
            let lbn = (control & LBN) >> LBN_SHIFT;
            control & !LBN | place(lbn) << LBN_SHIFT
        };
        for n in 0..guest.breakpoints {
            let at = place(n as u64) as usize;
            hardware[BVR_KIND][at] = bvr[n];
            hardware[BCR_KIND][at] = linked(breakpoint(bcr[n]));
        }
        for n in 0..guest.watchpoints {
            hardware[WVR_KIND][n] = wvr[n];
            hardware[WCR_KIND][n] = linked(wcr[n] & WCR);
        }
        hardware
    }

    /// Does an access to a register with op0 2; `written` is what an MSR writes, `counts` what the
    /// guest is told of.
    pub fn access(&mut self, r: Encoding, written: Option<u64>, counts: Counts) -> Outcome {
        match (r.op1, r.crn, r.crm, r.op2, written) {
            (0, 0, 2, 0, _) => storage(&mut self.mdccint, written),
            (0, 0, 2, 2, _) => storage(&mut self.mdscr, written),
            (0, 0, n, 4..=7, _) => match self.point(r.op2 - 4, n, counts) {
                Some(slot) => storage(slot, written),
                // There are no more.
                None => Outcome::Undefined,
            },
            // OSLAR_EL1 is write-only, OSLSR_EL1 read-only.
            (0, 1, 0, 4, Some(value)) => {
                self.os_locked = value & 1 == 1;
                Outcome::Debug
            }
            (0, 1, 1, 4, None) => Outcome::Value(self.oslsr()),
            (0, 7, 14, 6, None) => Outcome::Value(DBGAUTHSTATUS),
            // MDRAR_EL1: no ROM table. MDCCSR_EL0: the channel is empty.
            (0, 1, 0, 0, None) | (3, 0, 1, 0, None) => Outcome::Value(0),
            // OSDLR_EL1 (no double lock), DBGPRCR_EL1, DBGCLAIMSET_EL1, DBGCLAIMCLR_EL1,
            // OSDTRRX_EL1, OSDTRTX_EL1, OSECCR_EL1, DBGDTR_EL0 and DBGDTRxX_EL0.
            (0, 1, 3 | 4, 4, _)
            | (0, 7, 8 | 9, 6, _)
            | (0, 0, 0 | 3 | 6, 2, _)
            | (3, 0, 4 | 5, 0, _) => written.map_or(Outcome::Value(0), |_| Outcome::Done),
            _ => Outcome::Undefined,
        }
    }

    /// A register of a breakpoint or watchpoint: `kind` 0 to 3 is DBGBVR, DBGBCR, DBGWVR, DBGWCR.
    /// `None` if the guest has no such.
    pub(super) fn point(&mut self, kind: u8, n: u8, counts: Counts) -> Option<&mut u64> {
        let (kind, n) = index(kind, n, counts)?;
        self.points.get_mut(kind)?.get_mut(n)
    }

    /// Reads such a register.
    pub(super) fn point_value(&self, kind: u8, n: u8, counts: Counts) -> Option<u64> {
        let (kind, n) = index(kind, n, counts)?;
        self.points.get(kind)?.get(n).copied()
    }

    /// OSLSR_EL1.
    pub const fn oslsr(&self) -> u64 {
        if self.os_locked {
            OSLSR_OSLM | OSLSR_OSLK
        } else {
            OSLSR_OSLM
        }
    }

    /// OSLSR_EL1 as KVM lets user space write it: only OSLK can change. `false` for another value.
    #[must_use]
    pub fn set_oslsr(&mut self, value: u64) -> bool {
        let valid = value & !OSLSR_OSLK == OSLSR_OSLM;
        if valid {
            self.os_locked = value & OSLSR_OSLK != 0;
        }
        valid
    }
}

fn index(kind: u8, n: u8, counts: Counts) -> Option<(usize, usize)> {
    let (kind, n) = (usize::from(kind), usize::from(n));
    (n < counts.of_kind(kind)).then_some((kind, n))
}

/// DBGBCR_EL1 for the hardware. The types are those of a CPU without EL2 and AArch32: by address and
/// by context, linked or not. One of the others, by VMID or by EL2's context, is off, as it is on a CPU
/// that does not have it (Arm ARM D2.8, "reserved values").
const fn breakpoint(control: u64) -> u64 {
    if bits(control, 20, 4) <= 0b0011 {
        control & BCR
    } else {
        0
    }
}

fn storage(slot: &mut u64, written: Option<u64>) -> Outcome {
    match written {
        None => Outcome::Value(*slot),
        Some(value) => {
            *slot = value;
            Outcome::Debug
        }
    }
}

#[cfg(test)]
mod tests;
