// SPDX-License-Identifier: Apache-2.0
//! SIGBUS in guest memory: a device was sent to a page of the DMA pool that the guest has not
//! shared, or shares no longer. Only the guest is to blame, and only its own devices could not go
//! on; there is nothing to return to, so this guest ends, with the terminal as it was.
//!
//! Unsafe, because it reads what the kernel tells a signal handler.

use std::io::{self, Write};
use std::sync::OnceLock;

use vmm_sys_util::signal::register_signal_handler;

use super::ram::Ram;
use crate::error::GUEST_FAILED;
use crate::{sys, terminal};

/// The memory to guard, written once before the handler is set.
static RAM: OnceLock<Ram> = OnceLock::new();

/// Guards the memory of the one guest of this process.
pub fn set(ram: Ram) -> io::Result<()> {
    RAM.get_or_init(|| ram);
    register_signal_handler(libc::SIGBUS, on_sigbus)
        .map_err(|e| io::Error::from_raw_os_error(e.errno()))
}

extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel calls a handler with SA_SIGINFO, as the crate sets it, with a pointer to a
    // siginfo_t, whose address member is there for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    terminal::restore();
    let message: &[u8] = match RAM.get() {
        Some(ram) if ram.contains(address) => {
            b"mvirt: the guest named memory to a device that it does not share: its driver is wrong\n"
        }
        _ => b"mvirt: SIGBUS outside of the guest's memory: a file that is mapped has become shorter\n",
    };
    // If this fails, the exit code is all that is left to say it with. Stderr has no buffer, but a
    // lock: it is held by no code that touches guest memory.
    let _ = io::stderr().write_all(message);
    sys::exit_now(GUEST_FAILED.into());
}
