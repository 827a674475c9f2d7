// SPDX-License-Identifier: GPL-2.0
//! SMCs that go out to the firmware, and CPUs that come in from it.
//!
//! The relay's lock is held while it decides and while it takes a result in, never around the SMC.
//!
//! Why unsafe: SMC is assembly, and the vectors hand a fresh CPU's frame over.

use core::arch::asm;

use mvirt_abi::{Error, Stat, MAX_CPUS};
use mvirt_hyp::errata::{Support, Workarounds, WORKAROUND_1, WORKAROUND_3};
use mvirt_hyp::psci::{Action, Firmware, Relay, State};
use mvirt_hyp::smccc::{Smc, FFA_RXTX_UNMAP};

use crate::cpu::{self, PerCpu};
use crate::entry::Frame;
use crate::lock::SpinLock;
use crate::sysreg::set_host_sctlr;
use crate::{boot, calls};

/// The relay, from `prepare` on. Inner to `calls::MEMORY`.
static PSCI: SpinLock<Option<Relay>> = SpinLock::new(None);

/// Releases the lock of this file if this CPU, which is broken, holds it.
pub fn abandon_lock() {
    PSCI.abandon();
}

const PSCI_VERSION: u64 = 0x8400_0000;
const PSCI_FEATURES: u64 = 0x8400_000a;
const SMCCC_VERSION: u64 = 0x8000_0000;
const SMCCC_ARCH_FEATURES: u64 = 0x8000_0001;
const PSCI_CPU_OFF: u64 = 0x8400_0002;
const PSCI_CPU_SUSPEND_64: u64 = 0xc400_0001;

/// PSTATE of a CPU that PSCI starts at EL1: EL1h, all masked.
const PSTATE_EL1_ENTRY: u64 = 0x3c5;
/// SCTLR_EL1 with everything off: its RES1 bits in Armv8.0, little endian.
const SCTLR_EL1_OFF: u64 = 0x30d0_0800;

/// Calls the firmware: x0 to x17 go and come (SMCCC 1.2).
fn call(regs: &mut [u64; 18]) {
    let [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17] = regs;
    // SAFETY: the firmware is trusted; by SMCCC it changes x0 to x17 at most. What the host may
    // have it do to memory is `mvirt_hyp::smccc`'s to refuse.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") * x0,
            inout("x1") * x1,
            inout("x2") * x2,
            inout("x3") * x3,
            inout("x4") * x4,
            inout("x5") * x5,
            inout("x6") * x6,
            inout("x7") * x7,
            inout("x8") * x8,
            inout("x9") * x9,
            inout("x10") * x10,
            inout("x11") * x11,
            inout("x12") * x12,
            inout("x13") * x13,
            inout("x14") * x14,
            inout("x15") * x15,
            inout("x16") * x16,
            inout("x17") * x17,
            options(nostack),
        );
    }
}

fn call4(args: [u64; 4]) -> u64 {
    let mut regs = [0; 18];
    regs[..4].copy_from_slice(&args);
    call(&mut regs);
    regs[0]
}

/// What the firmware can do for this CPU against branch prediction.
pub fn workarounds() -> Workarounds {
    // SMCCC_ARCH_FEATURES is there from SMCCC 1.1 on, which PSCI_FEATURES(SMCCC_VERSION) tells and
    // PSCI has from 1.0 on. All are 32-bit values.
    let psci_1_0 = call4([PSCI_VERSION, 0, 0, 0]) as u32 >= 0x1_0000;
    if !psci_1_0 || (call4([PSCI_FEATURES, SMCCC_VERSION, 0, 0]) as u32 as i32) < 0 {
        return Workarounds::default();
    }
    if (call4([SMCCC_VERSION, 0, 0, 0]) as u32) < 0x1_0001 {
        return Workarounds::default();
    }
    let ask = |id: u32| Support::from_features(call4([SMCCC_ARCH_FEATURES, id.into(), 0, 0]));
    Workarounds {
        wa1: ask(WORKAROUND_1),
        wa3: ask(WORKAROUND_3),
    }
}

const TRNG_VERSION: u64 = 0x8400_0050;
const TRNG_FEATURES: u64 = 0x8400_0051;
const TRNG_RND_64: u64 = 0xc400_0053;

/// Whether the firmware has random numbers (Arm DEN0098): its version is 1.0 or later, and it has
/// TRNG_RND64.
pub fn has_trng() -> bool {
    let version = call4([TRNG_VERSION, 0, 0, 0]) as u32 as i32;
    version >= 0x1_0000 && call4([TRNG_FEATURES, TRNG_RND_64, 0, 0]) as u32 as i32 >= 0
}

/// A random word from the firmware, or `None` if it has none now.
pub fn trng() -> Option<u64> {
    let mut regs = [0; 18];
    regs[0] = TRNG_RND_64;
    regs[1] = 64;
    call(&mut regs);
    // The bits asked for come in x3 first.
    (regs[0] == 0).then_some(regs[3])
}

/// Makes the relay. Not inlined, as its frame is large. `mpidrs` are those of the CPUs by index.
#[cold]
#[inline(never)]
pub fn init(mpidrs: &[u64]) -> Result<(), Error> {
    // Version and features are 32-bit values.
    let version = call4([PSCI_VERSION, 0, 0, 0]) as u32;
    let features = call4([PSCI_FEATURES, PSCI_CPU_SUSPEND_64, 0, 0]) as u32 as i32;
    let firmware = Firmware {
        version,
        extended_state: version >= 0x1_0000 && features > 0 && features & 2 != 0,
        entry: boot::cpu_on_entry(),
    };
    // The firmware must not go on writing to buffers that the host may give to EL2 from now on. It
    // answers an error where there is no FF-A or nothing is mapped, and then there is nothing to end.
    call4([u64::from(FFA_RXTX_UNMAP), 0, 0, 0]);
    let mut relay = Relay::new(mpidrs, firmware).map_err(|_| Error::Invalid)?;
    for (slot, cpu) in PerCpu::all().iter().enumerate().take(mpidrs.len()) {
        if cpu.phase() != cpu::Phase::Outside && !relay.adopt(slot) {
            return Err(Error::Invalid);
        }
    }
    *PSCI.lock() = Some(relay);
    Ok(())
}

/// CPUs that run the host now, or sleep: a suspended CPU is on (Arm DEN0022F.b, 5.7).
pub fn cpus_online() -> u64 {
    let relay = PSCI.lock();
    let on = |slot: &usize| {
        let state = relay.as_ref().and_then(|relay| relay.state(*slot));
        matches!(state, Some(State::Online | State::Suspended { .. }))
    };
    (0..MAX_CPUS).filter(on).count() as u64
}

/// The kernel tried a kexec.
pub fn soft_restart_refused() {
    if let Some(relay) = PSCI.lock().as_mut() {
        relay.soft_restart_refused();
    }
}

/// The host's SMC. The frame already goes on behind it.
pub fn smc(this: &PerCpu, frame: &mut Frame, imm: u16) {
    let x = &mut frame.x;
    match Smc::classify(imm, x[0]) {
        Smc::Refuse {
            result,
            clears_x4_to_x7,
            ..
        } => {
            this.count(Stat::TrapPsci);
            x[..4].copy_from_slice(&result);
            if clears_x4_to_x7 {
                x[4..8].fill(0);
            }
        }
        Smc::Forward { x0 } => {
            this.count(Stat::TrapSmc);
            let mut regs = [0; 18];
            regs.copy_from_slice(&x[..18]);
            regs[0] = x0;
            call(&mut regs);
            x[..18].copy_from_slice(&regs);
        }
        Smc::Psci(id) => {
            this.count(Stat::TrapPsci);
            let slot = this.index() as usize;
            let action = calls::with_host_ram(|is_host_ram| {
                let mut relay = PSCI.lock();
                relay
                    .as_mut()
                    .map(|r| r.decide(slot, id, [x[1], x[2], x[3]], is_host_ram))
            });
            x[0] = match action {
                // SMCs trap from `enable_cpu` on, and `prepare` made the relay before.
                None => mvirt_hyp::smccc::NOT_SUPPORTED,
                Some(Action::Answer(x0)) => x0,
                Some(Action::Call { regs, then }) => {
                    let x0 = call4(regs);
                    PSCI.lock()
                        .as_mut()
                        .map_or(x0, |relay| relay.complete(then, x0))
                }
            };
        }
    }
}

/// A CPU came from the firmware, with the MMU already on. Fills in the frame by which it enters
/// the host, or sends it off again.
#[no_mangle]
extern "C" fn el2_cpu_boot(frame: &mut Frame, index: u64) {
    let this = PerCpu::adopt_started(index);
    let arrival = PSCI.lock().as_mut().map(|relay| relay.enter(index));
    let Some(Ok(arrival)) = arrival else {
        turn_away()
    };
    if cpu::start(this, arrival.watch_first_write).is_err() {
        if let Some(relay) = PSCI.lock().as_mut() {
            relay.turn_away(index as usize);
        }
        turn_away();
    }
    set_host_sctlr(SCTLR_EL1_OFF);
    *frame = Frame {
        x: [0; 31],
        elr: arrival.entry.pc,
        spsr: PSTATE_EL1_ENTRY,
        reserved: 0,
    };
    frame.x[0] = arrival.entry.x0;
}

/// This CPU must not run the host: nobody called it, or its kind was never seen at take-over and
/// EL2 does not know what its registers should hold.
fn turn_away() -> ! {
    loop {
        call4([PSCI_CPU_OFF, 0, 0, 0]);
    }
}
