// SPDX-License-Identifier: GPL-2.0
//! Pages that EL2 makes tables and VMs of: donated when a call asks for them, taken back when a VM
//! has gone.
//!
//! [`POOL`] is how many of the module's pages EL2 has. Its lock is held from a donation to the call
//! that asked for it, so that nobody takes the pages away in between. It comes after all other
//! locks that may sleep; the page allocator, which may call MMU notifiers, runs under it.
//!
//! Why unsafe: pages are freed that EL2 gave back.

use crate::abi::{self, Caller};
use crate::bindings;
use crate::hvc::El2;
use kernel::prelude::*;
use kernel::sync::global_lock;

global_lock! {
    // SAFETY: `init` is called before there is a device.
    unsafe(uninit) static POOL: Mutex<u64> = 0;
}

/// log2 of the pages in a donation. Small, since what is not used stays with EL2 while a VM lives.
const ORDER: u32 = 2;
/// For a VM, whose root table may be 16 pages long.
pub(crate) const ROOT_ORDER: u32 = 4;
/// log2 of the most pages in a donation: the reserve and all tables that it can cost fit twice.
const MOST_ORDER: u32 = 5;
/// Donations for one call. A call that wants more than that is wrong: the most that one needs is
/// two paths of a walk, or a root.
const ROUNDS: usize = 8;

/// To be called once, when the module is loaded.
pub(crate) fn init() {
    // SAFETY: called once.
    unsafe { POOL.init() };
}

/// Makes a call that may need pages of EL2's, and gives them to it.
pub(crate) fn supply<T>(call: impl FnMut() -> Result<T, abi::Error>) -> Result<T> {
    supply_by(ORDER, call)
}

/// As [`supply`], with 2^`order` contiguous pages at a time.
pub(crate) fn supply_by<T>(
    order: u32,
    mut call: impl FnMut() -> Result<T, abi::Error>,
) -> Result<T> {
    match call() {
        Err(abi::Error::NoMemory) => {}
        done => return Ok(done?),
    }
    let done = supply_more(order, call);
    if done.is_err() {
        // What was given for it serves nobody: it would stay at EL2 until the next VM is gone.
        reclaim();
    }
    done
}

/// Donates and calls until EL2 has what the call needs.
fn supply_more<T>(order: u32, mut call: impl FnMut() -> Result<T, abi::Error>) -> Result<T> {
    let mut pool = POOL.lock();
    for _ in 0..ROUNDS {
        donate(&mut pool, order)?;
        match call() {
            Err(abi::Error::NoMemory) => {}
            done => return Ok(done?),
        }
    }
    Err(ENOMEM)
}

/// Gives EL2 pages for a call of a guest's, which the guest makes again. Another call may be faster to
/// use them; then the guest comes again.
pub(crate) fn grow() -> Result {
    donate(&mut POOL.lock(), ORDER)
}

/// Donates 2^`order` pages, or more of them: EL2 takes tables of its own to take them out of the
/// host's map and into its own, from its reserve too, and refuses what does not fill that again.
fn donate(pool: &mut u64, order: u32) -> Result {
    for order in order..=MOST_ORDER {
        // SAFETY: takes a number; may sleep.
        let pfn = unsafe { bindings::mvirt_pages_take(order) };
        if pfn == 0 {
            return Err(ENOMEM);
        }
        let nr = 1u64 << order;
        let given = El2.pool_donate(pfn, nr);
        if given.is_ok() {
            *pool += nr;
            return Ok(());
        }
        // SAFETY: they were taken above, and EL2 did not take them.
        (pfn..pfn + nr).for_each(|pfn| unsafe { bindings::mvirt_page_free(pfn) });
        match given {
            Err(abi::Error::NoMemory) => {}
            given => return Ok(given.map(|_| ())?),
        }
    }
    Err(ENOMEM)
}

/// Takes back what EL2 does not use.
pub(crate) fn reclaim() {
    loop {
        // One page at a time: others may wait for the lock.
        let mut pool = POOL.lock();
        let Ok([pfn, ..]) = El2.pool_reclaim() else {
            return;
        };
        *pool = pool.saturating_sub(1);
        // SAFETY: EL2 gave the page back; what it has of the host's comes from `donate`.
        unsafe { bindings::mvirt_page_free(pfn) };
        drop(pool);
        // SAFETY: the callers hold nothing but mutexes and semaphores.
        unsafe { bindings::mvirt_relax() };
    }
}
