// SPDX-License-Identifier: GPL-2.0
//! Maintenance by set and way: DC ISW, CSW and CISW.
//!
//! The operation itself is of no use to a guest, which neither knows the caches nor stays on a CPU. It
//! is what code does before it turns its caches off or on, and what that code wants is that memory
//! holds what the caches held. So all of the guest's memory is cleaned and invalidated, as KVM does
//! (`kvm_set_way_flush`, `kvm_toggle_cache`):
//!
//! ```text
//!   Idle --operation--> Watching, all is cleaned
//!          Watching --operation--> nothing more: one was one of thousands
//!          Watching --SCTLR_EL1.{M,C} changes--> all is cleaned again; Idle, if the caches are on now
//!          Watching --other write that traps, caches on--> Idle
//! ```
//!
//! While it watches, HCR_EL2.TVM is set: writes of the translation registers trap. The cleaning is in
//! steps, each a return to the host, until there is no page to go on with. No lock: it is part of its
//! vCPU.

/// SCTLR_EL1: the guest's data accesses are cacheable with both, M and C.
const SCTLR_CACHES: u64 = 1 << 0 | 1 << 2;

/// Where a vCPU is with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetWay {
    watches: bool,
    /// The guest's page to go on with.
    next: Option<u64>,
}

impl SetWay {
    /// DC ISW, CSW or CISW. Whether the cleaning begins, and with it the watch.
    pub fn operation(&mut self) -> bool {
        let begins = !self.watches;
        if begins {
            self.watches = true;
            self.next = Some(0);
        }
        begins
    }

    /// A write of a translation register, before and after which SCTLR_EL1 is as told. Whether the
    /// cleaning begins; [`watches`](Self::watches) may have changed.
    pub fn written(&mut self, before: u64, after: u64) -> bool {
        let on = |sctlr: u64| sctlr & SCTLR_CACHES == SCTLR_CACHES;
        let begins = self.watches && on(before) != on(after);
        if begins {
            self.next = Some(0);
        }
        if on(after) {
            self.watches = false;
        }
        begins
    }

    /// HCR_EL2.TVM is set for the guest.
    pub const fn watches(&self) -> bool {
        self.watches
    }

    /// The guest's page with which the cleaning goes on, before the guest runs.
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// A step is done: where to go on, or `None` if that was all.
    pub fn cleaned(&mut self, next: Option<u64>) {
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: u64 = 0x30d0_1805;
    const OFF: u64 = 0x30d0_1800;

    #[test]
    fn cleans_at_the_first_operation_and_when_the_caches_go_off_and_on() {
        let mut it = SetWay::default();
        assert_eq!((it.watches(), it.next()), (false, None));
        assert!(it.operation());
        assert_eq!((it.watches(), it.next()), (true, Some(0)));
        it.cleaned(Some(64));
        assert_eq!(it.next(), Some(64));
        it.cleaned(None);
        for _ in 0..3 {
            assert!(!it.operation());
            assert_eq!(it.next(), None);
        }
        assert!(it.written(ON, OFF));
        assert_eq!((it.watches(), it.next()), (true, Some(0)));
        it.cleaned(None);
        // The MMU without the cache is still off.
        assert!(!it.written(OFF, OFF | 1) && !it.written(OFF | 1, OFF | 4));
        assert!(it.watches());
        assert!(it.written(OFF, ON));
        assert_eq!((it.watches(), it.next()), (false, Some(0)));
        it.cleaned(None);
        // What may come late.
        assert!(!it.written(ON, OFF) && !it.watches());
        assert!(it.operation());
    }

    #[test]
    fn caches_that_stay_on_end_the_watch() {
        let mut it = SetWay::default();
        assert!(it.operation());
        it.cleaned(None);
        assert!(!it.written(ON, ON));
        assert_eq!((it.watches(), it.next()), (false, None));
    }
}
