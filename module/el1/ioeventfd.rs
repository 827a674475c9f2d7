// SPDX-License-Identifier: GPL-2.0
//! KVM_IOEVENTFD: a guest's write to an address signals an eventfd, and user space does not see it.
//!
//! The list is sorted by address. Two entries never match the same write: that is what EEXIST is for.
//! Its lock is taken alone, inside a vCPU's mutex.

use crate::bindings;
use crate::eventfd::EventFd;
use crate::lock::RwLock;
use kernel::prelude::*;

const DATAMATCH: u32 = bindings::NR_KVM_IOEVENTFD_FLAG_DATAMATCH as u32;
const DEASSIGN: u32 = bindings::NR_KVM_IOEVENTFD_FLAG_DEASSIGN as u32;

/// What signals an eventfd.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Match {
    addr: u64,
    /// Bytes, or 0 for a write of any length.
    len: u32,
    /// What is written, or `None` for any value.
    data: Option<u64>,
}

impl Match {
    fn new(args: &bindings::kvm_ioeventfd) -> Match {
        Match {
            addr: args.addr,
            len: args.len,
            data: (args.flags & DATAMATCH != 0).then_some(args.datamatch),
        }
    }

    /// Whether a write at this address, of `len` bytes, is one of these.
    fn has(&self, len: u32, value: u64) -> bool {
        self.len == 0 || self.len == len && self.data.is_none_or(|data| data == value)
    }

    /// Whether there is a write that matches both.
    fn meets(&self, other: &Match) -> bool {
        let data = match (self.data, other.data) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.addr == other.addr
            && (self.len == 0 || other.len == 0 || self.len == other.len && data)
    }
}

struct Entry {
    what: Match,
    eventfd: EventFd,
}

/// Those of a VM.
#[pin_data]
pub(crate) struct IoEventFds {
    #[pin]
    entries: RwLock<KVec<Entry>>,
}

impl IoEventFds {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { entries <- RwLock::new(KVec::new()) })
    }

    /// KVM_IOEVENTFD.
    pub(crate) fn set(&self, args: &bindings::kvm_ioeventfd) -> Result<isize> {
        if args.flags & DEASSIGN != 0 {
            return self.remove(args);
        }
        // Port I/O and s390's notifications have no bus here on which a write could come.
        let valid = matches!(args.len, 0 | 1 | 2 | 4 | 8)
            && args.addr.checked_add(args.len.into()).is_some()
            && args.flags & !DATAMATCH == 0
            && (args.len != 0 || args.flags & DATAMATCH == 0);
        if !valid {
            return Err(EINVAL);
        }
        let new = Entry {
            what: Match::new(args),
            eventfd: EventFd::get(args.fd as u32)?,
        };
        let mut entries = self.entries.write();
        if entries.iter().any(|entry| entry.what.meets(&new.what)) {
            return Err(EEXIST);
        }
        entries.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let at = entries.partition_point(|entry| entry.what.addr < new.what.addr);
        entries
            .insert_within_capacity(at, new)
            .map_err(|_| ENOMEM)?;
        Ok(0)
    }

    /// ENOENT if there is none just like it.
    fn remove(&self, args: &bindings::kvm_ioeventfd) -> Result<isize> {
        let eventfd = EventFd::get(args.fd as u32)?;
        let what = Match::new(args);
        let mut entries = self.entries.write();
        let same = |entry: &Entry| entry.what == what && entry.eventfd.as_ptr() == eventfd.as_ptr();
        // One on another bus than memory's cannot be there.
        let known = args.flags & !(DATAMATCH | DEASSIGN) == 0;
        let at = entries.iter().position(same).filter(|_| known);
        entries.remove(at.ok_or(ENOENT)?).map_err(|_| ENOENT)?;
        Ok(0)
    }

    /// A guest writes `len` bytes at `addr`. Whether an eventfd was signalled for it.
    pub(crate) fn signal(&self, addr: u64, len: u32, value: u64) -> bool {
        let entries = self.entries.read();
        let at = entries.partition_point(|entry| entry.what.addr < addr);
        let here = entries[at..]
            .iter()
            .take_while(|entry| entry.what.addr == addr);
        let found = here.into_iter().find(|entry| entry.what.has(len, value));
        if let Some(entry) = found {
            entry.eventfd.signal();
        }
        found.is_some()
    }
}
