// SPDX-License-Identifier: GPL-2.0
//! Which SPI a GSI is: KVM_SET_GSI_ROUTING.
//!
//! There is one interrupt controller, whose pins are the SPIs. An MSI needs an ITS, and there is none.
//! No lock: they are part of what the irqfds' lock guards.

use crate::abi::MAX_IRQS;
use crate::bindings;
use crate::user;
use core::mem::size_of;
use kernel::prelude::*;

/// INTIDs below this are a vCPU's own.
pub(crate) const PRIVATE_IRQS: u32 = 32;
/// KVM_IRQCHIP_NUM_PINS.
const PINS: u32 = MAX_IRQS - PRIVATE_IRQS;
/// KVM_MAX_IRQ_ROUTES: GSIs, and entries of a table.
pub(crate) const MAX_ROUTES: u32 = 4096;

/// The routes of a VM.
pub(crate) enum Routes {
    /// Each GSI is the SPI of its number.
    Default,
    /// GSI and pin, as they were given.
    Table(KVec<(u32, u32)>),
}

impl Routes {
    /// Reads a table of user space's.
    pub(crate) fn read(arg: usize) -> Result<Routes> {
        // What struct kvm_irq_routing has in front of the entries.
        let [nr, flags]: [u32; 2] = user::read(arg)?;
        if nr > MAX_ROUTES || flags != 0 {
            return Err(EINVAL);
        }
        let mut table = KVec::with_capacity(nr as usize, GFP_KERNEL_ACCOUNT)?;
        let mut seen = [0u64; MAX_ROUTES as usize / 64];
        let mut at = arg.wrapping_add(size_of::<[u32; 2]>());
        for _ in 0..nr {
            let (gsi, pin) = entry(&user::read(at)?)?;
            // A GSI is one pin of the one controller.
            let (word, bit) = (&mut seen[gsi as usize / 64], 1 << (gsi % 64));
            if *word & bit != 0 {
                return Err(EINVAL);
            }
            *word |= bit;
            table.push((gsi, pin), GFP_KERNEL_ACCOUNT)?;
            at = at.wrapping_add(size_of::<bindings::kvm_irq_routing_entry>());
        }
        Ok(Routes::Table(table))
    }

    /// The SPI that a GSI is, by its INTID; 0 if it is none.
    pub(crate) fn intid(&self, gsi: u32) -> u32 {
        let pin = match self {
            Routes::Default => Some(gsi).filter(|gsi| *gsi < PINS),
            Routes::Table(table) => {
                let found = table.iter().find(|(of, _)| *of == gsi);
                found.map(|(_, pin)| *pin)
            }
        };
        pin.map_or(0, |pin| PRIVATE_IRQS + pin)
    }

    /// The GSI of an SPI: the last one, where there are several, as KVM has it.
    pub(crate) fn gsi(&self, intid: u32) -> Option<u32> {
        let pin = intid.checked_sub(PRIVATE_IRQS)?;
        match self {
            Routes::Default => Some(pin),
            Routes::Table(table) => {
                let found = table.iter().rev().find(|(_, to)| *to == pin);
                found.map(|(gsi, _)| *gsi)
            }
        }
    }
}

/// GSI and pin of an entry. EINVAL for a GSI above the limit, flags, another kind than a pin of the
/// controller, and a pin that it has not.
fn entry(entry: &bindings::kvm_irq_routing_entry) -> Result<(u32, u32)> {
    if entry.gsi >= MAX_ROUTES
        || entry.flags != 0
        || entry.type_ != bindings::KVM_IRQ_ROUTING_IRQCHIP
    {
        return Err(EINVAL);
    }
    // SAFETY: all members of the union are integers.
    let chip = unsafe { entry.u.irqchip };
    if chip.irqchip != 0 || chip.pin >= PINS {
        return Err(EINVAL);
    }
    Ok((entry.gsi, chip.pin))
}
