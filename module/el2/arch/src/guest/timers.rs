// SPDX-License-Identifier: GPL-2.0
//! The comparators of the generic timer while a guest runs.
//!
//! CNTV is the guest's own, which it programs without a trap. CNTHP is EL2's, and counts for the
//! guest's physical timer, which traps. Both are off while the host runs.
//!
//! Why unsafe: timer and interrupt controller registers are written.

use core::arch::asm;

use mvirt_hyp::guest::timer::{Timer, NEVER};
use mvirt_hyp::vm::vcpu::Vcpu;

use crate::cpu::PerCpu;
use crate::layout::gicr;
use crate::sysreg::{isb, read_sysreg, set_host_cntv_ctl, write_sysreg};

/// INTID of the virtual timer's PPI, for the guest and of the machine (Arm BSA, table "PPI").
pub const VTIMER: u32 = 27;
/// INTID of the physical timer's PPI, for the guest.
pub const PTIMER: u32 = 30;

/// The physical counter, not read ahead of what came before.
pub fn now() -> u64 {
    isb();
    read_sysreg!("cntpct_el0")
}

/// Puts a vCPU's timers in.
pub fn load(vcpu: &Vcpu) {
    // SAFETY: CNTV is the guest's from here on.
    unsafe {
        write_sysreg!("cntv_cval_el0", vcpu.vtimer.cval());
        // The comparator before the enable.
        isb();
        write_sysreg!("cntv_ctl_el0", vcpu.vtimer.ctl());
    }
    arm(&vcpu.ptimer);
}

/// Lets CNTHP fire when the guest's physical timer is due; not if it is due already, or off.
pub fn arm(timer: &Timer) {
    let now = now();
    let due = timer.deadline(now, 0);
    let wanted = due != NEVER && due > now;
    // SAFETY: CNTHP is EL2's own.
    unsafe {
        if wanted {
            write_sysreg!("cnthp_cval_el2", due);
            isb();
        }
        write_sysreg!("cnthp_ctl_el2", u64::from(wanted));
    }
}

/// Takes a vCPU's timers out.
pub fn save(vcpu: &mut Vcpu) {
    vcpu.vtimer = vtimer();
    // SAFETY: the guest has left; the host uses neither.
    unsafe {
        write_sysreg!("cntv_ctl_el0", 0);
        // The host can read it.
        write_sysreg!("cntv_cval_el0", 0);
        write_sysreg!("cnthp_ctl_el2", 0);
    }
    isb();
}

/// Turns CNTHP off. Nobody has set it up on a CPU that EL2 was not on before: after a reset it is UNKNOWN
/// (Arm ARM, CNTHP_CTL_EL2), and the host, which has its interrupt enabled, could not turn it off.
pub fn own_off() {
    // SAFETY: CNTHP is EL2's own.
    unsafe { write_sysreg!("cnthp_ctl_el2", 0) };
    isb();
}

/// Turns both off on a CPU that was reset. CNTV is UNKNOWN there too, and off while the host runs.
pub fn both_off() {
    set_host_cntv_ctl(0);
    own_off();
}

/// The virtual timer as it is now.
pub fn vtimer() -> Timer {
    Timer::new(read_sysreg!("cntv_ctl_el0"), read_sysreg!("cntv_cval_el0"))
}

/// Whether the virtual timer's line is up: ENABLE and ISTATUS set, IMASK clear.
pub fn vtimer_level() -> bool {
    read_sysreg!("cntv_ctl_el0") & 0b111 == 0b101
}

/// GICR_ISACTIVER0 and GICR_ICACTIVER0, in the SGI frame.
const GICR_ISACTIVER0: u64 = 0x300;
const GICR_ICACTIVER0: u64 = 0x380;

/// Makes the virtual timer's interrupt of this CPU active, so that it does not fire, or inactive.
///
/// Not by acknowledging it: between a look at the next interrupt and the acknowledge a host's one
/// may come first, and if it is an edge it would be lost.
pub fn set_active(active: bool) {
    let at = if active {
        GICR_ISACTIVER0
    } else {
        GICR_ICACTIVER0
    };
    let register = (gicr(u64::from(PerCpu::current().index())) + at) as *mut u32;
    // The read back waits for the write's effect, and the barrier for the read: the guest's end of the
    // interrupt comes after it. A load-acquire, for what erratum 832075 says of plain ones.
    // SAFETY: `boot` mapped the SGI frame of this CPU's redistributor there, as Device memory; one
    // bit is set, the others are left alone.
    unsafe {
        register.write_volatile(1 << VTIMER);
        asm!("ldar {:w}, [{}]", "dsb sy", out(reg) _, in(reg) register,
             options(nostack, preserves_flags));
    }
}
