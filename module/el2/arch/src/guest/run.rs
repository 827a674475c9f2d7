// SPDX-License-Identifier: GPL-2.0
//! A run of a vCPU: from the host's call into the guest, and out again.
//!
//! [`Running`] lives on EL2's stack for as long as the guest does: the vectors find it by
//! `PerCpu::guest`, and hand each trap to `trap` with it.
//!
//! Why unsafe: the guest is entered, and the vectors' pointer becomes a reference again.

use core::ptr::null_mut;
use core::sync::atomic::Ordering;

use mvirt_abi::{results, Error, Exit, Results};
use mvirt_abi::{RUN_ACCESS_DONE, RUN_ACCESS_FAILED, RUN_ACCESS_ONLY};
use mvirt_hyp::guest::psci::Entry;
use mvirt_hyp::guest::quick;
use mvirt_hyp::guest::services::Offer;
use mvirt_hyp::guest::sysreg::{Context, Sgi};
use mvirt_hyp::guest::timer::{next_at, NEVER};
use mvirt_hyp::pgtable::stage2::GuestRegime;
use mvirt_hyp::vgic::{CpuInterface, Hardware, Listed, Vgic};
use mvirt_hyp::vm::vcpu::Vcpu;
use mvirt_hyp::vm::{Phase, Vm};

use super::fp;
use super::switch::{self, HostContext};
use super::system::{self, Guests};
use super::{find_alive, gic, serror, timers, trap, Slot, VMS};
use crate::calls::with_memory;
use crate::cpu::PerCpu;
use crate::entropy;
use crate::entry::{el2_guest_enter, Frame};
use crate::layout::PAGE_SIZE;
use crate::lock::Guard;
use crate::sysreg::read_sysreg;

/// A vCPU on this CPU.
pub struct Running {
    /// The vCPU. Its frame is the vectors' while the guest runs.
    pub vcpu: &'static mut Vcpu,
    /// Its VM's slot.
    pub slot: usize,
    /// What the VM's hypercalls depend on.
    pub offer: Offer,
    /// What the GIC's virtual interface of this CPU has.
    pub hardware: Hardware,
    /// What guests are shown.
    pub guests: &'static Guests,
    /// The VM has a GIC.
    pub has_gic: bool,
    /// CNTVOFF_EL2.
    pub cntvoff: u64,
    /// EL2 made the virtual timer's interrupt active.
    pub vtimer_active: bool,
    /// vCPUs that have to be woken by the host.
    pub wake: u64,
    /// Why it left, but for `wake`.
    pub exit: [u64; 5],
    host: HostContext,
    /// The guest's registers are in the CPU, the host's in `host`.
    inside: bool,
}

impl Running {
    /// What its trapped registers depend on.
    pub fn context(&self) -> Context<'static> {
        Context {
            ids: &self.guests.ids,
            has_gic: self.has_gic,
        }
    }

    /// Its VM, locked. The VM cannot be taken apart while its vCPU runs.
    pub fn vm(&self) -> Guard<'static, Slot> {
        VMS[self.slot].lock()
    }

    /// Notes why the guest leaves: to be answered by [`trap`].
    pub fn leave(&mut self, exit: Exit, results: [u64; 4]) -> bool {
        let [a, b, c, d] = results;
        self.exit = [exit as u64, a, b, c, d];
        false
    }

    /// Folds the list registers into the VM's GIC and fills them anew: something changed. `change`
    /// makes a change of its own meanwhile, and answers with the vCPUs that have to be woken for it.
    pub fn refresh_with(&mut self, change: impl FnOnce(&mut Vgic<'static>, &CpuInterface) -> u64) {
        if !self.has_gic {
            return;
        }
        let n = usize::from(self.vcpu.index);
        gic::save(&mut self.vcpu.iface, &self.hardware);
        let mut slot = self.vm();
        if let Ok(vm) = slot.vm() {
            let mut wake = vm.vgic.sync(n, &mut self.vcpu.iface);
            self.lines(vm);
            let active = vm.vgic.hw_active(n);
            wake |= change(&mut vm.vgic, &self.vcpu.iface);
            if vm.vgic.hw_active(n) != active {
                // Deactivated, or made active, without a list register that does it in the machine.
                self.lines(vm);
            }
            vm.vgic.flush(n, &mut self.vcpu.iface, &self.hardware);
            self.wake |= wake & !(1 << n);
        }
        drop(slot);
        gic::load(&self.vcpu.iface, &self.hardware, true);
    }

    /// As [`refresh_with`](Self::refresh_with), without a change but that of the timers' lines.
    pub fn refresh(&mut self) {
        self.refresh_with(|_, _| 0);
    }

    /// The guest sends SGIs. One to itself mostly takes no more than one more list register.
    pub fn sgi(&mut self, sgi: Sgi, value: u64) {
        let n = usize::from(self.vcpu.index);
        if sgi == Sgi::Group1 {
            let mut slot = self.vm();
            let iface = &mut self.vcpu.iface;
            let listed = slot.vm().ok().and_then(|vm| {
                let empty = gic::empty_lists();
                vm.vgic.sgi_to_self(n, value, iface, &self.hardware, empty)
            });
            drop(slot);
            match listed {
                Some(Listed::In(list)) => return gic::load_list(&self.vcpu.iface, list),
                Some(Listed::Not) => return,
                None => {}
            }
        }
        self.refresh_with(|vgic, _| vgic.sgi(n, sgi, value));
    }

    /// Whether the vCPU fails by an SError with this ESR_EL2.
    pub fn fails_by(&self, esr: u64) -> bool {
        serror::fails(esr, self.host.has_ras())
    }

    /// The vCPU's debug registers have changed.
    pub fn set_debug(&mut self) {
        self.host.set_debug(&self.vcpu.stored.debug);
    }

    /// Tells the VM's GIC how the lines of the vCPU's timers are, on this CPU with the vCPU's
    /// timers in it; and the machine's GIC whether the virtual one may fire.
    pub fn lines(&mut self, vm: &mut Vm<'static>) {
        let n = usize::from(self.vcpu.index);
        let level = timers::vtimer_level();
        vm.vgic
            .set_timer_line(n, timers::VTIMER, level, Some(timers::VTIMER));
        let active = level || vm.vgic.hw_active(n);
        if core::mem::take(&mut self.vcpu.iface.hw_ended) {
            self.vtimer_active = false;
        }
        if active != self.vtimer_active {
            timers::set_active(active);
            self.vtimer_active = active;
        }
        let due = self.vcpu.ptimer.level(timers::now());
        vm.vgic.set_timer_line(n, timers::PTIMER, due, None);
    }

    fn enter(&mut self, this: &PerCpu, regime: &GuestRegime, flush: bool) {
        // From here on a fault of EL2's finds what to put back.
        this.guest.store((&raw mut *self).cast(), Ordering::Relaxed);
        let midr = self.guests.ids.midr();
        self.host.enter(self.vcpu, regime, self.cntvoff, midr);
        self.inside = true;
        if flush {
            switch::flush_local();
        }
        timers::load(self.vcpu);
        if self.has_gic {
            let mut slot = self.vm();
            if let Ok(vm) = slot.vm() {
                self.lines(vm);
                let n = usize::from(self.vcpu.index);
                vm.vgic.flush(n, &mut self.vcpu.iface, &self.hardware);
            }
        }
        gic::load(&self.vcpu.iface, &self.hardware, self.has_gic);
        let frame: *const Frame = &raw const self.vcpu.frame;
        // SAFETY: all registers are the guest's, and its stage 2 is in force. Until this returns
        // the vectors use `self` through the pointer above, and nobody else does.
        unsafe { el2_guest_enter(frame) };
        // What the guest began ends here: its stores, its TLB maintenance (the vCPU may go on
        // elsewhere), and an error that one of its accesses still has to answer with.
        switch::drain();
        self.vcpu.serror |= serror::take(self.host.has_ras());
        fp::save(&mut self.vcpu.fp);
        if self.has_gic {
            gic::save(&mut self.vcpu.iface, &self.hardware);
        }
        gic::off();
        timers::save(self.vcpu);
        if self.vtimer_active {
            timers::set_active(false);
        }
        self.host.leave(self.vcpu);
        self.inside = false;
        this.guest.store(null_mut(), Ordering::Relaxed);
    }

    /// Gives the host's registers back without saving the guest's: EL2 is broken.
    pub fn abandon(&mut self) {
        gic::off();
        fp::forget();
        timers::save(self.vcpu);
        if core::mem::take(&mut self.inside) {
            self.host.restore();
        }
    }
}

/// The vector's place of a synchronous exception.
const SYNC: u64 = 0;

/// Puts the host's registers back if a guest's are in: this CPU is broken, and the host is to end
/// itself.
pub fn abandon(this: &PerCpu) {
    let running = this.guest.swap(null_mut(), Ordering::Relaxed);
    // SAFETY: as in `el2_guest_trap`; the handler that holds the other reference has been given up.
    if let Some(running) = unsafe { running.cast::<Running>().as_mut() } {
        running.abandon();
    }
}

/// The guest came to EL2. `running` is what `enter` left in `PerCpu::guest`. Whether the guest goes
/// on.
#[no_mangle]
extern "C" fn el2_guest_trap(frame: &mut Frame, kind: u64, running: *mut Running) -> bool {
    // SAFETY: `Running::enter` is suspended in `el2_guest_enter`, which gave the pointer to the
    // vectors and uses it no more until the guest has left: this is the only reference.
    let running = unsafe { &mut *running };
    if kind == SYNC {
        let esr = read_sysreg!("esr_el2");
        let context = running.context();
        if quick::answer(frame, esr, &running.offer, &context) {
            return true;
        }
    }
    trapped(running, frame, kind)
}

/// All that is more than an answer. Not inlined: it needs all registers, the answers only a few.
#[inline(never)]
fn trapped(running: &mut Running, frame: &mut Frame, kind: u64) -> bool {
    let mut stays = trap::handle(running, frame, kind);
    if stays && running.wake != 0 {
        stays = running.leave(Exit::Interrupt, [0; 4]);
    }
    if !stays {
        running.vcpu.frame = *frame;
    }
    stays
}

/// What the host says of the access that the vCPU left for: `flags` is [`RUN_ACCESS_DONE`] or
/// [`RUN_ACCESS_FAILED`]. `false` if it cannot be so.
fn complete_access(vm: &mut Vm<'static>, vcpu: &mut Vcpu, flags: u64, value: u64) -> bool {
    match (vcpu.pending.take(), flags) {
        (Some(pending), RUN_ACCESS_DONE) => {
            trap::note_device(vm, &pending);
            trap::complete(vcpu, pending, Some(value))
        }
        (Some(pending), RUN_ACCESS_FAILED) => trap::complete(vcpu, pending, None),
        _ => false,
    }
}

/// vcpu_run with [`RUN_ACCESS_ONLY`]: on any CPU, as no guest is entered.
fn complete(handle: u64, index: u64, flags: u64, value: u64) -> Result<Results, Error> {
    let (_, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    // Lossless: below MAX_CPUS.
    let vcpu = vm.take(index, PerCpu::current().index() as u8)?;
    let done = complete_access(vm, vcpu, flags, value);
    vm.put(vcpu);
    if done {
        Ok(results([Exit::Interrupt as u64]))
    } else {
        Err(Error::Invalid)
    }
}

/// vcpu_run.
pub fn run(handle: u64, index: u64, flags: u64, value: u64) -> Result<Results, Error> {
    if flags & !(RUN_ACCESS_DONE | RUN_ACCESS_FAILED) != 0 {
        return if flags & RUN_ACCESS_ONLY != 0 {
            complete(handle, index, flags & !RUN_ACCESS_ONLY, value)
        } else {
            Err(Error::Invalid)
        };
    }
    let this = PerCpu::current();
    let cpu = this.index();
    let guests = system::guests()?;
    let core = system::core(this, guests)?;
    let (n, mut slot) = find_alive(handle)?;
    let vm = slot.vm()?;
    // Lossless: below MAX_CPUS.
    let vcpu = vm.take(index, cpu as u8)?;
    let there = usize::from(vcpu.index);
    // First: the access has been made, whatever becomes of the vCPU meanwhile.
    if flags != 0 && !complete_access(vm, vcpu, flags, value) {
        vm.put(vcpu);
        return Err(Error::Invalid);
    }
    // One time for both: a timer that came due between two looks would neither have its line high nor be
    // waited for.
    let asleep = vm.power.is_suspended(there).then(timers::now);
    if let Some(now) = asleep.filter(|_| vm.vgic.is_ready()) {
        // Its timers are in no CPU, and go on.
        let virt = vcpu.vtimer.level(now.wrapping_sub(vm.cntvoff));
        let phys = vcpu.ptimer.level(now);
        vm.vgic
            .set_timer_line(there, timers::VTIMER, virt, Some(timers::VTIMER));
        vm.vgic.set_timer_line(there, timers::PTIMER, phys, None);
    }
    let interrupt = vm.vgic.is_pending(there, &vcpu.iface);
    match vm.power.enter(there, interrupt) {
        Entry::Run => {}
        Entry::Reset(entry) => vcpu.reset(&entry),
        Entry::Off => {
            vm.put(vcpu);
            return Ok(results([Exit::Off as u64]));
        }
        Entry::Wait => {
            let at = asleep.map_or(NEVER, |now| {
                next_at(&vcpu.vtimer, &vcpu.ptimer, now, vm.cntvoff)
            });
            vm.put(vcpu);
            return Ok(results([Exit::Wait as u64, at]));
        }
    }
    // A page that is mapped now, or an interrupt: the instruction runs again.
    vcpu.pending = None;
    // A GIC that was begun has to be whole; without one the guest sees none.
    if vm.phase == Phase::Setup && vm.vgic.is_begun() {
        if let Err(e) = vm.vgic.expect_complete(vm.regime.ipa_bits) {
            vm.put(vcpu);
            return Err(e);
        }
    }
    vm.phase = Phase::Running;
    // One that the host's accesses caused is taken by the host; one that the guest left, when it had
    // left, is told now.
    let why = if core::mem::take(&mut vcpu.serror) {
        let [failure, class] = trap::MEMORY_ERROR;
        Some([Exit::Failed as u64, failure, class])
    } else if serror::is_pending(core.has.ras) {
        Some([Exit::Interrupt as u64, 0, 0])
    } else {
        None
    };
    if let Some(exit) = why {
        vm.put(vcpu);
        return Ok(results(exit));
    }
    if let Some(from) = vcpu.set_way.next() {
        let next = with_memory(|memory, m| memory.guest_clean(m, n, from));
        if let Ok(next) = next {
            vcpu.set_way.cleaned(next);
        }
        if next != Ok(None) {
            vm.put(vcpu);
            return next.map(|_| results([Exit::Interrupt as u64]));
        }
    }
    let flush = vm.moves_in(cpu as usize, vcpu.index);
    let regime = vm.regime;
    let mut running = Running {
        vcpu,
        slot: n,
        offer: Offer {
            protected: vm.protected,
            granule: PAGE_SIZE,
            ipa_bits: vm.regime.ipa_bits,
            has_trng: entropy::is_there(),
            workarounds: guests.workarounds,
        },
        hardware: core.hardware,
        guests,
        has_gic: vm.vgic.is_ready(),
        cntvoff: vm.cntvoff,
        vtimer_active: false,
        wake: 0,
        exit: [Exit::Interrupt as u64, 0, 0, 0, 0],
        host: HostContext::new(core),
        inside: false,
    };
    drop(slot);

    running.enter(this, &regime, flush);

    let mut slot = VMS[n].lock();
    let vm = slot.vm()?;
    let Running {
        vcpu,
        wake,
        exit: [reason, a, b, c, d],
        ..
    } = running;
    let wake = wake | vm.vgic.sync(there, &mut vcpu.iface);
    vm.put(vcpu);
    Ok([reason, a, b, c, d, wake & !(1 << there)])
}
