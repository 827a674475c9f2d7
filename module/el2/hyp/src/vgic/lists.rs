// SPDX-License-Identifier: GPL-2.0
//! List registers: what goes into them before an entry, what comes back after an exit.
//!
//! They get the interrupts of highest priority, active or deliverable, in one order; the active one
//! first where two are equal. If not all fit, one list register is the best pending one's in any
//! case: with EOImode 1 a guest may take it although all that is active is of higher priority. What
//! is left outside needs a maintenance interrupt when its turn comes:
//!
//! ```text
//!   pending ones outside          NPIE, when nothing is pending inside
//!                                 VGrp<n>DIE, when the guest closes the group of those inside
//!   active ones outside           LRENPIE, when the guest ends one (EOImode 0); with EOImode 1
//!                                 ICC_DIR_EL1 traps
//!   group closed by the guest     VGrp<n>EIE, when it opens it
//!   level-sensitive, line high    the list register's EOI, so that it pends again
//! ```
//!
//! The active ones outside are ended in the order of their priorities: with EOImode 0 that is how
//! a guest ends them.

use super::interface::{hcr, lr, vmcr};
use super::irq::flag;
use super::{serves, CpuInterface, Hardware, Irq, Listed, Vgic, MAX_LRS, PRIVATE};

/// Where a candidate is in the order: priority, active before pending, INTID. Lower is first.
fn rank(intid: u32, irq: Irq) -> u32 {
    let waits = u32::from(!irq.has(flag::ACTIVE));
    u32::from(irq.priority()) << 16 | waits << PENDING_SHIFT | intid
}

/// In [`rank`]: it is not active.
const PENDING_SHIFT: u32 = 15;
/// In [`rank`]: the INTID.
const INTID: u32 = 0x3ff;

fn is_pending(rank: u32) -> bool {
    rank >> PENDING_SHIFT & 1 == 1
}

/// The candidates of a vCPU: a copy of the hints, taken apart bit by bit.
struct Candidates {
    bits: u32,
    first: u32,
    words: u32,
}

impl Candidates {
    fn next(&mut self, vgic: &Vgic<'_>) -> Option<u32> {
        while self.bits == 0 {
            if self.words == 0 {
                return None;
            }
            let word = self.words.trailing_zeros();
            self.words &= self.words - 1;
            self.first = PRIVATE + word * 32;
            self.bits = vgic.spi_hint[word as usize];
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(self.first + bit)
    }
}

/// The interrupts chosen for the list registers, in order.
struct Chosen {
    ranks: [u32; MAX_LRS],
    len: usize,
    /// Something active, or pending, did not fit.
    left_active: bool,
    left_pending: bool,
}

impl Chosen {
    fn leave(&mut self, rank: u32) {
        if is_pending(rank) {
            self.left_pending = true;
        } else {
            self.left_active = true;
        }
    }

    /// Takes one more, of at most `room`.
    fn add(&mut self, rank: u32, room: usize) {
        if self.len == room {
            let last = self.ranks[room - 1];
            if rank > last {
                return self.leave(rank);
            }
            self.leave(last);
            self.len -= 1;
        }
        let mut at = self.len;
        while at > 0 && self.ranks[at - 1] > rank {
            self.ranks[at] = self.ranks[at - 1];
            at -= 1;
        }
        self.ranks[at] = rank;
        self.len += 1;
    }
}

impl Vgic<'_> {
    fn candidates(&self, vcpu: usize) -> Candidates {
        Candidates {
            bits: self.private_hint[vcpu],
            first: 0,
            words: self.spi_words,
        }
    }

    /// The next candidate that is this vCPU's.
    fn next_of(&self, candidates: &mut Candidates, vcpu: usize) -> Option<(u32, Irq)> {
        loop {
            let intid = candidates.next(self)?;
            let irq = self.irq(vcpu, intid)?;
            if serves(vcpu, intid, irq) == Some(vcpu) {
                return Some((intid, irq));
            }
        }
    }

    /// Fills the list registers of a vCPU that is about to enter. It must have been synced since its
    /// last exit.
    pub fn flush(&mut self, vcpu: usize, iface: &mut CpuInterface, hw: &Hardware) {
        iface.hcr = hcr::EN;
        if hw.traps_dir {
            // Whether an SPI is active on another vCPU is not known here: each deactivation that is
            // apart from its EOI comes to `deactivate`.
            iface.hcr |= hcr::TDIR;
        }
        if self.private_hint[vcpu] | self.spi_words != 0 {
            self.fill(vcpu, iface, hw);
        }
    }

    fn fill(&mut self, vcpu: usize, iface: &mut CpuInterface, hw: &Hardware) {
        let room = hw.nr_lrs.min(MAX_LRS);
        let mut chosen = Chosen {
            ranks: [0; MAX_LRS],
            len: 0,
            left_active: false,
            left_pending: false,
        };
        let mut best = u32::MAX;
        let mut candidates = self.candidates(vcpu);
        while let Some((intid, irq)) = self.next_of(&mut candidates, vcpu) {
            let rank = rank(intid, irq);
            if is_pending(rank) {
                if !self.takes(irq, iface) {
                    if self.enables >> irq.group() & 1 == 1 {
                        iface.hcr |= hcr::VGRP0EIE << (2 * irq.group());
                    }
                    continue;
                }
                best = best.min(rank);
            }
            chosen.add(rank, room);
        }
        if chosen.left_pending {
            let last = chosen.ranks[room - 1];
            let some = chosen.ranks[..room].iter().any(|rank| is_pending(*rank));
            if !some {
                chosen.leave(last);
                chosen.ranks[room - 1] = best;
            }
            for group in 0..2 {
                if iface.takes_group(group) {
                    iface.hcr |= hcr::VGRP0DIE << (2 * group);
                }
            }
            iface.hcr |= hcr::NPIE;
        }
        if chosen.left_active {
            iface.hcr |= hcr::LRENPIE;
        }
        for n in 0..chosen.len {
            let intid = chosen.ranks[n] & INTID;
            if let Some(irq) = self.irq(vcpu, intid) {
                iface.lr[n] = self.list(vcpu, intid, irq, iface);
            }
        }
        iface.used = chosen.len;
        self.wake = 0;
    }

    /// Moves an interrupt to a list register: what goes there.
    fn list(&mut self, vcpu: usize, intid: u32, irq: Irq, iface: &CpuInterface) -> u64 {
        let active = irq.has(flag::ACTIVE);
        let level = !irq.has(flag::EDGE);
        let deliverable = irq.has(flag::ENABLED) && irq.pends() && self.takes(irq, iface);
        // Pending behind active is for edges only, and not for one that has since been routed elsewhere:
        // what follows the active state is asked for when that ends. With HW it may not be both at all
        // (IHI 0069, ICH_LR<n>_EL2.HW).
        let here = intid < PRIVATE || usize::from(irq.target()) == vcpu;
        let pending = deliverable && !(active && (level || !here));
        let mut value = u64::from(intid)
            | u64::from(irq.priority()) << lr::PRIORITY_SHIFT
            | u64::from(irq.group()) << lr::GROUP_SHIFT;
        if active {
            value |= lr::ACTIVE;
        }
        if pending {
            value |= lr::PENDING;
        }
        if irq.has(flag::HW) && !irq.has(flag::LATCH) && (active || irq.line_pends()) {
            // Not with a pending state that the guest wrote: nothing physical need be active then, and
            // behind an active state it needs the maintenance interrupt.
            value |= lr::HW | u64::from(irq.target()) << lr::PINTID_SHIFT;
        } else if irq.line_pends() || irq.pends() && !pending {
            value |= lr::EOI;
        }
        self.put(vcpu, intid, irq.listed(vcpu, pending));
        value
    }

    /// Makes an SGI of the vCPU's own pending, if that takes one list register and no other change; see
    /// [`sgi_to_self`](Self::sgi_to_self).
    pub(super) fn list_one(
        &mut self,
        vcpu: usize,
        intid: u32,
        iface: &mut CpuInterface,
        hw: &Hardware,
        empty: u64,
    ) -> Option<Listed> {
        let mut irq = self.irq(vcpu, intid)?;
        if !irq.has(flag::ENABLED | flag::IN_LR | flag::ACTIVE) {
            // No candidate, before or after: what the list registers have stays right.
            self.put(vcpu, intid, irq.with(flag::LATCH, true));
            self.wake = 0;
            return Some(Listed::Not);
        }
        if iface.hcr & !(hcr::EN | hcr::TDIR) != 0 {
            // Something waits outside.
            return None;
        }
        let at = if irq.has(flag::IN_LR) {
            let lists = &iface.lr[..iface.used.min(MAX_LRS)];
            let at = lists
                .iter()
                .position(|value| value & lr::INTID == u64::from(intid))?;
            if empty >> at & 1 == 0 {
                return None;
            }
            irq = irq.folded(false, false);
            at
        } else {
            iface.used
        };
        irq = irq.with(flag::LATCH, true);
        let deliverable = irq.has(flag::ENABLED) && self.takes(irq, iface);
        if at >= hw.nr_lrs.min(MAX_LRS) || irq.has(flag::ACTIVE) || !deliverable {
            return None;
        }
        iface.lr[at] = self.list(vcpu, intid, irq, iface);
        iface.used = iface.used.max(at + 1);
        self.wake = 0;
        Some(Listed::In(at))
    }

    /// Folds the list registers of a vCPU that came out back into the GIC, from their images. Answers
    /// the other vCPUs that have to look at what it left: an SPI that is now theirs.
    #[must_use = "an SPI that moved on has to reach its vCPU"]
    pub fn sync(&mut self, vcpu: usize, iface: &mut CpuInterface) -> u64 {
        self.wake = 0;
        let ended = iface.hcr >> hcr::EOICOUNT_SHIFT & hcr::EOICOUNT;
        if ended != 0 && iface.vmcr & vmcr::VEOIM == 0 {
            // Before the list registers are folded: what is a candidate now is outside of them.
            for _ in 0..ended {
                self.end_best(vcpu);
            }
        }
        for n in 0..iface.used.min(MAX_LRS) {
            let value = core::mem::take(&mut iface.lr[n]);
            iface.hw_ended |= value & (lr::HW | lr::PENDING | lr::ACTIVE) == lr::HW;
            // Lossless: ten bits.
            let intid = (value & lr::INTID) as u32;
            if let Some(irq) = self.irq(vcpu, intid) {
                let mut folded = irq.folded(value & lr::PENDING != 0, value & lr::ACTIVE != 0);
                // Without EOI the line was low when it was put there, and who raised it since made the
                // vCPU come out for that: what it ended, it had ended before.
                let told = value & lr::EOI != 0;
                if told && value & lr::PENDING == 0 && !folded.has(flag::ACTIVE) {
                    folded = self.end(intid, folded);
                }
                self.put(vcpu, intid, folded);
            }
        }
        iface.used = 0;
        self.take_wake() & !(1 << vcpu)
    }

    /// Ends the active interrupt of highest priority among those in no list register.
    fn end_best(&mut self, vcpu: usize) {
        let mut best = u32::MAX;
        let mut candidates = self.candidates(vcpu);
        while let Some((intid, irq)) = self.next_of(&mut candidates, vcpu) {
            if irq.has(flag::ACTIVE) {
                best = best.min(rank(intid, irq));
            }
        }
        let intid = best & INTID;
        if let (true, Some(irq)) = (best != u32::MAX, self.irq(vcpu, intid)) {
            self.inactivate(vcpu, intid, irq);
        }
    }

    /// The guest wrote ICC_DIR_EL1, which trapped: `vcpu` has been synced. Answers the wake mask.
    pub fn deactivate(&mut self, vcpu: usize, iface: &CpuInterface, intid: u32) -> u64 {
        self.wake = 0;
        // With EOImode 0 the write has no effect (IHI 0069, ICV_DIR_EL1).
        if iface.vmcr & vmcr::VEOIM != 0 && intid < self.map.nr_irqs() {
            if let Some(irq) = self.irq(vcpu, intid) {
                self.inactivate(vcpu, intid, irq);
            }
        }
        self.take_wake()
    }

    /// Whether a vCPU that waits would be woken: something is pending for it that its interface takes
    /// and its mask lets through. Of a vCPU inside the images count as they are.
    pub fn is_pending(&self, vcpu: usize, iface: &CpuInterface) -> bool {
        let mask = u64::from(iface.mask());
        for value in &iface.lr[..iface.used.min(MAX_LRS)] {
            let state = value & (lr::PENDING | lr::ACTIVE);
            let group = (value >> lr::GROUP_SHIFT & 1) as u32;
            let priority = value >> lr::PRIORITY_SHIFT & 0xff;
            if state == lr::PENDING && iface.takes_group(group) && priority < mask {
                return true;
            }
        }
        let mut candidates = self.candidates(vcpu);
        while let Some((_, irq)) = self.next_of(&mut candidates, vcpu) {
            let waits = !irq.has(flag::ACTIVE) && u64::from(irq.priority()) < mask;
            if waits && self.takes(irq, iface) {
                return true;
            }
        }
        false
    }
}
