// SPDX-License-Identifier: Apache-2.0
//! SIGBUS in guest memory: a device was sent to a page of the DMA pool that the guest has not
//! shared, or shares no longer. Only the guest is to blame, and only its own devices could not go
//! on; there is nothing to return to, so this guest ends, with the terminal as it was.
//!
//! Unsafe, because it reads what the kernel tells a signal handler.

use std::io::{self, Write};
use std::sync::OnceLock;

use vmm_sys_util::signal::register_signal_handler;

use super::probe;
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

extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel calls a handler with SA_SIGINFO, as the crate sets it, with its context.
    if unsafe { probe::skip(context) } {
        return;
    }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use super::super::layout::{BLOCK, RAM as BASE};
    use super::*;

    /// Runs `child` of this module in a process of its own.
    fn end_of_child(what: &str) -> (Option<i32>, String) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "run::guard::tests::child"])
            .env("MVIRT_TEST_CHILD", what)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    #[test]
    fn memory_that_is_not_shared_ends_the_guest() {
        let (code, said) = end_of_child("ram");
        assert_eq!(code, Some(GUEST_FAILED.into()), "{said}");
        assert!(said.contains("its driver is wrong"), "{said}");
        let (code, said) = end_of_child("elsewhere");
        assert_eq!(code, Some(GUEST_FAILED.into()), "{said}");
        assert!(said.contains("outside of the guest's memory"), "{said}");
    }

    /// What the test above runs: touches a page behind the end of a file, which is a SIGBUS. By itself
    /// it is no test and does nothing.
    #[test]
    fn child() {
        let Some(what) = std::env::var_os("MVIRT_TEST_CHILD") else {
            return;
        };
        let ram = Ram::map(&(BASE..BASE + BLOCK)).unwrap();
        let other = Ram::map(&(BASE..BASE + BLOCK)).unwrap();
        set(ram).unwrap();
        let place = if what == "ram" { ram } else { other };
        let empty = vmm_sys_util::tempfile::TempFile::new().unwrap();
        // SAFETY: the range was mapped just now and nobody else knows of it.
        let page = unsafe {
            libc::mmap(
                place.address() as *mut libc::c_void,
                4096,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_FIXED,
                empty.as_file().as_raw_fd(),
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the page is mapped; that reading it ends the process is what is tested.
        unsafe { std::ptr::read_volatile(page.cast::<u8>()) };
    }
}
