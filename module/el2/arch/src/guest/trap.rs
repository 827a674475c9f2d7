// SPDX-License-Identifier: GPL-2.0
//! What made a guest leave: decode, ask the logic, write the answer back, and say whether the guest
//! goes on. Everything that needs no host is done here, with the guest's registers in place.
//!
//! Why unsafe: EL1 registers of the guest are written, for an exception that it takes.

use mvirt_abi::{Error, Exit, Failure};
use mvirt_hyp::addr::GuestIpa;
use mvirt_hyp::guest::event::{is_legal, Access, Event, Wfx};
use mvirt_hyp::guest::mmio::Mmio;
use mvirt_hyp::guest::psci::{Action, Context};
use mvirt_hyp::guest::services::{classify, Entropy, Service, INVALID_PARAMETER};
use mvirt_hyp::guest::timer::{wake_at, NEVER};
use mvirt_hyp::psci::Identifier;
use mvirt_hyp::trap::{Exception, FaultAddress, FaultRegisters, Host, PSTATE_DONE};
use mvirt_hyp::vgic;
use mvirt_hyp::vm::registers::Reg;
use mvirt_hyp::vm::vcpu::{Pending, Vcpu};
use mvirt_hyp::vm::Vm;

use super::run::Running;
use super::{fp, sysreg, timers};
use crate::calls::with_memory;
use crate::cpu::id_regs;
use crate::cpu::PerCpu;
use crate::entropy;
use crate::entry::Frame;
use crate::host::{inject, translate};
use crate::layout::PAGE_SHIFT;
use crate::sysreg::{isb, read_sysreg};

/// SCTLR_EL1.EE.
const SCTLR_EE: u64 = 1 << 25;

/// What [`Exit::Failed`] tells of an SError: the failure, and ESR_EL2's class.
pub const MEMORY_ERROR: [u64; 2] = [Failure::MemoryError as u64, 0x2f];

/// Handles a trap of the vCPU: `kind` is the vector's place in its group of eight. Whether the guest
/// goes on.
pub fn handle(running: &mut Running, frame: &mut Frame, kind: u64) -> bool {
    match kind {
        0 => synchronous(running, frame),
        1 | 2 if is_legal(frame.spsr) => interrupt(running),
        // HCR_EL2.AMO: memory answered with an error that belongs to no instruction.
        3 if running.fails_by(read_sysreg!("esr_el2")) => {
            let [failure, class] = MEMORY_ERROR;
            running.leave(Exit::Failed, [failure, class, 0, 0])
        }
        3 if is_legal(frame.spsr) => true,
        // AArch32, which no guest is told of.
        _ => running.leave(Exit::Failed, [Failure::IllegalState as u64, 0, 0, 0]),
    }
}

fn synchronous(running: &mut Running, frame: &mut Frame) -> bool {
    let esr = read_sysreg!("esr_el2");
    match Event::decode(esr, frame.spsr) {
        Event::Hvc { imm } => call(running, frame, imm),
        Event::Smc { imm } => {
            skip(frame);
            call(running, frame, imm)
        }
        Event::Sysreg(access) => sysreg::access(running, frame, access),
        Event::Memory(access) => memory(running, frame, access),
        Event::Wait(wfx) => wait_for(running, frame, wfx),
        Event::FpSimd => {
            fp::load(&running.vcpu.fp);
            true
        }
        Event::Undefined => undefined(frame),
        Event::External(abort) => {
            let far = read_sysreg!("far_el2");
            inject(
                frame,
                Exception::External {
                    access: abort.access,
                    far,
                },
            );
            true
        }
        Event::Failed(why, class) => running.leave(Exit::Failed, [why as u64, class.into(), 0, 0]),
    }
}

/// The guest goes on behind the instruction, which was done for it.
pub fn skip(frame: &mut Frame) {
    frame.elr = frame.elr.wrapping_add(4);
    frame.spsr &= !PSTATE_DONE;
}

/// The guest does not have this.
pub fn undefined(frame: &mut Frame) -> bool {
    inject(frame, Exception::Undefined);
    true
}

/// A physical interrupt. What is EL2's own is done here: the timers, and list registers that ran
/// empty or have to be read.
fn interrupt(running: &mut Running) -> bool {
    running.refresh();
    timers::arm(&running.vcpu.ptimer);
    if !is_interrupt_pending() {
        return true;
    }
    running.leave(Exit::Interrupt, [0; 4])
}

/// ISR_EL1: I and F. It may still show one that has just been silenced: then the host finds none.
fn is_interrupt_pending() -> bool {
    // The writes that silenced it come first.
    isb();
    read_sysreg!("isr_el1") & (1 << 7 | 1 << 6) != 0
}

fn call(running: &mut Running, frame: &mut Frame, imm: u16) -> bool {
    let [x0, x1, x2, x3, ..] = frame.x;
    match classify(imm, [x0, x1, x2, x3], &running.offer) {
        Service::Answer(values) => answer(frame, values),
        Service::Psci(id) => psci(running, frame, id),
        Service::Share(ipa) => change_memory(running, frame, ipa, Change::Share),
        Service::Unshare(ipa) => change_memory(running, frame, ipa, Change::Unshare),
        Service::Relinquish(ipa) => change_memory(running, frame, ipa, Change::Relinquish),
        Service::GuardEnroll => guard(running, frame, |guard| {
            guard.enroll();
            true
        }),
        // The first call is where enforcement begins: mainline's guests never enrol.
        Service::GuardMap(ipa) => {
            let (slot, page) = (running.slot, ipa >> PAGE_SHIFT);
            guard(running, frame, |guard| {
                // What is memory already is no device, as in pKVM.
                let free = with_memory(|memory, m| memory.guest_walk(m, slot, GuestIpa::new(ipa)));
                let added = matches!(free, Ok(None)) && guard.add(page).is_ok();
                if added {
                    guard.enroll();
                }
                added
            })
        }
        Service::GuardUnmap(ipa) => guard(running, frame, |guard| {
            guard.remove(ipa >> PAGE_SHIFT).is_ok()
        }),
        Service::Trng(entropy) => random(frame, entropy),
    }
}

fn answer(frame: &mut Frame, values: [u64; 4]) -> bool {
    for (x, value) in frame.x.iter_mut().zip(values) {
        *x = value;
    }
    true
}

fn random(frame: &mut Frame, wanted: Entropy) -> bool {
    answer(frame, wanted.answer(entropy::words(wanted.words())))
}

fn guard(
    running: &mut Running,
    frame: &mut Frame,
    change: impl FnOnce(&mut mvirt_hyp::guest::guard::Guard) -> bool,
) -> bool {
    let mut slot = running.vm();
    let done = slot.vm().is_ok_and(|vm| change(&mut vm.guard));
    drop(slot);
    answer(frame, Service::memory_answer(done))
}

fn psci(running: &mut Running, frame: &mut Frame, id: Identifier) -> bool {
    let [_, x1, x2, x3, ..] = frame.x;
    let big_endian = read_sysreg!("sctlr_el1") & SCTLR_EE != 0;
    let mut slot = running.vm();
    let Ok(vm) = slot.vm() else {
        return running.leave(Exit::Off, [0; 4]);
    };
    let context = Context {
        caller: usize::from(running.vcpu.index),
        big_endian,
        ipa_bits: running.offer.ipa_bits,
        may_suspend: vm.may_suspend,
    };
    let action = vm.power.call(id, [x1, x2, x3], &context);
    let others = vm.present() & !(1 << running.vcpu.index);
    drop(slot);
    match action {
        Action::Answer(x0) => answer(frame, [x0, 0, 0, 0]),
        Action::Started(vcpu) => {
            running.wake |= 1 << vcpu;
            answer(frame, [0; 4])
        }
        Action::Wait => {
            answer(frame, [0; 4]);
            wait(running, None)
        }
        Action::Off => running.leave(Exit::Off, [0; 4]),
        Action::System {
            event,
            flags,
            x0,
            stops_others,
        } => {
            if let Some(x0) = x0 {
                frame.x[0] = x0;
            }
            if stops_others {
                running.wake |= others;
            }
            running.leave(Exit::SystemEvent, [event as u64, flags, 0, 0])
        }
    }
}

/// What a protected guest does with a page of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Share,
    Unshare,
    Relinquish,
}

fn change_memory(running: &mut Running, frame: &mut Frame, ipa: u64, change: Change) -> bool {
    let (slot, gfn) = (running.slot, ipa >> PAGE_SHIFT);
    let result = with_memory(|memory, m| match change {
        Change::Share => memory.guest_share_host(m, slot, gfn),
        Change::Unshare => memory.guest_unshare_host(m, slot, gfn),
        Change::Relinquish => memory.guest_relinquish(m, slot, gfn),
    });
    match result {
        Ok(pfn) => {
            answer(frame, Service::memory_answer(true));
            match change {
                Change::Relinquish => running.leave(Exit::Relinquished, [ipa, pfn, 0, 0]),
                Change::Share => running.leave(Exit::Shared, [ipa, 1, 0, 0]),
                Change::Unshare => running.leave(Exit::Shared, [ipa, 0, 0, 0]),
            }
        }
        // The host has not given the page yet. It does, and the call is made again.
        Err(Error::NoEntry) if change == Change::Share => {
            frame.elr = frame.elr.wrapping_sub(4);
            running.vcpu.pending = Some(Pending::Call);
            running.leave(Exit::Abort, [ipa, mvirt_abi::abort::WRITE, 0, 0])
        }
        // A block has to be split, which is not the guest's concern: the host gives pages for tables,
        // and the call is made again.
        Err(Error::NoMemory) => {
            frame.elr = frame.elr.wrapping_sub(4);
            running.leave(Exit::Tables, [0; 4])
        }
        Err(_) => answer(frame, Service::memory_answer(false)),
    }
}

fn wait_for(running: &mut Running, frame: &mut Frame, wfx: Wfx) -> bool {
    skip(frame);
    let limit = wfx.limit.map(|register| frame.gp(register));
    if wfx.is_event {
        return running.leave(Exit::Yield, [0; 4]);
    }
    wait(running, limit)
}

/// The guest waits for an interrupt, and goes on at once if there is one.
fn wait(running: &mut Running, limit: Option<u64>) -> bool {
    running.refresh();
    let mut slot = running.vm();
    let n = usize::from(running.vcpu.index);
    let pending = slot
        .vm()
        .is_ok_and(|vm| vm.vgic.is_pending(n, &running.vcpu.iface));
    drop(slot);
    if pending {
        return true;
    }
    let now = timers::now();
    let at = wake_at(
        &timers::vtimer(),
        &running.vcpu.ptimer,
        limit,
        now,
        running.cntvoff,
    );
    if at != NEVER && at <= now {
        return true;
    }
    running.leave(Exit::Wait, [at, 0, 0, 0])
}

/// Memory that stage 2 does not map: the GIC's, or the host's to answer.
fn memory(running: &mut Running, frame: &mut Frame, access: Access) -> bool {
    let far = read_sysreg!("far_el2");
    let regs = FaultRegisters {
        far,
        hpfar: read_sysreg!("hpfar_el2"),
    };
    let ipa = match access.abort.address(regs, PerCpu::current().retranslates()) {
        FaultAddress::Ipa(ipa) => ipa,
        FaultAddress::Translate => match translate(frame, &access.abort, far) {
            Some(ipa) => ipa,
            // Its own tables refuse it now: it takes its own fault.
            None => return true,
        },
        FaultAddress::None => {
            return running.leave(Exit::Failed, [Failure::UnexpectedTrap as u64, 0x24, 0, 0]);
        }
    };
    if ipa >> running.offer.ipa_bits != 0 {
        inject(
            frame,
            Exception::External {
                access: access.abort.access,
                far,
            },
        );
        return true;
    }
    if let Some(mmio) = access.mmio {
        if let Some(stays) = gic(running, frame, ipa, mmio) {
            return stays;
        }
    }
    leave_for_memory(running, frame, ipa, far, access)
}

/// An access to the VM's GIC; `None` if the address is not one of it.
fn gic(running: &mut Running, frame: &mut Frame, ipa: u64, mmio: Mmio) -> Option<bool> {
    let big_endian = Mmio::is_big_endian(frame.spsr, read_sysreg!("sctlr_el1"));
    let mut slot = running.vm();
    let vm = slot.vm().ok()?;
    if !vm.vgic.covers(ipa) {
        return None;
    }
    if !mmio.is_write {
        if let Some(value) = vm.vgic.read_fixed(ipa, mmio.bytes()) {
            frame.set_gp(mmio.register, mmio.loaded(value, big_endian));
            skip(frame);
            return Some(true);
        }
    }
    drop(slot);
    let access = if mmio.is_write {
        vgic::Access::Write {
            size: mmio.bytes(),
            value: mmio.stored(frame.gp(mmio.register), big_endian),
        }
    } else {
        vgic::Access::Read { size: mmio.bytes() }
    };
    let mut result = None;
    running.refresh_with(|vgic, _| {
        result = vgic.mmio(ipa, access);
        result.as_ref().map_or(0, |result| result.wake)
    });
    let result = result?;
    if !mmio.is_write {
        frame.set_gp(mmio.register, mmio.loaded(result.value, big_endian));
    }
    skip(frame);
    Some(true)
}

/// Lets the host map the page, or do the access.
fn leave_for_memory(
    running: &mut Running,
    frame: &mut Frame,
    ipa: u64,
    far: u64,
    access: Access,
) -> bool {
    let (allowed, guarded) = if running.offer.protected {
        let page = ipa >> PAGE_SHIFT;
        let mut slot = running.vm();
        let guard = slot.vm().map(|vm| &vm.guard);
        guard.map_or((false, false), |g| (g.allows(page), g.contains(page)))
    } else {
        (true, false)
    };
    // What the guest did not name as a device, the host may map and nothing else: it is not told
    // what is written, and cannot say what is read.
    let mmio = access.mmio.filter(|_| allowed);
    let access = Access { mmio, ..access };
    let value = match mmio {
        Some(mmio) if mmio.is_write => {
            let big_endian = Mmio::is_big_endian(frame.spsr, read_sysreg!("sctlr_el1"));
            mmio.stored(frame.gp(mmio.register), big_endian)
        }
        _ => 0,
    };
    running.vcpu.pending = Some(Pending::Access { access, far, ipa });
    let bits = access.exit_bits(guarded);
    running.leave(Exit::Abort, [ipa, bits, value, 0])
}

/// What the host says of the access that the last exit told of: done, with the value that a read
/// answers, or nobody is there. The vCPU's registers are in its frame and storage, not in the CPU.
/// `false` if it cannot be so.
pub fn complete(vcpu: &mut Vcpu, pending: Pending, value: Option<u64>) -> bool {
    match (pending, value) {
        (Pending::Access { access, .. }, Some(value)) => {
            let Some(mmio) = access.mmio else {
                return false;
            };
            if !mmio.is_write {
                let sctlr = vcpu.regs.get(Reg::Sctlr);
                let big_endian = Mmio::is_big_endian(vcpu.frame.spsr, sctlr);
                vcpu.frame
                    .set_gp(mmio.register, mmio.loaded(value, big_endian));
            }
            skip(&mut vcpu.frame);
            true
        }
        // Cache maintenance of what is not there does nothing.
        (Pending::Access { access, .. }, None) if access.abort.is_cache_maintenance => {
            skip(&mut vcpu.frame);
            true
        }
        (Pending::Access { access, far, .. }, None) => {
            let exception = Exception::External {
                access: access.abort.access,
                far,
            };
            take_into(vcpu, exception);
            true
        }
        (Pending::Call, None) => {
            vcpu.frame.x[0] = INVALID_PARAMETER;
            skip(&mut vcpu.frame);
            true
        }
        (Pending::Call, Some(_)) => false,
    }
}

/// A page that a protected guest used as a device's before it made its first MMIO_GUARD call stays
/// one: its early console goes through no hook.
pub fn note_device(vm: &mut Vm<'static>, pending: &Pending) {
    if let Pending::Access { ipa, .. } = pending {
        if vm.protected && !vm.guard.is_enrolled() {
            // Without room it is denied later, which harms the guest alone.
            let _ = vm.guard.add(ipa >> PAGE_SHIFT);
        }
    }
}

/// Lets a vCPU take an exception whose registers are in its storage.
fn take_into(vcpu: &mut Vcpu, exception: Exception) {
    let interrupted = Host {
        pstate: vcpu.frame.spsr,
        pc: vcpu.frame.elr,
        sctlr: vcpu.regs.get(Reg::Sctlr),
        vbar: vcpu.regs.get(Reg::Vbar),
        gcscr: 0,
    };
    let taken = exception
        .take(&interrupted, &id_regs())
        .expect("the guest is at EL0 or EL1");
    vcpu.frame.spsr = taken.pstate;
    vcpu.frame.elr = taken.pc;
    vcpu.regs.set(Reg::Spsr, taken.spsr);
    vcpu.regs.set(Reg::Elr, taken.elr);
    vcpu.regs.set(Reg::Esr, taken.esr);
    if let Some(far) = taken.far {
        vcpu.regs.set(Reg::Far, far);
    }
}
