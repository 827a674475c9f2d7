// SPDX-License-Identifier: GPL-2.0
//! An access of a guest's that its stage 2 does not allow: memory that it has not got yet, or MMIO.

use crate::abi::{self, abort};
use crate::pin::Scratch;
use crate::run_page::RunPage;
use crate::slots::{Backing, Slot};
use crate::vm::Vm;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;

/// What [`Exit::Abort`](crate::abi::Exit::Abort) tells.
pub(crate) struct Fault {
    ipa: u64,
    bits: u64,
    value: u64,
}

/// What came of it.
pub(crate) enum Outcome {
    /// The instruction runs again.
    Again,
    /// The access is a write, and done: an eventfd was signalled.
    Done,
    /// User space does the access: a read of so many bytes, or 0 for a write.
    User(u32),
    /// Nobody answers: the guest takes an external abort.
    Refused,
}

impl Fault {
    pub(crate) fn new(ipa: u64, bits: u64, value: u64) -> Fault {
        Fault { ipa, bits, value }
    }

    fn has(&self, bit: u64) -> bool {
        self.bits & bit != 0
    }

    /// Memory that the guest may have at the place, by its slot.
    fn is_memory(&self, slot: &Slot) -> bool {
        !self.has(abort::GUARDED) && !(slot.read_only && self.has(abort::WRITE))
    }
}

/// Maps what is missing, or hands the access to user space.
pub(crate) fn handle(
    vm: &Vm,
    run: &RunPage,
    scratch: &mut Scratch,
    fault: &Fault,
) -> Result<Outcome> {
    let gfn = fault.ipa >> PAGE_SHIFT;
    // Held until the page is mapped.
    let slots = vm.slots.read();
    let slot = slots.find(gfn).filter(|slot| fault.is_memory(slot));
    let Some(slot) = slot else {
        drop(slots);
        return mmio(vm, run, fault);
    };
    match &slot.backing {
        Backing::Pinned(pinned) => pinned.map(gfn, scratch)?,
        Backing::Followed(follower) => {
            let (write, fetch) = (fault.has(abort::WRITE), fault.has(abort::FETCH));
            follower.map(gfn, write, fetch, scratch)?;
        }
    }
    Ok(Outcome::Again)
}

/// As KVM's io_mem_abort(): what cannot be done in the guest's place is refused; but where the guest
/// is not protected and it is only that the instruction was not decoded, user space is told (ENOSYS).
fn mmio(vm: &Vm, run: &RunPage, fault: &Fault) -> Result<Outcome> {
    if fault.has(abort::FETCH | abort::TABLE_WALK) {
        return Ok(Outcome::Refused);
    }
    if !fault.has(abort::DECODED) {
        return if vm.protected {
            Ok(Outcome::Refused)
        } else {
            Err(abi::Error::NoCall.into())
        };
    }
    let len = 1 << (fault.bits >> abort::SIZE_SHIFT & 3);
    let write = fault.has(abort::WRITE).then_some(fault.value);
    if write.is_some_and(|value| vm.ioeventfds.signal(fault.ipa, len, value)) {
        return Ok(Outcome::Done);
    }
    run.set_mmio(fault.ipa, write, len);
    Ok(Outcome::User(if write.is_some() { 0 } else { len }))
}
