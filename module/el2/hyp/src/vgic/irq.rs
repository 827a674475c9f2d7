// SPDX-License-Identifier: GPL-2.0
//! One interrupt of a guest's GIC, in four bytes: 988 SPIs fit one page.

/// The flags of an interrupt that its registers show, and where it is.
pub(super) mod flag {
    /// GICD_ISENABLER: it may become a list register's.
    pub const ENABLED: u8 = 1 << 0;
    /// The latch of the pending state: an edge, an SGI or a write to GICD_ISPENDR.
    pub const LATCH: u8 = 1 << 1;
    /// The line is high. It makes a level-sensitive interrupt pending, without the latch.
    pub const LINE: u8 = 1 << 2;
    /// Acknowledged and not deactivated yet, as of the last sync of its owner.
    pub const ACTIVE: u8 = 1 << 3;
    /// Edge-triggered (GICD_ICFGR).
    pub const EDGE: u8 = 1 << 4;
    /// Group 1 (GICD_IGROUPR).
    pub const GROUP1: u8 = 1 << 5;
    /// A physical interrupt stands behind it, which the guest's deactivation deactivates too.
    pub const HW: u8 = 1 << 6;
    /// The owner has it in a list register: ACTIVE is as of the last sync.
    pub const IN_LR: u8 = 1 << 7;
}

/// Bits of `place` above the owner.
mod place {
    /// The vCPU that has it in a list register, or that acknowledged it.
    pub const OWNER: u8 = 0xf;
    /// The list register took the latch: it comes back if the guest does not acknowledge it.
    pub const LATCH: u8 = 1 << 4;
    /// The active state was written while in a list register: what is there does not count.
    pub const FORCED: u8 = 1 << 5;
    /// The host wants to hear of its ends: see [`resample`](super::super::resample).
    pub const RESAMPLED: u8 = 1 << 6;
    /// It ended, and the host was not told yet.
    pub const ENDED: u8 = 1 << 7;
    /// What stays whoever has it.
    pub const LASTING: u8 = RESAMPLED | ENDED;
}

/// No vCPU.
const NOBODY: u8 = 0xf;

/// The bits of priority that there are: 32 levels, as in KVM.
const PRIORITY: u8 = 0xf8;

/// An interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Irq {
    /// GICD_IPRIORITYR.
    priority: u8,
    flags: u8,
    /// An SPI: GICD_IROUTER, or 0xff if it is more than that (then there is no such CPU). A
    /// private interrupt with HW: the INTID of the physical one.
    target: u8,
    place: u8,
}

const _: () = assert!(size_of::<Irq>() == 4);

impl Irq {
    /// An SPI after reset: level-sensitive, group 0, not enabled, for the CPU with affinity 0.
    pub const RESET: Irq = Irq {
        priority: 0,
        flags: 0,
        target: 0,
        place: NOBODY,
    };
    /// An SGI after reset: as KVM has it, enabled and in group 1.
    pub(super) const SGI: Irq = Irq {
        flags: flag::ENABLED | flag::EDGE | flag::GROUP1,
        ..Irq::RESET
    };
    /// A PPI after reset: as KVM has it, in group 1.
    pub(super) const PPI: Irq = Irq {
        flags: flag::GROUP1,
        ..Irq::RESET
    };

    /// Whether any of these flags is set.
    pub(super) const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// With these flags set or cleared.
    #[must_use]
    pub(super) const fn with(self, flags: u8, set: bool) -> Irq {
        let flags = if set {
            self.flags | flags
        } else {
            self.flags & !flags
        };
        Irq { flags, ..self }
    }

    /// Its priority.
    pub(super) const fn priority(self) -> u8 {
        self.priority
    }

    /// With another priority.
    #[must_use]
    pub(super) const fn with_priority(self, priority: u8) -> Irq {
        let priority = priority & PRIORITY;
        Irq { priority, ..self }
    }

    /// The number of its group.
    pub(super) const fn group(self) -> u32 {
        self.has(flag::GROUP1) as u32
    }

    /// The target, or the physical INTID.
    pub(super) const fn target(self) -> u8 {
        self.target
    }

    /// With another target, or physical INTID.
    #[must_use]
    pub(super) const fn with_target(self, target: u8) -> Irq {
        Irq { target, ..self }
    }

    /// Who has it in a list register or acknowledged it.
    pub(super) const fn owner(self) -> Option<usize> {
        match self.place & place::OWNER {
            NOBODY => None,
            owner => Some(owner as usize),
        }
    }

    /// Whether it is set by its line.
    pub(super) const fn line_pends(self) -> bool {
        self.flags & (flag::EDGE | flag::LINE) == flag::LINE
    }

    /// The latch, wherever it is.
    pub(super) const fn latched(self) -> bool {
        self.has(flag::LATCH) || self.place & place::LATCH != 0
    }

    /// Whether it is pending, apart from what a list register may have of it.
    pub(super) const fn pends(self) -> bool {
        self.has(flag::LATCH) || self.line_pends()
    }

    /// Whether GICD_ISPENDR shows it.
    pub(super) const fn shows_pending(self) -> bool {
        self.latched() || self.line_pends()
    }

    /// Whether it may need a list register: it is in none, and active, or pending and enabled.
    pub(super) const fn is_candidate(self) -> bool {
        let pending = self.has(flag::ENABLED) && self.pends();
        !self.has(flag::IN_LR) && (self.has(flag::ACTIVE) || pending)
    }

    /// Taken by a list register of `vcpu`, with its pending state if `pending`.
    #[must_use]
    pub(super) const fn listed(self, vcpu: usize, pending: bool) -> Irq {
        // Lossless: below MAX_VCPUS.
        let mut place = vcpu as u8 | self.place & place::LASTING;
        let mut flags = self.flags | flag::IN_LR;
        if pending && self.has(flag::LATCH) {
            place |= place::LATCH;
            flags &= !flag::LATCH;
        }
        Irq {
            flags,
            place,
            ..self
        }
    }

    /// Back from a list register that left it `pending` and `active`.
    #[must_use]
    pub(super) const fn folded(self, pending: bool, active: bool) -> Irq {
        let mut irq = self.with(flag::IN_LR, false);
        if pending && self.place & place::LATCH != 0 {
            irq = irq.with(flag::LATCH, true);
        }
        if self.place & place::FORCED == 0 {
            irq = irq.with(flag::ACTIVE, active);
        }
        irq.place &= place::OWNER | place::LASTING;
        if irq.has(flag::ACTIVE) {
            irq
        } else {
            irq.unowned()
        }
    }

    /// Nobody's.
    const fn unowned(self) -> Irq {
        let place = self.place & !place::OWNER | NOBODY;
        Irq { place, ..self }
    }

    /// With the latch cleared, in a list register too.
    #[must_use]
    pub(super) const fn unlatched(self) -> Irq {
        let mut irq = self.with(flag::LATCH, false);
        irq.place &= !place::LATCH;
        irq
    }

    /// With the active state written.
    #[must_use]
    pub(super) const fn activated(self, active: bool) -> Irq {
        let mut irq = self.with(flag::ACTIVE, active);
        if self.has(flag::IN_LR) {
            irq.place |= place::FORCED;
            irq
        } else if active {
            irq
        } else {
            irq.unowned()
        }
    }

    /// Whether the host hears of its ends.
    pub(super) const fn is_resampled(self) -> bool {
        self.place & place::RESAMPLED != 0
    }

    /// With that wish; without it nothing is left to be told.
    #[must_use]
    pub(super) const fn resampled(self, wanted: bool) -> Irq {
        let place = if wanted {
            self.place | place::RESAMPLED
        } else {
            self.place & !place::LASTING
        };
        Irq { place, ..self }
    }

    /// Whether it ended and the host was not told yet.
    pub(super) const fn has_ended(self) -> bool {
        self.place & place::ENDED != 0
    }

    /// Ended: its line is low, and the host is to be told.
    #[must_use]
    pub(super) const fn ended(self) -> Irq {
        let mut irq = self.with(flag::LINE, false);
        irq.place |= place::ENDED;
        irq
    }

    /// The host was told.
    #[must_use]
    pub(super) const fn told(self) -> Irq {
        let mut irq = self;
        irq.place &= !place::ENDED;
        irq
    }
}
