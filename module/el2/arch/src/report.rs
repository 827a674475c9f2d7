// SPDX-License-Identifier: GPL-2.0
//! What is left behind when EL2 faults or panics.
//!
//! The first CPU that breaks fills the report page with raw numbers; names and formatting are EL1's
//! work. Then it lets the host take an SError that cannot be mended, whatever the host was doing:
//! the kernel panics by its own means, prints the page from a panic notifier, writes pstore, and
//! stops or reboots as its watchdog and `panic=` say. Other CPUs that break find the page taken and
//! go the same way. From then on EL2 changes nothing more (`lock::BROKEN`).
//!
//! Why unsafe: the page is shared with the host, and the call trace follows frame pointers.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mvirt_abi::{
    Report, ReportKind, TrapRecord, MAX_TEXT, MAX_TRACE, MAX_TRAPS, REPORT_MAGIC, STACK_SIZE,
};

use crate::cpu::{self, PerCpu, Phase};
use crate::entry::{el2_exit, serror_window, Frame};
use crate::layout::{stack_base, IMAGE_BASE, LINEAR_BASE, STACKS_BASE};
use crate::lock::BROKEN;
use crate::sysreg::read_sysreg;
use crate::{calls, firmware, guest, host};

/// Physical address of the report page; 0 until the host has shared it.
static PAGE: AtomicU64 = AtomicU64::new(0);

/// Set by the CPU that writes the report.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Tells where the page is, once it is mapped.
pub fn set_page(phys: u64) {
    PAGE.store(phys, Ordering::Release);
}

/// The last traps of a CPU: a ring that only this CPU writes.
#[repr(C)]
pub struct TrapRing {
    next: AtomicU64,
    entries: [[AtomicU64; 3]; MAX_TRAPS],
}

impl TrapRing {
    /// An empty ring.
    pub const fn new() -> TrapRing {
        TrapRing {
            next: AtomicU64::new(0),
            entries: [const { [const { AtomicU64::new(0) }; 3] }; MAX_TRAPS],
        }
    }

    /// Adds a trap.
    pub fn push(&self, esr: u64, elr: u64, info: u64) {
        let n = self.next.load(Ordering::Relaxed);
        let entry = &self.entries[n as usize % MAX_TRAPS];
        for (slot, value) in entry.iter().zip([esr, elr, info]) {
            slot.store(value, Ordering::Relaxed);
        }
        self.next.store(n.wrapping_add(1), Ordering::Relaxed);
    }

    fn newest_first(&self) -> ([TrapRecord; MAX_TRAPS], u32) {
        let mut out = [TrapRecord::default(); MAX_TRAPS];
        let n = self.next.load(Ordering::Relaxed);
        let used = n.min(MAX_TRAPS as u64);
        for (i, record) in (0..used).zip(out.iter_mut()) {
            let [esr, elr, info] = &self.entries[(n - 1 - i) as usize % MAX_TRAPS];
            *record = TrapRecord {
                esr: esr.load(Ordering::Relaxed),
                elr: elr.load(Ordering::Relaxed),
                info: info.load(Ordering::Relaxed),
            };
        }
        (out, used as u32)
    }
}

/// An address in the image as its offset; any other address as it is.
fn offset(address: u64) -> u64 {
    if (IMAGE_BASE..STACKS_BASE).contains(&address) {
        address - IMAGE_BASE
    } else {
        address
    }
}

/// Follows the frame records from `fp` as long as they lie on this CPU's stack and go up.
fn trace(cpu: u32, mut fp: u64, out: &mut [u64; MAX_TRACE], mut used: usize) -> usize {
    let base = stack_base(cpu.into());
    let top = base + STACK_SIZE;
    while used < MAX_TRACE && fp >= base && fp <= top - 16 && fp % 16 == 0 {
        // SAFETY: 16 aligned bytes on this CPU's own stack, which is mapped.
        let [next, ret] = unsafe { core::ptr::read_volatile(fp as *const [u64; 2]) };
        if ret == 0 {
            break;
        }
        out[used] = offset(ret);
        used += 1;
        if next <= fp {
            break;
        }
        fp = next;
    }
    used
}

/// Text that is cut where it ends.
struct Text {
    bytes: [u8; MAX_TEXT],
    used: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for (slot, byte) in self.bytes[self.used..].iter_mut().zip(s.bytes()) {
            *slot = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Writes the report and sends the host into its panic.
fn give_up(kind: ReportKind, frame: Option<&Frame>, fp: u64, text: Text) -> ! {
    // SCTLR_EL2.M: with the MMU off there is no data of this CPU's to look at, and what a panic
    // carries holds link addresses. The machine stays where it is, for a watchdog to see.
    if read_sysreg!("sctlr_el2") & 1 == 0 {
        loop {
            core::hint::spin_loop();
        }
    }
    BROKEN.store(true, Ordering::SeqCst);
    let this = PerCpu::current();
    calls::abandon_lock();
    firmware::abandon_lock();
    cpu::abandon_lock();
    guest::abandon_locks();
    guest::abandon(this);
    let page = PAGE.load(Ordering::Acquire);
    if page != 0 && !TAKEN.swap(true, Ordering::SeqCst) {
        let (traps, nr_traps) = this.traps.newest_first();
        let mut addresses = [0; MAX_TRACE];
        let mut used = 0;
        if let Some(frame) = frame {
            // The innermost function may not have pushed its record yet.
            addresses[0] = offset(frame.x[30]);
            used = 1;
        }
        let used = trace(this.index(), fp, &mut addresses, used);
        let report = Report {
            magic: 0,
            kind: kind as u32,
            cpu: this.index(),
            esr: frame.map_or(0, |_| read_sysreg!("esr_el2")),
            elr: frame.map_or(addresses[0], |f| offset(f.elr)),
            spsr: frame.map_or(0, |f| f.spsr),
            far: frame.map_or(0, |_| read_sysreg!("far_el2")),
            hpfar: frame.map_or(0, |_| read_sysreg!("hpfar_el2")),
            sp: frame.map_or(fp, |f| {
                (&raw const *f) as u64 + core::mem::size_of::<Frame>() as u64
            }),
            x: frame.map_or([0; 31], |f| f.x),
            nr_trace: used as u32,
            nr_traps,
            trace: addresses,
            traps,
            text_len: text.used as u32,
            reserved: 0,
            text: text.bytes,
        };
        let to = (LINEAR_BASE + page) as *mut Report;
        // SAFETY: the page is mapped here since `set_page` and large enough (asserted in the
        // contract); the host may read it while it is written, and waits for the magic.
        unsafe {
            core::ptr::write_volatile(to, report);
            core::sync::atomic::fence(Ordering::Release);
            core::ptr::write_volatile(&raw mut (*to).magic, REPORT_MAGIC);
        }
    }
    // Until EL2 is final it protects nothing, and a CPU may go back to the host without a stage 2. Afterwards
    // one that has entered and is not enabled may not: the host would reach all of memory.
    let answerable = match this.phase() {
        Phase::Enabled => true,
        Phase::Entered => !calls::is_finalised(),
        Phase::Outside => false,
    };
    let Some(host) = host::interrupted(this).filter(|_| answerable) else {
        // Nobody to return to. A watchdog ends it.
        loop {
            core::hint::spin_loop();
        }
    };
    host::inject_serror(host);
    // SAFETY: `interrupted` gives the frame at the top of this CPU's stack, which is whole: EL2
    // changes it only through the handlers that have now been given up.
    unsafe { el2_exit(host) }
}

/// EL2 took an exception from itself. `kind` is the vector: synchronous, IRQ, FIQ, SError. It comes
/// back where EL2 let an SError in.
#[no_mangle]
extern "C" fn el2_own_trap(frame: &mut Frame, kind: u64) {
    if kind == 3 && (serror_window().contains(&frame.elr)) {
        frame.x[0] = read_sysreg!("esr_el2");
        return;
    }
    own_fault(frame, kind)
}

fn own_fault(frame: &Frame, kind: u64) -> ! {
    let guard = stack_base(PerCpu::current().index().into()) - STACK_SIZE;
    let far = read_sysreg!("far_el2");
    let kind = match kind {
        0 if (guard..guard + STACK_SIZE).contains(&far) => ReportKind::StackOverflow,
        0 => ReportKind::Fault,
        3 => ReportKind::SError,
        _ => ReportKind::Interrupt,
    };
    give_up(
        kind,
        Some(frame),
        frame.x[29],
        Text {
            bytes: [0; MAX_TEXT],
            used: 0,
        },
    )
}

#[cfg_attr(not(test), panic_handler)]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Text {
        bytes: [0; MAX_TEXT],
        used: 0,
    };
    // Cannot fail: `Text` cuts.
    let _ = write!(text, "{info}");
    let fp: u64;
    // SAFETY: reads the frame pointer.
    unsafe { core::arch::asm!("mov {}, x29", out(reg) fp, options(nomem, nostack)) };
    give_up(ReportKind::Panic, None, fp, text)
}

/// Breaks EL2 in the way that `kind` names (the hypercall). Not inlined, so that its name shows.
#[cfg(mvirt_crash_test)]
#[inline(never)]
pub fn crash(kind: u64) -> Result<mvirt_abi::Results, mvirt_abi::Error> {
    // On purpose.
    #[allow(unconditional_recursion)]
    fn overflow(depth: u64) -> u64 {
        let frame = core::hint::black_box([depth; 64]);
        overflow(depth + 1) + frame[0]
    }
    match kind {
        0 => {
            // SAFETY: none: nothing is mapped there, and this is the fault that was asked for.
            let word = unsafe { ((STACKS_BASE - 8) as *const u64).read_volatile() };
            Ok(mvirt_abi::results([word]))
        }
        1 => panic!("asked for by the host"),
        2 => Ok(mvirt_abi::results([overflow(0)])),
        3 => {
            // SAFETY: none: text is not writable, which is what this shows.
            unsafe { (IMAGE_BASE as *mut u64).write_volatile(0) };
            Ok(mvirt_abi::NONE)
        }
        _ => Err(mvirt_abi::Error::Invalid),
    }
}

/// Only an image built to be broken can be.
#[cfg(not(mvirt_crash_test))]
pub fn crash(_kind: u64) -> Result<mvirt_abi::Results, mvirt_abi::Error> {
    Err(mvirt_abi::Error::NotSupported)
}
