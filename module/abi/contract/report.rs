// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What EL2 leaves behind when it faults or panics: raw numbers, which EL1 formats and names.
//!
//! EL2 fills the page, [`Report::magic`] last, and then lets the host take an SError, as if an
//! access had gone wrong beyond repair: the kernel panics, and EL1's panic notifier finds the page.

/// The most return addresses in a report.
pub const MAX_TRACE: usize = 32;
/// How many of a CPU's last traps a report shows.
pub const MAX_TRAPS: usize = 16;
/// Bytes of text in a report.
pub const MAX_TEXT: usize = 256;
/// `b"mvREPORT"`, little endian.
pub const REPORT_MAGIC: u64 = u64::from_le_bytes(*b"mvREPORT");

/// Why there is a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ReportKind {
    /// An exception that EL2 took from itself: synchronous.
    Fault = 0,
    /// An interrupt at EL2, where they are masked.
    Interrupt = 1,
    /// An SError at EL2.
    SError = 2,
    /// The stack ran into its guard page.
    StackOverflow = 3,
    /// EL2's code panicked; the text says why and where.
    Panic = 4,
}

impl ReportKind {
    /// Reads the number in a report.
    pub fn from_raw(raw: u32) -> Option<ReportKind> {
        use ReportKind::*;
        [Fault, Interrupt, SError, StackOverflow, Panic]
            .into_iter()
            .find(|k| *k as u32 == raw)
    }
}

/// One trap of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TrapRecord {
    /// ESR_EL2.
    pub esr: u64,
    /// ELR_EL2: an address of the host's.
    pub elr: u64,
    /// x0 at an HVC or SMC, else FAR_EL2.
    pub info: u64,
}

/// The page.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Report {
    /// [`REPORT_MAGIC`] once all else is written.
    pub magic: u64,
    /// [`ReportKind`].
    pub kind: u32,
    /// Index of the CPU.
    pub cpu: u32,
    /// ESR_EL2 of the fault; 0 for a panic.
    pub esr: u64,
    /// ELR_EL2 of the fault, as an offset in the image where it lies in it.
    pub elr: u64,
    /// SPSR_EL2 of the fault.
    pub spsr: u64,
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2.
    pub hpfar: u64,
    /// SP_EL2.
    pub sp: u64,
    /// x0 to x30 at the fault; zeros for a panic.
    pub x: [u64; 31],
    /// How many entries of `trace` are used.
    pub nr_trace: u32,
    /// How many entries of `traps` are used.
    pub nr_traps: u32,
    /// Return addresses, innermost first, as offsets in the image.
    pub trace: [u64; MAX_TRACE],
    /// This CPU's last traps, newest first.
    pub traps: [TrapRecord; MAX_TRAPS],
    /// Bytes used of `text`.
    pub text_len: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
    /// The panic's place and message, UTF-8.
    pub text: [u8; MAX_TEXT],
}

const _: () = assert!(core::mem::size_of::<Report>() <= 4096);
