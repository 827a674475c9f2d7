// SPDX-License-Identifier: GPL-2.0
//! A VM's memory slots: which guest addresses are which of user space's, with KVM's checks.
//!
//! [`Slots`] is under the VM's `slots` lock: faults read it, and hold it until the page is mapped, so
//! that a slot that is gone maps nothing any more. It comes before `mmap_lock` and before the locks of
//! a slot's memory (`pin`, `notifier`).

use crate::abi::{self, Caller};
use crate::bindings;
use crate::hvc::El2;
use crate::notifier::Follower;
use crate::pin::Pinned;
use crate::vm::{Mm, Vm};
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::Arc;

/// The most slots of a VM.
pub(crate) const MAX_SLOTS: usize = 512;
/// KVM's bound on the pages of a slot.
const MAX_PAGES: u64 = (1 << 31) - 1;
/// Pages of a block in stage 2, which one call maps: with pages of 4 KiB only.
pub(crate) const BLOCK: u64 = 512;

/// Guest pages and the user addresses that they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) gfn: u64,
    pub(crate) pages: u64,
    pub(crate) hva: u64,
}

impl Range {
    pub(crate) fn end(&self) -> u64 {
        self.gfn + self.pages
    }

    /// The user address of a page of the range.
    pub(crate) fn hva_of(&self, gfn: u64) -> u64 {
        self.hva + ((gfn - self.gfn) << PAGE_SHIFT)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pages << PAGE_SHIFT
    }

    /// The first page of the block around a page, if stage 2 may have it in one: it lies in the range,
    /// and user space can have it in one, too.
    pub(crate) fn block(&self, gfn: u64) -> Option<u64> {
        let first = gfn & !(BLOCK - 1);
        let inside = first >= self.gfn && first + BLOCK <= self.end();
        (PAGE_SIZE == 4096 && inside && self.hva_of(first) % (BLOCK << PAGE_SHIFT) == 0)
            .then_some(first)
    }
}

/// How a slot's memory is held.
pub(crate) enum Backing {
    /// Page by page, from its first use on.
    Pinned(Pin<KBox<Pinned>>),
    /// Not: it is taken from the guest when user space loses it.
    Followed(Pin<KBox<Follower>>),
}

/// A slot.
pub(crate) struct Slot {
    id: u16,
    pub(crate) range: Range,
    pub(crate) read_only: bool,
    pub(crate) backing: Backing,
}

/// A VM's slots, ascending by address.
pub(crate) struct Slots(KVec<Slot>);

/// What user space asks for: `struct kvm_userspace_memory_region`, once checked.
struct Request {
    id: u16,
    range: Range,
    read_only: bool,
}

impl Request {
    fn new(vm: &Vm, region: &bindings::kvm_userspace_memory_region) -> Result<Request> {
        let mask = PAGE_SIZE as u64 - 1;
        let dirty_log = bindings::NR_KVM_MEM_LOG_DIRTY_PAGES as u32;
        let read_only = bindings::NR_KVM_MEM_READONLY as u32;
        if vm.protected && region.flags & (dirty_log | read_only) != 0 {
            return Err(EPERM);
        }
        if region.flags & !read_only != 0 {
            return Err(EINVAL);
        }
        let unaligned = region.memory_size | region.guest_phys_addr | region.userspace_addr;
        // SAFETY: looks at numbers only.
        let user = unsafe { bindings::mvirt_access_ok(region.userspace_addr, region.memory_size) };
        // Bits 31:16 are KVM's address space: there is one.
        if unaligned & mask != 0 || !user || region.slot as usize >= MAX_SLOTS {
            return Err(EINVAL);
        }
        let pages = region.memory_size >> PAGE_SHIFT;
        if region
            .guest_phys_addr
            .checked_add(region.memory_size)
            .is_none()
            || pages > MAX_PAGES
        {
            return Err(EINVAL);
        }
        Ok(Request {
            // Lossless: below MAX_SLOTS.
            id: region.slot as u16,
            range: Range {
                gfn: region.guest_phys_addr >> PAGE_SHIFT,
                pages,
                hva: region.userspace_addr,
            },
            read_only: region.flags & read_only != 0,
        })
    }
}

impl Slots {
    pub(crate) const fn new() -> Slots {
        Slots(KVec::new())
    }

    /// The slot of a guest's page.
    pub(crate) fn find(&self, gfn: u64) -> Option<&Slot> {
        let after = self.0.partition_point(|slot| slot.range.gfn <= gfn);
        let slot = self.0.get(after.checked_sub(1)?)?;
        (gfn < slot.range.end()).then_some(slot)
    }

    fn overlaps(&self, range: Range, but: u16) -> bool {
        self.0.iter().any(|slot| {
            slot.id != but && slot.range.gfn < range.end() && range.gfn < slot.range.end()
        })
    }

    fn remove(&mut self, at: usize, handle: u64) {
        if let Ok(slot) = self.0.remove(at) {
            slot.unmap(handle);
        }
    }

    /// Takes all memory from the guest, which faults it in again.
    pub(crate) fn unmap_all(&self, handle: u64) {
        self.0.iter().for_each(|slot| slot.unmap(handle));
    }

    /// The guest, which does not run any more, loses all slots' memory.
    pub(crate) fn clear(&mut self, handle: u64) {
        while let Some(slot) = self.0.pop() {
            slot.unmap(handle);
        }
    }

    /// Leaves all that is pinned as it is, for good: EL2 did not give it back.
    pub(crate) fn leak(&mut self) {
        core::mem::forget(core::mem::replace(&mut self.0, KVec::new()));
    }
}

impl Slot {
    /// The guest loses the slot's memory. A protected guest keeps what it has: its slots are not
    /// taken from it once it has run, and it has nothing before.
    fn unmap(&self, handle: u64) {
        let Range { mut gfn, .. } = self.range;
        let end = self.range.end();
        while gfn < end {
            match El2.guest_unmap(handle, gfn, end - gfn) {
                Ok([_, next, ..]) => gfn = next,
                Err(abi::Error::Perm | abi::Error::NoEntry) => return,
                Err(e) => {
                    pr_err!("EL2 did not unmap a slot ({:?})\n", e);
                    return;
                }
            }
            // SAFETY: the caller holds nothing but mutexes and semaphores.
            unsafe { bindings::mvirt_relax() };
        }
    }

    fn new(vm: &Vm, request: &Request) -> Result<Slot> {
        let Request {
            id,
            range,
            read_only,
        } = *request;
        let mm: &Arc<Mm> = &vm.mm;
        let backing = if vm.pins {
            Backing::Pinned(Pinned::new(vm.handle, mm.clone(), range, !read_only)?)
        } else {
            Backing::Followed(Follower::new(vm.handle, mm, range, read_only)?)
        };
        Ok(Slot {
            id,
            range,
            read_only,
            backing,
        })
    }
}

/// KVM_SET_USER_MEMORY_REGION: makes, moves, changes or (size 0) deletes a slot.
pub(crate) fn set(vm: &Vm, region: &bindings::kvm_userspace_memory_region) -> Result<isize> {
    let request = Request::new(vm, region)?;
    let mut slots = vm.slots.write();
    let old = slots.0.iter().position(|slot| slot.id == request.id);
    let fixed = vm.protected && vm.has_run();
    if request.range.pages == 0 {
        let at = old.ok_or(EINVAL)?;
        if fixed {
            return Err(EPERM);
        }
        slots.remove(at, vm.handle);
        return Ok(0);
    }
    if let Some(slot) = old.and_then(|at| slots.0.get(at)) {
        let Range { pages, hva, .. } = slot.range;
        if (pages, hva) != (request.range.pages, request.range.hva)
            || slot.read_only != request.read_only
        {
            return Err(EINVAL);
        }
        if slot.range == request.range {
            return Ok(0);
        }
        if fixed {
            return Err(EPERM);
        }
    }
    if slots.overlaps(request.range, request.id) {
        return Err(EEXIST);
    }
    if request.range.end() > 1 << (vm.ipa_bits - PAGE_SHIFT as u32) {
        return Err(EFAULT);
    }
    // All that can fail comes before the first change.
    slots.0.reserve(1, GFP_KERNEL_ACCOUNT)?;
    let new = Slot::new(vm, &request)?;
    if let Some(at) = old {
        slots.remove(at, vm.handle);
    }
    let at = slots
        .0
        .partition_point(|slot| slot.range.gfn < new.range.gfn);
    slots
        .0
        .insert_within_capacity(at, new)
        .map_err(|_| ENOMEM)?;
    Ok(0)
}
