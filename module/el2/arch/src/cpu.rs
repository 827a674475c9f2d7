// SPDX-License-Identifier: GPL-2.0
//! A CPU's own data, its take-over from the stub and its way back.
//!
//! ```text
//!  Outside --entry--> Entered --enable_cpu--> Enabled --PSCI CPU_OFF--> (off)
//!     ^                  |                       |  ^                     |
//!     +-----release------+-------release---------+  +----PSCI CPU_ON------+
//! ```
//!
//! `Outside`: the kernel's stub has EL2, or the CPU is off and never was here. `Entered`: EL2 is
//! ours, the host has no stage 2 yet. `Enabled`: the host is under stage 2 and its SMCs trap.
//!
//! All of a CPU's data is written by that CPU alone and is atomic only so that others may read
//! counters and kept registers; no order between its members is relied on but where it is said.
//!
//! Why unsafe: TPIDR_EL2 is turned into a reference, and control registers of EL2 are written.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use mvirt_abi::{EntryError, Error, Stat, ENTERED_SPECTRE_V2_OPEN, MAX_CPUS};
use mvirt_hyp::admit::admit;
use mvirt_hyp::cpu::{Feature, IdRegs};
use mvirt_hyp::errata::{Mitigations, OnEntry};
use mvirt_hyp::pgtable::stage2::pa_bits;
use mvirt_hyp::sysreg::{choose, Kept, Snapshot, Step, This};

use crate::entry::{el2_exit_release, leave_offset, vectors, Answer, Frame, Harden};
use crate::layout::PAGE_SHIFT;
use crate::lock::SpinLock;
use crate::report::TrapRing;
use crate::sysreg::{
    host_sctlr, host_tcr, isb, read_sysreg, set_host_sctlr, set_host_tcr, write_sysreg,
};
use crate::{boot, calls, firmware, guest, kept, machine};

/// HCR_EL2.TVM: writes of the host's translation registers trap.
pub const HCR_TVM: u64 = 1 << 26;

/// Where a CPU is in its life; see the picture above. Zero is the safe state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The stub has EL2.
    Outside = 0,
    /// EL2 is ours.
    Entered = 1,
    /// The host is under stage 2.
    Enabled = 2,
}

/// What the registers that EL2 runs by held when the CPU was taken, for the way back; where EL2 never
/// saw the stub, what those of a CPU of the same kind held. The vectors' code reads the first four.
#[repr(C)]
pub struct Found {
    /// SCTLR_EL2.
    pub sctlr: AtomicU64,
    /// TCR_EL2.
    pub tcr: AtomicU64,
    /// MAIR_EL2.
    pub mair: AtomicU64,
    /// TTBR0_EL2.
    pub ttbr0: AtomicU64,
    vbar: AtomicU64,
    hcr: AtomicU64,
    vtcr: AtomicU64,
    vttbr: AtomicU64,
}

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

/// A CPU's own data. TPIDR_EL2 points to it.
#[repr(C, align(64))]
pub struct PerCpu {
    /// Rounds of the Spectre-BHB loop at entry; read by the vectors.
    pub bhb_loops: AtomicU64,
    /// The SMCCC function that the vectors call at entry.
    pub workaround: AtomicU64,
    /// Physical address of `el2_leave`; read by the way back.
    pub exit_phys: AtomicU64,
    /// As found; read by the way back.
    pub found: Found,
    phase: AtomicU32,
    retranslates: AtomicBool,
    par_barrier: AtomicBool,
    speculative_at: AtomicBool,
    /// The host's frame while EL2 handles a trap of it.
    pub frame: AtomicPtr<Frame>,
    /// The `guest::Running` of the vCPU that runs here: whose the traps are. Read by the vectors.
    pub guest: AtomicPtr<c_void>,
    counters: [AtomicU64; Stat::ALL.len()],
    /// The last traps.
    pub traps: TrapRing,
}

static CPUS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

impl PerCpu {
    const fn new() -> PerCpu {
        PerCpu {
            bhb_loops: AtomicU64::new(0),
            workaround: AtomicU64::new(0),
            exit_phys: AtomicU64::new(0),
            found: Found {
                sctlr: AtomicU64::new(0),
                tcr: AtomicU64::new(0),
                mair: AtomicU64::new(0),
                ttbr0: AtomicU64::new(0),
                vbar: AtomicU64::new(0),
                hcr: AtomicU64::new(0),
                vtcr: AtomicU64::new(0),
                vttbr: AtomicU64::new(0),
            },
            phase: AtomicU32::new(Phase::Outside as u32),
            retranslates: AtomicBool::new(false),
            par_barrier: AtomicBool::new(false),
            speculative_at: AtomicBool::new(false),
            frame: AtomicPtr::new(core::ptr::null_mut()),
            guest: AtomicPtr::new(core::ptr::null_mut()),
            counters: [const { AtomicU64::new(0) }; Stat::ALL.len()],
            traps: TrapRing::new(),
        }
    }

    /// All of them, by index.
    pub fn all() -> &'static [PerCpu; MAX_CPUS] {
        &CPUS
    }

    /// This CPU's.
    pub fn current() -> &'static PerCpu {
        let address = read_sysreg!("tpidr_el2");
        // SAFETY: `adopt` has put the address of an element of CPUS there before any Rust code of
        // EL2 that runs with the MMU on asks for it, and nothing else writes it until release.
        unsafe { &*(address as *const PerCpu) }
    }

    /// Stops walks of stage 1 while VTTBR_EL2 changes, if this core needs that.
    pub fn stop_walks(&self) -> Option<Stage1Walks> {
        self.speculative_at
            .load(Ordering::Relaxed)
            .then(Stage1Walks::stop)
    }

    /// Its index.
    pub fn index(&self) -> u32 {
        let at = (&raw const *self) as usize - (&raw const CPUS) as usize;
        (at / core::mem::size_of::<PerCpu>()) as u32
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Entered,
            2 => Phase::Enabled,
            _ => Phase::Outside,
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, Ordering::Release);
    }

    /// Counts a trap.
    pub fn count(&self, stat: Stat) {
        let counter = &self.counters[stat as usize];
        // Only this CPU writes it: no read-modify-write is needed.
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Reads a counter.
    pub fn counter(&self, stat: Stat) -> u64 {
        self.counters[stat as usize].load(Ordering::Relaxed)
    }

    /// Makes this CPU's EL2 state ours: its own data and its vectors.
    fn adopt(&'static self) {
        // SAFETY: TPIDR_EL2 is EL2's own; the reference is 'static.
        unsafe { write_sysreg!("tpidr_el2", (&raw const *self) as u64) };
        // What was there belongs to a trap before the CPU went off.
        self.frame.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.guest.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Makes a CPU's EL2 state its own that firmware has just started. `index` is what the assembly
    /// checked against [`MAX_CPUS`].
    pub fn adopt_started(index: u64) -> &'static PerCpu {
        let this = &CPUS[index as usize];
        this.adopt();
        this.set_phase(Phase::Outside);
        // SAFETY: the vectors are EL2's text, and the stack that they use is this CPU's. VBAR_EL2
        // came out of reset UNKNOWN, so this comes before anything that may fault.
        unsafe { write_sysreg!("vbar_el2", vectors(Harden::Plain)) };
        isb();
        this
    }

    /// Whether HPFAR_EL2 is not to be believed (erratum 834220).
    pub fn retranslates(&self) -> bool {
        self.retranslates.load(Ordering::Relaxed)
    }

    /// Whether walks may start speculatively at EL2 (errata 1165522 and its kin).
    pub fn speculative_at(&self) -> bool {
        self.speculative_at.load(Ordering::Relaxed)
    }

    /// Whether a read of PAR_EL1 needs barriers around it (erratum 1508412).
    pub fn par_barrier(&self) -> bool {
        self.par_barrier.load(Ordering::Relaxed)
    }

    /// Puts the vectors and workarounds in force that the core needs.
    fn harden(&self, needs: &Mitigations) {
        let kind = match needs.on_entry {
            OnEntry::Nothing => Harden::Plain,
            OnEntry::Loop(rounds) => {
                self.bhb_loops.store(rounds.into(), Ordering::Relaxed);
                Harden::Loop
            }
            OnEntry::Firmware(function) => {
                self.workaround.store(function.into(), Ordering::Relaxed);
                Harden::Firmware
            }
            OnEntry::ClearBhb => Harden::ClearBhb,
        };
        self.retranslates
            .store(needs.retranslate, Ordering::Relaxed);
        self.par_barrier.store(needs.par_barrier, Ordering::Relaxed);
        self.speculative_at
            .store(needs.speculative_at, Ordering::Relaxed);
        if needs.repeat_tlbi {
            machine::repeat_tlbi();
        }
        guest::take_in(needs);
        // SAFETY: the vectors are EL2's text; this CPU's data and stack, which they use, are in
        // place.
        unsafe { write_sysreg!("vbar_el2", vectors(kind)) };
        isb();
    }
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

/// No walk of stage 1 of EL1&0 starts while this lives, of the host or of the guest, whichever is
/// the context: errata 1165522, 1319367, 1319537 and
/// 1530923, where a speculative one would mix the old context with the new.
pub struct Stage1Walks {
    tcr: u64,
    sctlr: u64,
}

/// TCR_EL1.EPD0 and EPD1: no walks on a TLB miss.
const TCR_EPD: u64 = (1 << 7) | (1 << 23);
/// SCTLR_EL1.M.
const SCTLR_M: u64 = 1;

impl Stage1Walks {
    fn stop() -> Stage1Walks {
        let walks = Stage1Walks {
            tcr: host_tcr(),
            sctlr: host_sctlr(),
        };
        set_host_tcr(walks.tcr | TCR_EPD);
        isb();
        set_host_sctlr(walks.sctlr | SCTLR_M);
        isb();
        walks
    }
}

impl Drop for Stage1Walks {
    fn drop(&mut self) {
        isb();
        set_host_sctlr(self.sctlr);
        isb();
        set_host_tcr(self.tcr);
        isb();
    }
}

/// Sets or clears HCR_EL2.TVM, for the host or the guest that is in the CPU.
pub fn set_tvm(on: bool) {
    let hcr = read_sysreg!("hcr_el2");
    let hcr = if on { hcr | HCR_TVM } else { hcr & !HCR_TVM };
    // SAFETY: only adds or ends a trap.
    unsafe { write_sysreg!("hcr_el2", hcr) };
    isb();
}

/// ICC_SRE_EL2, 0 on a CPU without the GIC's System registers: without bit 0, SRE, the ICH_*
/// registers are UNDEFINED.
pub fn icc_sre(ids: &IdRegs) -> u64 {
    if ids.has(Feature::Gicv3) {
        read_sysreg!("s3_4_c12_c9_5")
    } else {
        0
    }
}

/// Reads the `index`th register of this CPU as it is now: the kept ones, and behind them those that
/// EL2 itself runs by. Their values tell the host what it knows or may know: where the image lies is
/// the host's own choice, and EL2's addresses are no secret.
pub fn read_reg(index: u64) -> Result<(u64, u64), Error> {
    let index = usize::try_from(index).map_err(|_| Error::NoEntry)?;
    let Some(register) = Kept::ALL.get(index).copied() else {
        let own = kept::read_own(index - Kept::ALL.len()).ok_or(Error::NoEntry)?;
        return Ok((own.0.in_instruction(), own.1));
    };
    let ids = id_regs();
    let (hcr, cptr) = (read_sysreg!("hcr_el2"), read_sysreg!("cptr_el2"));
    if !register.present(&ids, hcr, cptr, icc_sre(&ids)) {
        return Err(Error::NotSupported);
    }
    Ok((register.encoding().in_instruction(), kept::read(register)))
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

/// The ID registers of this CPU.
pub fn id_regs() -> IdRegs {
    let mut ids = IdRegs {
        midr: read_sysreg!("midr_el1"),
        revidr: read_sysreg!("revidr_el1"),
        ctr: read_sysreg!("ctr_el0"),
        pfr0: read_sysreg!("id_aa64pfr0_el1"),
        pfr1: read_sysreg!("id_aa64pfr1_el1"),
        pfr2: read_sysreg!("s3_0_c0_c4_2"),
        dfr0: read_sysreg!("id_aa64dfr0_el1"),
        dfr1: read_sysreg!("id_aa64dfr1_el1"),
        isar1: read_sysreg!("id_aa64isar1_el1"),
        isar2: read_sysreg!("s3_0_c0_c6_2"),
        mmfr0: read_sysreg!("id_aa64mmfr0_el1"),
        mmfr1: read_sysreg!("id_aa64mmfr1_el1"),
        mmfr2: read_sysreg!("s3_0_c0_c7_2"),
        mmfr3: read_sysreg!("s3_0_c0_c7_3"),
        mmfr4: read_sysreg!("s3_0_c0_c7_4"),
        ..IdRegs::default()
    };
    // These are UNDEFINED where their feature is absent.
    if ids.has(Feature::Sme) {
        ids.smidr = read_sysreg!("s3_1_c0_c0_6");
    }
    if ids.has(Feature::Mpam) {
        ids.mpamidr = read_sysreg!("s3_0_c10_c4_4");
    }
    if ids.has(Feature::Spe) {
        ids.pmbidr = read_sysreg!("s3_0_c9_c10_7");
    }
    ids
}
