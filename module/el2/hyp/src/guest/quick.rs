// SPDX-License-Identifier: GPL-2.0
//! The traps whose answer is a constant of the VM: hypercalls that [`services`](super::services)
//! answers by itself, PSCI_VERSION, and reads of the ID registers.
//!
//! They go around the general decoding, as a guest's kernel makes them by the thousand when it boots
//! and a hypercall is how the cost of a hypervisor is measured. What they answer is what the general
//! path would: it is the same `classify` and the same `GuestIds`, and tests compare the two over all
//! that may come here. No state, no lock.

use super::event::is_legal;
use super::psci::VERSION;
use super::services::{classify, Offer, Service};
use super::sysreg::Context;
use crate::frame::Frame;
use crate::psci::Function;
use crate::trap::PSTATE_DONE;

/// ESR_EL2 of `hvc #0` in AArch64 state: EC 0x16, IL, ISS 0. Bits 63:32 are of other classes.
const HVC_0: u64 = 0x16 << 26 | 1 << 25;
/// ESR_EL2 of an MRS of the feature ID space, op0 3, op1 0, CRn 0, but for Op2, Rt and CRm.
const MRS_ID: u64 = 0x18 << 26 | 1 << 25 | 3 << 20 | 1;
const PSCI_VERSION: u64 = Function::Version.id() as u64;
/// The function identifier is W0.
const W0: u64 = 0xffff_ffff;
/// Op2, Rt and CRm.
const OP2_RT_CRM: u64 = 0x7 << 17 | 0x1f << 5 | 0xf << 1;

/// Answers the trap in the frame, if it is one of these; `false` if it is for the general path, which
/// finds the frame as it was.
#[inline(always)]
pub fn answer(frame: &mut Frame, esr: u64, offer: &Offer, context: &Context<'_>) -> bool {
    if !is_legal(frame.spsr) {
        return false;
    }
    if esr == HVC_0 {
        let [x0, x1, x2, x3, ..] = frame.x;
        let values = if x0 & W0 == PSCI_VERSION {
            [VERSION, 0, 0, 0]
        } else if let Service::Answer(values) = classify(0, [x0, x1, x2, x3], offer) {
            values
        } else {
            return false;
        };
        [frame.x[0], frame.x[1], frame.x[2], frame.x[3]] = values;
        return true;
    }
    if esr & !OP2_RT_CRM == MRS_ID {
        // Lossless: 3, 4 and 5 bits.
        let (op2, crm) = ((esr >> 17 & 0x7) as usize, (esr >> 1 & 0xf) as usize);
        if let Some(value) = context.ids.feature(crm, op2, context.has_gic) {
            frame.set_gp((esr >> 5 & 0x1f) as u8, value);
            frame.elr = frame.elr.wrapping_add(4);
            frame.spsr &= !PSTATE_DONE;
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
