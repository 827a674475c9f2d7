// SPDX-License-Identifier: GPL-2.0
//! debugfs `mvirt/el2_regs`: the EL2 registers that EL2 keeps and those that it runs by, of each
//! online CPU, as they are now.
//!
//! One line a register, `cpu encoding value`; the encoding is the name that assemblers take,
//! S<op0>_<op1>_C<CRn>_C<CRm>_<op2>. debugfs may be missing; then there is no file, and no error.
//!
//! Why unsafe: the kernel calls back on each CPU through a C pointer.

use crate::abi::{Caller, Error};
use crate::bindings;
use crate::hvc::El2;
use crate::probe::possible_cpus;
use crate::takeover;
use kernel::debugfs::{Dir, File};
use kernel::ffi::c_void;
use kernel::fmt;
use kernel::prelude::*;

/// More than EL2's list has; a longer one is cut, which the reader sees by its last line.
const MAX_REGISTERS: usize = 128;

/// The directory with its file; both go when it is dropped.
pub(crate) struct Registers {
    _file: Pin<KBox<File<()>>>,
    _dir: Dir,
}

impl Registers {
    /// Makes the file.
    pub(crate) fn new() -> Result<Registers> {
        let dir = Dir::new(kernel::c_str!("mvirt"));
        let file = KBox::pin_init(
            dir.read_callback_file(kernel::c_str!("el2_regs"), (), &|(): &(),
                                                                     f: &mut fmt::Formatter<
                '_,
            >| { show(f) }),
            GFP_KERNEL,
        )?;
        Ok(Registers {
            _file: file,
            _dir: dir,
        })
    }
}

/// What one CPU answered.
struct Answers {
    used: usize,
    registers: [(u64, u64); MAX_REGISTERS],
}

/// # Safety
///
/// `arg` is an `Answers`.
unsafe extern "C" fn read_all(arg: *mut c_void) {
    // SAFETY: by the contract.
    let answers = unsafe { &mut *arg.cast::<Answers>() };
    for index in 0.. {
        match El2.read_reg(index) {
            Ok([encoding, value, ..]) if answers.used < MAX_REGISTERS => {
                answers.registers[answers.used] = (encoding, value);
                answers.used += 1;
            }
            // This CPU does not have it.
            Err(Error::NotSupported) => {}
            _ => break,
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if takeover::host().is_none() {
        return Ok(());
    }
    let mut answers = KBox::new(
        Answers {
            used: 0,
            registers: [(0, 0); MAX_REGISTERS],
        },
        GFP_KERNEL,
    )
    .map_err(|_| fmt::Error)?;
    for cpu in possible_cpus() {
        answers.used = 0;
        let arg: *mut Answers = &mut *answers;
        // SAFETY: `read_all` gets an Answers that outlives the call, which waits. A CPU that is
        // offline is refused and leaves nothing.
        if unsafe { bindings::mvirt_on_cpu(cpu, Some(read_all), arg.cast()) } != 0 {
            continue;
        }
        for (encoding, value) in &answers.registers[..answers.used] {
            let field = |shift: u32, width: u32| (encoding >> shift) & ((1 << width) - 1);
            writeln!(
                f,
                "cpu{cpu} S{}_{}_C{}_C{}_{} {value:#018x}",
                field(19, 2),
                field(16, 3),
                field(12, 4),
                field(8, 4),
                field(5, 3),
            )?;
        }
    }
    Ok(())
}
