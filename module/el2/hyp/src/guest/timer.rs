// SPDX-License-Identifier: GPL-2.0
//! A guest's generic timer as numbers: what its registers read, when it fires.
//!
//! Arm ARM (DDI 0487) D12.2: the condition is met when the counter, less the timer's offset, is at
//! or above the compare value, both 64 bits and unsigned. The virtual timer has the VM's offset
//! (CNTVOFF_EL2), the physical one 0. No lock: a timer is part of its vCPU.

/// CTL bits.
const ENABLE: u64 = 1 << 0;
const IMASK: u64 = 1 << 1;
const ISTATUS: u64 = 1 << 2;

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// A register of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// CNTx_CTL_EL0.
    Ctl,
    /// CNTx_CVAL_EL0.
    Cval,
    /// CNTx_TVAL_EL0: a signed 32-bit distance from now.
    Tval,
}

/// A timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// ENABLE and IMASK; ISTATUS is computed.
    ctl: u64,
    cval: u64,
}

impl Timer {
    /// From what the registers hold: ISTATUS and RES0 bits are dropped.
    pub const fn new(ctl: u64, cval: u64) -> Timer {
        Timer {
            ctl: ctl & (ENABLE | IMASK),
            cval,
        }
    }

    /// ENABLE and IMASK, for the hardware's register.
    pub const fn ctl(&self) -> u64 {
        self.ctl
    }

    /// The compare value.
    pub const fn cval(&self) -> u64 {
        self.cval
    }

    /// Whether the condition is met; `count` is the counter less the offset.
    const fn is_met(&self, count: u64) -> bool {
        self.ctl & ENABLE != 0 && count >= self.cval
    }

    /// The level of the timer's interrupt.
    pub const fn level(&self, count: u64) -> bool {
        self.is_met(count) && self.ctl & IMASK == 0
    }

    /// The value of the *physical* counter at which the interrupt is asserted: `now` if it is so
    /// already, [`NEVER`] if it is not going to be.
    pub const fn deadline(&self, now: u64, offset: u64) -> u64 {
        if self.ctl & (ENABLE | IMASK) != ENABLE {
            return NEVER;
        }
        // The offset may wrap around: compare where the guest does, then go back by distance.
        now.saturating_add(self.cval.saturating_sub(now.wrapping_sub(offset)))
    }

    /// Reads a register.
    pub const fn read(&self, register: Register, count: u64) -> u64 {
        match register {
            // ISTATUS is UNKNOWN while the timer is disabled; 0, then.
            Register::Ctl if self.is_met(count) => self.ctl | ISTATUS,
            Register::Ctl => self.ctl,
            Register::Cval => self.cval,
            Register::Tval => self.cval.wrapping_sub(count) & 0xffff_ffff,
        }
    }

    /// Writes a register.
    pub const fn write(&mut self, register: Register, value: u64, count: u64) {
        match register {
            Register::Ctl => self.ctl = value & (ENABLE | IMASK),
            Register::Cval => self.cval = value,
            Register::Tval => {
                self.cval = count.wrapping_add((value & 0xffff_ffff) as i32 as u64);
            }
        }
    }
}

/// The earlier of the deadlines of a vCPU's two timers, and of a WFIT's limit (a value of the
/// virtual counter), for [`mvirt_abi::Exit::Wait`].
pub fn wake_at(virt: &Timer, phys: &Timer, limit: Option<u64>, now: u64, offset: u64) -> u64 {
    // WFIT ends as a timer with this compare value fires.
    let limit = limit.map_or(NEVER, |cval| Timer::new(ENABLE, cval).deadline(now, offset));
    virt.deadline(now, offset)
        .min(phys.deadline(now, 0))
        .min(limit)
}

/// When a vCPU that sleeps has to be looked at again: the next of its timers that is not due yet. One
/// that is due already has its line high: if that did not wake the vCPU, time will not.
pub fn next_at(virt: &Timer, phys: &Timer, now: u64, offset: u64) -> u64 {
    let coming = |at: u64| if at > now { at } else { NEVER };
    coming(virt.deadline(now, offset)).min(coming(phys.deadline(now, 0)))
}

#[cfg(test)]
mod tests;
