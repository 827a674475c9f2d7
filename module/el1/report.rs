// SPDX-License-Identifier: GPL-2.0
//! EL2's last words: a panic notifier that prints the report page with names.
//!
//! When EL2 breaks it fills the page and lets this CPU take an SError; the kernel panics, stops
//! the other CPUs and calls the notifiers, then writes pstore and reboots as it was told to.
//!
//! Why unsafe: a notifier is a C structure in a C list, and the page is written by EL2.

use crate::abi::{Report, ReportKind, TrapRecord, MAX_TRACE, MAX_TRAPS, REPORT_MAGIC};
use crate::bindings;
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::ffi::{c_int, c_ulong, c_void};
use kernel::fmt;
use kernel::prelude::*;

extern "C" {
    static mvirt_el2_symbols: [u8; 0];
    static mvirt_el2_symbols_end: [u8; 0];
}

/// The page that EL2 fills, while EL2 has it.
static PAGE: AtomicPtr<Report> = AtomicPtr::new(core::ptr::null_mut());

/// Tells where EL2 would report, or with null that it no longer can.
pub(crate) fn set_page(page: *mut Report) {
    PAGE.store(page, Ordering::Release);
}

/// The registered notifier.
pub(crate) struct Notifier(KBox<bindings::notifier_block>);

// SAFETY: the block is only touched by `new` and `drop`, and by the kernel under its own lock.
unsafe impl Send for Notifier {}
// SAFETY: as above.
unsafe impl Sync for Notifier {}

impl Notifier {
    /// Registers it.
    pub(crate) fn new() -> Result<Notifier> {
        let block = bindings::notifier_block {
            notifier_call: Some(panicked),
            next: core::ptr::null_mut(),
            // Early: others may not return.
            priority: c_int::MAX,
        };
        let mut block = KBox::new(block, GFP_KERNEL)?;
        // SAFETY: the block lives on the heap until `drop` has taken it off the list.
        let ret = unsafe {
            bindings::atomic_notifier_chain_register(
                &raw mut bindings::panic_notifier_list,
                &mut *block,
            )
        };
        kernel::error::to_result(ret)?;
        Ok(Notifier(block))
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        // SAFETY: registered in `new`.
        unsafe {
            bindings::atomic_notifier_chain_unregister(
                &raw mut bindings::panic_notifier_list,
                &mut *self.0,
            );
        }
    }
}

/// # Safety
///
/// Called by the kernel's panic() alone.
unsafe extern "C" fn panicked(
    _block: *mut bindings::notifier_block,
    _action: c_ulong,
    _data: *mut c_void,
) -> c_int {
    let page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        return 0;
    }
    // SAFETY: the page is there until it is unset; EL2 writes it once, before this CPU got here,
    // and it is copied before it is looked at.
    let report = unsafe { core::ptr::read_volatile(page) };
    if report.magic == REPORT_MAGIC {
        print(&report);
    }
    0
}

/// Names an offset in the image: `function+0x12`.
struct Symbol(u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup(self.0) {
            Some((name, offset)) => {
                fmt::Display::fmt(&Demangled(name), f)?;
                write!(f, "+{offset:#x}")
            }
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// The last function that starts at or before `offset`, and how far into it.
fn lookup(offset: u64) -> Option<(&'static str, u64)> {
    let start = (&raw const mvirt_el2_symbols).cast::<u8>();
    let end = (&raw const mvirt_el2_symbols_end).cast::<u8>();
    // SAFETY: the assembler placed the table between the two symbols, in read-only data.
    let mut table = unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) };
    let mut found = None;
    while let Some((number, rest)) = table.split_first_chunk::<4>() {
        let at = u64::from(u32::from_le_bytes(*number));
        if at > offset {
            break;
        }
        let len = rest.iter().position(|byte| *byte == 0)?;
        let name = core::str::from_utf8(&rest[..len]).ok()?;
        found = Some((name, offset - at));
        table = &rest[len + 1..];
    }
    found
}

/// A name in Rust's legacy mangling, `_ZN5mvirt3cpu4bootE`, as the path that it is; another name
/// stays as it is.
struct Demangled(&'static str);

impl fmt::Display for Demangled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut rest) = self.0.strip_prefix("_ZN") else {
            return f.write_str(self.0);
        };
        let mut first = true;
        while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0) {
            let Ok(len) = rest[..digits].parse::<usize>() else {
                break;
            };
            let Some(part) = rest.get(digits..digits + len) else {
                break;
            };
            if !first {
                f.write_str("::")?;
            }
            first = false;
            f.write_str(part)?;
            rest = &rest[digits + len..];
        }
        Ok(())
    }
}

fn print(report: &Report) {
    let kind = match ReportKind::from_raw(report.kind) {
        Some(ReportKind::Fault) => "fault",
        Some(ReportKind::Interrupt) => "unexpected interrupt",
        Some(ReportKind::SError) => "SError",
        Some(ReportKind::StackOverflow) => "stack overflow",
        Some(ReportKind::Panic) => "panic",
        None => "report of an unknown kind",
    };
    pr_emerg!("EL2 {} on CPU {}\n", kind, report.cpu);
    let text = &report.text[..report.text.len().min(report.text_len as usize)];
    if let Ok(text) = core::str::from_utf8(text) {
        if !text.is_empty() {
            pr_emerg!("{}\n", text);
        }
    }
    pr_emerg!("pc : {}\n", Symbol(report.elr));
    pr_emerg!(
        "esr: {:016x} far: {:016x} hpfar: {:016x}\n",
        report.esr,
        report.far,
        report.hpfar
    );
    pr_emerg!("sp : {:016x} pstate: {:016x}\n", report.sp, report.spsr);
    for (row, x) in report.x.chunks(3).enumerate() {
        let n = row * 3;
        match *x {
            [a, b, c] => pr_emerg!(
                "x{:<2}: {:016x} x{:<2}: {:016x} x{:<2}: {:016x}\n",
                n,
                a,
                n + 1,
                b,
                n + 2,
                c
            ),
            [a] => pr_emerg!("x{:<2}: {:016x}\n", n, a),
            _ => {}
        }
    }
    pr_emerg!("Call trace at EL2:\n");
    for address in &report.trace[..MAX_TRACE.min(report.nr_trace as usize)] {
        pr_emerg!(" {}\n", Symbol(*address));
    }
    pr_emerg!("Last traps of this CPU, newest first:\n");
    for TrapRecord { esr, elr, info } in &report.traps[..MAX_TRAPS.min(report.nr_traps as usize)] {
        pr_emerg!(" esr {:08x} from {:016x} info {:016x}\n", esr, elr, info);
    }
}
