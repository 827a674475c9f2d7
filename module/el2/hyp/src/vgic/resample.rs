// SPDX-License-Identifier: GPL-2.0
//! Interrupts whose ends the host hears of: KVM_IRQFD_FLAG_RESAMPLE.
//!
//! The line of a device's level-sensitive interrupt is the host's to lower. Where many devices share a
//! line nobody but the guest knows when they all had their turn: at the end (the deactivation) of the
//! interrupt the line goes low, and each device that is still not content raises it again. So an SPI
//! that the host marked goes
//!
//! ```text
//!   low --host--> high --acknowledged, ended--> low, ended --IrqEnded--> low
//!                  ^                                 |
//!                  +--------------host---------------+  (the end stays to be told)
//! ```
//!
//! The line goes low here, at the end itself: an entry that comes before the host has heard of it
//! does not bring the same interrupt again. Nothing is told of an interrupt whose line is low, so
//! the host learns when the guest ended what the host itself had raised, and no more. An
//! edge-triggered interrupt is not held by its line: of its ends nothing is told, as with KVM.

use mvirt_abi::{Error, WAKE_ENDED};

use super::irq::flag;
use super::{Irq, Vgic, PRIVATE};

impl Vgic<'_> {
    /// Marks an SPI, or takes the mark away with all that was to be told.
    ///
    /// [`Error::Busy`] before the GIC is initialised; [`Error::Invalid`] for what is no SPI, and for
    /// `wanted` above 1.
    pub fn set_resampled(&mut self, intid: u64, wanted: u64) -> Result<(), Error> {
        self.map.expect_ready()?;
        let intid = u32::try_from(intid).map_err(|_| Error::Invalid)?;
        if intid < PRIVATE || intid >= self.map.nr_irqs() || wanted > 1 {
            return Err(Error::Invalid);
        }
        if let Some(irq) = self.irq(0, intid) {
            self.put(0, intid, irq.resampled(wanted == 1));
        }
        // No list register is affected.
        self.wake = 0;
        self.note_word(intid);
        Ok(())
    }

    /// Takes what is to be told of 32 interrupts: the first one's INTID, and a bit for each that ended.
    /// No bit: there is no more.
    pub fn take_ended(&mut self) -> (u32, u32) {
        if self.ended_words == 0 {
            return (0, 0);
        }
        let first = PRIVATE + self.ended_words.trailing_zeros() * 32;
        let mut ended = 0;
        for n in 0..32 {
            if let Some(irq) = self.irq(0, first + n).filter(|irq| irq.has_ended()) {
                ended |= 1 << n;
                self.put(0, first + n, irq.told());
            }
        }
        self.wake = 0;
        self.note_word(first);
        (first, ended)
    }

    /// [`WAKE_ENDED`] if there is anything to be told.
    pub(super) const fn ended_flag(&self) -> u64 {
        if self.ended_words == 0 {
            0
        } else {
            WAKE_ENDED
        }
    }

    /// The guest ends an interrupt otherwise than in a list register.
    pub(super) fn inactivate(&mut self, vcpu: usize, intid: u32, irq: Irq) {
        let mut new = irq.activated(false);
        // In a list register: whether it was acknowledged since is known when that comes back.
        if irq.has(flag::ACTIVE) && !irq.has(flag::IN_LR) {
            new = self.end(intid, new);
        }
        self.put(vcpu, intid, new);
    }

    /// What becomes of an interrupt, about to be put back, that the guest has ended.
    pub(super) fn end(&mut self, intid: u32, irq: Irq) -> Irq {
        if !irq.is_resampled() || !irq.line_pends() {
            return irq;
        }
        // Only SPIs are marked: there is such a word.
        self.ended_words |= 1 << ((intid - PRIVATE) / 32);
        irq.ended()
    }

    /// Keeps the summary of the word that has this SPI.
    fn note_word(&mut self, intid: u32) {
        let word = (intid - PRIVATE) / 32;
        let first = PRIVATE + word * 32;
        let some = (first..first + 32).any(|n| self.irq(0, n).is_some_and(Irq::has_ended));
        if !some {
            self.ended_words &= !(1 << word);
        }
    }
}
