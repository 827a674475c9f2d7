// SPDX-License-Identifier: GPL-2.0
//! A CPU's entry from the stub, the host's stage 2 on it, and its way back.
//!
//! Why unsafe: control registers of EL2 are written.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mvirt_abi::{EntryError, Error, ENTERED_SPECTRE_V2_OPEN, MAX_CPUS};
use mvirt_hyp::admit::admit;
use mvirt_hyp::pgtable::stage2::pa_bits;
use mvirt_hyp::sysreg::{choose, Snapshot, Step, This};

use super::registers::id_regs;
use super::{PerCpu, Phase, CPUS};
use crate::entry::{el2_exit_release, leave_offset, Answer, Frame};
use crate::layout::PAGE_SHIFT;
use crate::lock::SpinLock;
use crate::sysreg::{isb, read_sysreg, write_sysreg};
use crate::{boot, calls, firmware, guest, kept};

/// The least bits of physical address of the CPUs that entered.
static PA_BITS: AtomicU32 = AtomicU32::new(u32::MAX);

/// The least bits of physical address of the CPUs that entered.
pub fn least_pa_bits() -> Result<u32, Error> {
    match PA_BITS.load(Ordering::Relaxed) {
        u32::MAX => Err(Error::Perm),
        bits => Ok(bits),
    }
}

/// The registers that EL2 keeps for the host, by CPU. Innermost of all locks.
static SNAPSHOTS: SpinLock<[Option<Snapshot>; MAX_CPUS]> = SpinLock::new([None; MAX_CPUS]);

/// Releases the lock of this file if this CPU, which is broken, holds it.
pub fn abandon_lock() {
    SNAPSHOTS.abandon();
}

/// A CPU came from the stub; the MMU is on, the vectors are still the stub's. The arguments are
/// what the control registers held before. With an error the entry goes back.
#[no_mangle]
extern "C" fn el2_cpu_enter(index: u64, sctlr: u64, tcr: u64, mair: u64, ttbr0: u64) -> Answer {
    // The assembly checked the index.
    let this = &CPUS[index as usize];
    let found = &this.found;
    this.adopt();
    for (slot, value) in [
        (&this.exit_phys, boot::carveout().0 + leave_offset()),
        (&found.sctlr, sctlr),
        (&found.tcr, tcr),
        (&found.mair, mair),
        (&found.ttbr0, ttbr0),
        (&found.vbar, read_sysreg!("vbar_el2")),
    ] {
        slot.store(value, Ordering::Relaxed);
    }
    let entered = enter(this);
    if entered.is_err() {
        this.restore_stub();
    }
    Answer::new(entered)
}

/// The flags of x1 if all is well.
fn enter(this: &PerCpu) -> Result<u64, EntryError> {
    let params = boot::params();
    let index = this.index();
    // MPIDR_EL1: affinity fields.
    let mpidr = read_sysreg!("mpidr_el1") & 0xff_00ff_ffff;
    if index >= params.nr_cpus || params.cpus[index as usize] != mpidr {
        return Err(Error::Invalid.into());
    }
    if this.phase() != Phase::Outside {
        return Err(Error::Exists.into());
    }
    let ids = id_regs();
    let admitted = admit(&ids, PAGE_SHIFT, &firmware::workarounds())?;
    PA_BITS.fetch_min(admitted.pa_bits, Ordering::Relaxed);
    this.harden(&admitted.mitigations);
    SNAPSHOTS.lock()[index as usize] = Some(Snapshot::take(&ids, kept::read));
    guest::own_off();
    this.set_phase(Phase::Entered);
    Ok(match admitted.mitigations.spectre_v2_open {
        true => ENTERED_SPECTRE_V2_OPEN,
        false => 0,
    })
}

/// What the host's stage 2 takes: VTCR_EL2, VTTBR_EL2 and bits of address.
pub type Regime = (u64, u64, u32);

/// Puts the calling CPU's host under stage 2 (the hypercall).
pub fn enable(this: &PerCpu, regime: Regime) -> Result<(), Error> {
    match this.phase() {
        Phase::Entered => {}
        Phase::Enabled => return Err(Error::Exists),
        Phase::Outside => return Err(Error::Perm),
    }
    let found = &this.found;
    found.hcr.store(read_sysreg!("hcr_el2"), Ordering::Relaxed);
    found
        .vtcr
        .store(read_sysreg!("vtcr_el2"), Ordering::Relaxed);
    found
        .vttbr
        .store(read_sysreg!("vttbr_el2"), Ordering::Relaxed);
    apply(this, regime, false)?;
    this.set_phase(Phase::Enabled);
    Ok(())
}

/// Readies a CPU that firmware has started, or that resumes, for the host. Nothing that was in its
/// registers is relied on: after a resume they are as UNKNOWN as after a power-on (Arm DEN0022F.b,
/// 6.4).
pub fn start(this: &PerCpu, watch: bool) -> Result<(), EntryError> {
    let admitted = admit(&id_regs(), PAGE_SHIFT, &firmware::workarounds())?;
    this.harden(&admitted.mitigations);
    apply(this, calls::host_regime().ok_or(Error::Perm)?, watch)?;
    // As HCR_EL2.E2H is the host's now, EL2's names of the registers are too.
    guest::both_off();
    this.set_phase(Phase::Enabled);
    Ok(())
}

/// Gives this CPU the kept registers, its own or those of one of its kind, and the host's stage 2.
/// The one way to both states, so that a CPU that comes back is like one that was taken.
fn apply(this: &PerCpu, regime: Regime, watch: bool) -> Result<(), Error> {
    let (vtcr, vttbr, bits) = regime;
    let ids = id_regs();
    if pa_bits(ids.pa_range())? < bits {
        return Err(Error::NotSupported);
    }
    let (owner, snapshot) = choose(this.index() as usize, ids.midr(), &*SNAPSHOTS.lock())
        .map(|(owner, snapshot)| (owner, *snapshot))
        .map_err(|_| Error::NotSupported)?;
    let cpu = This {
        ids,
        mpidr: read_sysreg!("mpidr_el1"),
        fwb: false,
        watch,
    };
    let steps = snapshot.replay(&cpu).map_err(|_| Error::NotSupported)?;
    if owner != this.index() as usize {
        this.find_as(&CPUS[owner]);
    }
    let walks = this.stop_walks();
    // SAFETY: the host's tables are built; the host runs only after the ERET, when all of it is in
    // force.
    unsafe {
        write_sysreg!("vtcr_el2", vtcr);
        write_sysreg!("vttbr_el2", vttbr);
    }
    isb();
    for step in steps {
        match step {
            // SAFETY: the value is the replay's.
            Step::Write(register, value) => unsafe { kept::write(register, value) },
            Step::Isb => isb(),
        }
    }
    // SAFETY: invalidation makes no access possible. Entries from before stage 2 was on, or from
    // before the CPU was reset, must not outlive this (Arm ARM D8.16).
    unsafe {
        core::arch::asm!(
            "tlbi alle1",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        );
    }
    drop(walks);
    Ok(())
}

impl PerCpu {
    /// Takes over what a CPU of the same kind was found with: EL2 has not seen the stub on this one,
    /// which firmware started, but it must be there when EL2 is given back. The kernel sets up the
    /// stub alike on all CPUs of a kind.
    ///
    /// The other CPU wrote it before it took the lock of `SNAPSHOTS` in its `enable`, and never again;
    /// this CPU has had that lock since.
    fn find_as(&self, other: &PerCpu) {
        let (ours, theirs) = (&self.found, &other.found);
        for (to, from) in [
            (&self.exit_phys, &other.exit_phys),
            (&ours.sctlr, &theirs.sctlr),
            (&ours.tcr, &theirs.tcr),
            (&ours.mair, &theirs.mair),
            (&ours.ttbr0, &theirs.ttbr0),
            (&ours.vbar, &theirs.vbar),
            (&ours.hcr, &theirs.hcr),
            (&ours.vtcr, &theirs.vtcr),
            (&ours.vttbr, &theirs.vttbr),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Gives back what `enter` and `enable` took, but for the MMU: that is the assembly's.
    fn restore_stub(&self) {
        let found = &self.found;
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        // SAFETY: what the kernel's stub had. Nothing at EL2 uses the vectors or TPIDR_EL2 until
        // the way back is done, and interrupts are masked.
        unsafe {
            if self.phase() == Phase::Enabled {
                write_sysreg!("hcr_el2", get(&found.hcr));
                write_sysreg!("vttbr_el2", get(&found.vttbr));
                write_sysreg!("vtcr_el2", get(&found.vtcr));
                core::arch::asm!(
                    "isb",
                    "tlbi alle1",
                    "dsb nsh",
                    options(nostack, preserves_flags)
                );
            }
            write_sysreg!("vbar_el2", get(&found.vbar));
        }
        isb();
        self.set_phase(Phase::Outside);
    }
}

/// Leaves EL2 to the stub and returns to the host (the hypercall).
pub fn release(this: &PerCpu, frame: &mut Frame) -> ! {
    this.restore_stub();
    frame.x[0] = 0;
    // SAFETY: the frame is the one at the top of this CPU's stack, and all that EL2 changed for
    // itself is restored.
    unsafe { el2_exit_release(this, frame) }
}
