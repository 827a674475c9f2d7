// SPDX-License-Identifier: GPL-2.0
//! Who else wants the machine: a kernel started by kexec, a hibernation image.
//!
//! ```text
//!  kexec --> reboot notifiers --> devices shut down --> other CPUs off --> next kernel
//!                 |                     |
//!                 v                     v
//!         EL2 released, where     still ours: the machine
//!         that is allowed         restarts instead
//! ```
//!
//! A kernel that comes by kexec would take EL2's memory for its own, and meet EL2's refusals: so EL2
//! is given back before, or the machine restarts. Hibernation is refused: the image would lack the
//! pages of EL2 and of protected guests, and one that is restored would find EL2 gone. The crash kernel
//! is told nothing and starts at EL1, beside EL2 (Documentation/take-over.rst).
//!
//! Why unsafe: the kernel calls back through C.

use crate::bindings;
use crate::takeover;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// Registered with the kernel, until dropped.
pub(crate) struct Handover;

impl Handover {
    /// Registers with the kernel. Without a host under EL2 nothing is done when it calls.
    pub(crate) fn new() -> Result<Handover> {
        // SAFETY: what is called lives as long as the module, whose `Handover` unregisters it.
        to_result(unsafe { bindings::mvirt_handover_add() })?;
        Ok(Handover)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        // SAFETY: registered in `new`.
        unsafe { bindings::mvirt_handover_remove() };
    }
}

/// A kexec has been announced.
static KEXEC: AtomicBool = AtomicBool::new(false);

/// # Safety
///
/// Called by `glue_handover.c` alone.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_hibernate() -> c_int {
    if takeover::host().is_none() {
        return 0;
    }
    pr_err!(
        "hibernation is refused: an image cannot hold the memory of EL2; suspend or power off, or \
         unload mvirt first, which takes allow_release=1\n"
    );
    EBUSY.to_errno()
}

/// # Safety
///
/// As `mvirt_rs_hibernate`.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_restore() -> c_int {
    if takeover::host().is_none() {
        return 0;
    }
    pr_err!(
        "a hibernation image is not restored: it would take the place of EL2's memory; load mvirt \
         after it\n"
    );
    EBUSY.to_errno()
}

/// # Safety
///
/// As `mvirt_rs_hibernate`; may sleep.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_kexec() {
    KEXEC.store(true, Ordering::Relaxed);
    match takeover::leave() {
        Ok(()) => {}
        Err(why) => pr_err!("kexec: {}; the machine restarts instead\n", why),
    }
}

/// # Safety
///
/// As `mvirt_rs_kexec`.
#[no_mangle]
unsafe extern "C" fn mvirt_rs_shutdown() {
    if KEXEC.load(Ordering::Relaxed) && takeover::is_in_force() {
        pr_emerg!("kexec: EL2 is not given back: restarting the machine\n");
        // SAFETY: devices are shut down; does not return.
        unsafe { bindings::mvirt_restart() };
    }
}
