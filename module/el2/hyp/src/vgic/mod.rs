// SPDX-License-Identifier: GPL-2.0
//! A VM's GICv3: distributor, redistributors, CPU interfaces by list registers. No ITS, no LPIs.
//!
//! [`Vgic`] is part of its VM and under the VM's lock; a [`CpuInterface`] belongs to its vCPU and so
//! to the CPU that runs it. `arch` calls, with the lock held,
//!
//! ```text
//!   flush (fills the list registers) -> the guest runs -> sync (folds them back)
//! ```
//!
//! A vCPU between `flush` and `sync` is *inside*. What happens to an interrupt that an inside
//! vCPU has in a list register is visible at its next `sync`; a change from elsewhere is noted in the
//! [`Irq`] and answered in a *wake mask*: the vCPUs, one bit each, that have to come out and go through
//! `sync` and `flush`, or to wake up. The mask may hold the caller's own bit, which then has to
//! `flush` before it goes on. See Documentation/vgic.rst.
//!
//! # Invariants
//!
//! * An interrupt is in one list register of the VM at most, and its `IN_LR` says so.
//! * The hints have a bit for each interrupt that is a candidate (`Irq::is_candidate`), and for no
//!   other: `Vgic::put` is the only writer of interrupts.

mod cpu_registers;
mod inject;
mod interface;
mod irq;
mod lists;
mod map;
mod mmio;
mod resample;
mod setup;

use mvirt_abi::{MAX_IRQS, MAX_VCPUS};

pub use inject::Listed;
pub use interface::{CpuInterface, Hardware, MAX_LRS};
pub use irq::Irq;
pub use mmio::{Access, MmioResult};

use irq::flag;
use map::Map;

/// SGIs and PPIs: each vCPU has its own.
const PRIVATE: u32 = 32;
/// SPIs of a VM at most.
pub const MAX_SPIS: usize = MAX_IRQS as usize - PRIVATE as usize;
/// Words of 32 SPIs.
const SPI_WORDS: usize = MAX_SPIS.div_ceil(32);

/// The PPI of the virtual timer. It and [`PTIMER`] are EL2's to set, nobody else's.
pub const VTIMER: u32 = 27;
/// The PPI of the physical timer.
pub const PTIMER: u32 = 30;

/// The GIC of a VM.
#[derive(Debug)]
pub struct Vgic<'m> {
    spis: &'m mut [Irq],
    /// GICD_IROUTER of each, as it was written: what is in `spis` is what it comes to.
    routes: &'m mut [u32],
    private: [[Irq; PRIVATE as usize]; MAX_VCPUS],
    /// Candidates among the private ones of each vCPU.
    private_hint: [u32; MAX_VCPUS],
    /// Candidates among the SPIs.
    spi_hint: [u32; SPI_WORDS],
    /// The words of `spi_hint` that are not 0.
    spi_words: u32,
    /// The wake mask of the call that is under way.
    wake: u32,
    /// The words of SPIs with one that ended and that the host was not told of.
    ended_words: u32,
    /// GICD_CTLR: the enables of the groups, bits 1:0.
    enables: u32,
    map: Map,
}

const _: () = assert!(size_of::<Vgic<'_>>() < 1536);

impl<'m> Vgic<'m> {
    /// A GIC that has no addresses yet, with [`MAX_SPIS`] interrupts that are [`Irq::RESET`], and as many
    /// routes that are 0.
    pub fn new(spis: &'m mut [Irq], routes: &'m mut [u32]) -> Vgic<'m> {
        let mut bank = [Irq::SGI; PRIVATE as usize];
        bank[16..].fill(Irq::PPI);
        Vgic {
            spis,
            routes,
            private: [bank; MAX_VCPUS],
            private_hint: [0; MAX_VCPUS],
            spi_hint: [0; SPI_WORDS],
            spi_words: 0,
            wake: 0,
            ended_words: 0,
            enables: 0,
            map: Map::EMPTY,
        }
    }

    /// Takes the tables of SPIs and routes back: there are none any more.
    pub fn take_tables(&mut self) -> (&'m mut [Irq], &'m mut [u32]) {
        (
            core::mem::take(&mut self.spis),
            core::mem::take(&mut self.routes),
        )
    }

    /// The interrupt `intid` as `vcpu` sees it.
    fn irq(&self, vcpu: usize, intid: u32) -> Option<Irq> {
        let n = intid as usize;
        match n.checked_sub(PRIVATE as usize) {
            None => self.private.get(vcpu)?.get(n).copied(),
            Some(n) => self.spis.get(n).copied(),
        }
    }

    /// Changes an interrupt: keeps the hints, and notes who has to look at it.
    fn put(&mut self, vcpu: usize, intid: u32, new: Irq) {
        let n = intid as usize;
        let spi = n.checked_sub(PRIVATE as usize);
        let slot = match spi {
            None => self.private.get_mut(vcpu).and_then(|bank| bank.get_mut(n)),
            Some(n) => self.spis.get_mut(n),
        };
        let Some(slot) = slot else { return };
        if *slot == new {
            return;
        }
        *slot = new;
        let candidate = new.is_candidate();
        let bit = 1 << (intid % 32);
        let hint = match spi {
            None => &mut self.private_hint[vcpu],
            Some(n) => &mut self.spi_hint[n / 32],
        };
        *hint = if candidate { *hint | bit } else { *hint & !bit };
        if let Some(n) = spi {
            let word = 1 << (n / 32);
            let some = *hint != 0;
            self.spi_words = if some {
                self.spi_words | word
            } else {
                self.spi_words & !word
            };
        }
        if candidate || new.has(flag::IN_LR) {
            if let Some(who) = serves(vcpu, intid, new) {
                self.wake |= 1 << who;
            }
        }
    }

    /// Ends a call: who has to come out or to wake up, and whether the host has to be told of ends.
    fn take_wake(&mut self) -> u64 {
        let wake = core::mem::take(&mut self.wake);
        u64::from(wake & self.map.present()) | self.ended_flag()
    }

    /// Whether the guest takes this interrupt's group, at the distributor and at its interface.
    fn takes(&self, irq: Irq, iface: &CpuInterface) -> bool {
        self.enables >> irq.group() & 1 == 1 && iface.takes_group(irq.group())
    }
}

/// Which vCPU has to have an interrupt in a list register, if there is one with this number: who
/// acknowledged it, else the one that it is for.
fn serves(vcpu: usize, intid: u32, irq: Irq) -> Option<usize> {
    if intid < PRIVATE {
        return Some(vcpu);
    }
    let target = usize::from(irq.target());
    let target = (target < MAX_VCPUS).then_some(target);
    irq.owner().or(target)
}
