// SPDX-License-Identifier: GPL-2.0
//! KVM_RUN: into the guest, and what is to be done when it comes out.
//!
//! ```text
//!   signal? -> EINTR        work on the way to user space? -> there, and again, unseen
//!     |
//!   interrupts masked, FP free -> vcpu_run -> interrupts taken -> wake other vCPUs -> Exit
//!     ^                                                                                 |
//!     +-- Interrupt, Yield, Wait, Off, memory mapped, page given up ---------------------+-> user
//! ```

use crate::abi::{Caller, Exit, Failure, Results};
use crate::abi::{RUN_ACCESS_DONE, RUN_ACCESS_FAILED, RUN_ACCESS_ONLY, WAKE_ENDED};
use crate::bindings;
use crate::fault::{self, Fault};
use crate::hvc::{mrs, El2};
use crate::pool;
use crate::slots::Backing;
use crate::thread::{self, Inside, Work};
use crate::vcpu::{Access, State, Vcpu};
use crate::vm::Vm;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;

/// EL2's "no timer": never.
const NEVER: u64 = u64::MAX;
/// Nanoseconds in a second.
const NS: u64 = 1_000_000_000;
/// `kvm_run.internal.suberror`, beside KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON (4): the guest's
/// memory had an error. KVM's KVM_INTERNAL_ERROR_EMULATION (1) is the nearest.
const MEMORY_ERROR: u32 = bindings::KVM_INTERNAL_ERROR_EMULATION;

/// What comes after an exit.
enum Next {
    /// Into the guest again.
    Guest,
    /// To user space, with an exit reason.
    User,
}

/// KVM_RUN.
pub(crate) fn run(vm: &Vm, vcpu: &Vcpu, state: &mut State, thread: &Inside<'_>) -> Result<isize> {
    state.expect_init()?;
    if let Access::Asked(len) = state.access {
        // Once: user space may change it later.
        state.access = Access::Done(vcpu.run.mmio_data(len));
    }
    if vcpu.run.immediate_exit() {
        complete(vm, vcpu, state)?;
        return Err(EINTR);
    }
    vcpu.run.set_exit(bindings::KVM_EXIT_UNKNOWN);
    vm.begin_run()?;
    loop {
        match thread::work() {
            Work::Signal => {
                complete(vm, vcpu, state)?;
                vcpu.run.set_exit(bindings::KVM_EXIT_INTR);
                return Err(EINTR);
            }
            Work::Resume => {
                complete(vm, vcpu, state)?;
                // What user space sees if a signal turns out to be what is pending.
                vcpu.run.set_exit(bindings::KVM_EXIT_INTR);
                return Err(thread::restart());
            }
            Work::Reschedule => thread::schedule(),
            Work::None => {}
        }
        let (flags, value) = answer(state);
        let index = vcpu.index as u64;
        let Some(left) = thread.run(|| El2.vcpu_run(vm.handle, index, flags, value)) else {
            continue;
        };
        let results = left?;
        state.access = Access::None;
        let [.., wake] = results;
        vm.kick(wake);
        if wake & WAKE_ENDED != 0 {
            vm.irqfds.tell_ends(vm)?;
        }
        match handle(vm, vcpu, state, thread, &results)? {
            Next::Guest => {}
            Next::User => return Ok(0),
        }
    }
}

/// What EL2 is told of the access that the guest left for.
fn answer(state: &State) -> (u64, u64) {
    match state.access {
        Access::None | Access::Asked(_) => (0, 0),
        Access::Done(value) => (RUN_ACCESS_DONE, value),
        Access::Failed => (RUN_ACCESS_FAILED, 0),
    }
}

/// Completes the access before a return to user space that comes without a run: as under KVM, the
/// registers are those after it.
fn complete(vm: &Vm, vcpu: &Vcpu, state: &mut State) -> Result {
    let (flags, value) = answer(state);
    if flags != 0 {
        let index = vcpu.index as u64;
        El2.vcpu_run(vm.handle, index, flags | RUN_ACCESS_ONLY, value)?;
        state.access = Access::None;
    }
    Ok(())
}

fn handle(
    vm: &Vm,
    vcpu: &Vcpu,
    state: &mut State,
    thread: &Inside<'_>,
    results: &Results,
) -> Result<Next> {
    let [reason, a, b, c, ..] = *results;
    match Exit::from_raw(reason).ok_or(EIO)? {
        Exit::Interrupt => {}
        Exit::Abort => {
            let fault = Fault::new(a, b, c);
            return match fault::handle(vm, &vcpu.run, &mut state.scratch, &fault)? {
                fault::Outcome::Again => Ok(Next::Guest),
                fault::Outcome::Done => {
                    state.access = Access::Done(0);
                    Ok(Next::Guest)
                }
                fault::Outcome::Refused => {
                    state.access = Access::Failed;
                    Ok(Next::Guest)
                }
                fault::Outcome::User(len) => {
                    state.access = Access::Asked(len);
                    Ok(Next::User)
                }
            };
        }
        Exit::Wait => thread.wait(until(a)),
        Exit::Off => thread.wait(None),
        Exit::Yield => {
            let others = vm.vcpus().filter(|other| other.index != vcpu.index);
            others.take_while(|other| !other.thread.yield_to()).count();
        }
        Exit::SystemEvent => {
            // Lossless: EL2 sends KVM's numbers.
            vcpu.run.set_system_event(a as u32, b);
            return Ok(Next::User);
        }
        Exit::Relinquished => {
            let slots = vm.slots.read();
            let gfn = a >> PAGE_SHIFT;
            if let Some(Backing::Pinned(pinned)) = slots.find(gfn).map(|slot| &slot.backing) {
                pinned.relinquish(gfn)?;
            }
        }
        // ENOMEM leaves the guest before its call.
        Exit::Tables => pool::grow()?,
        // The page stays pinned: it is user space that gets to see it.
        Exit::Shared => {}
        Exit::Failed => {
            fail(vcpu, a, b);
            return Ok(Next::User);
        }
    }
    Ok(Next::Guest)
}

/// Nanoseconds until the physical counter is there.
fn until(deadline: u64) -> Option<u64> {
    if deadline == NEVER {
        return None;
    }
    let ticks = deadline.saturating_sub(mrs!("cntpct_el0"));
    let frequency = mrs!("cntfrq_el0").max(1);
    let (whole, part) = (ticks / frequency, ticks % frequency);
    // Below 2^64 up to 18 GHz; rounded up, as who is early finds nothing.
    let part = part.saturating_mul(NS).div_ceil(frequency);
    Some(whole.saturating_mul(NS).saturating_add(part).min(NEVER - 1))
}

fn fail(vcpu: &Vcpu, failure: u64, class: u64) {
    if failure == Failure::IllegalState as u64 {
        // As KVM does on an illegal exception return.
        // SAFETY: reads a number. The CPU is a hint: the thread may have moved on since.
        let cpu = unsafe { bindings::mvirt_this_cpu() };
        vcpu.run.set_fail_entry(failure, cpu);
    } else if failure == Failure::MemoryError as u64 {
        vcpu.run.set_internal_error(MEMORY_ERROR, [failure, class]);
    } else {
        vcpu.run.set_internal_error(
            bindings::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
            [failure, class],
        );
    }
}
