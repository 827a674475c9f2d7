// SPDX-License-Identifier: Apache-2.0
//! The user's terminal while a guest has it.
//!
//! In raw mode each key goes to the guest. [`restore`] gives the terminal back; it is called on
//! every way out: at the end of [`Raw`], by the panic hook, by the handler of SIGBUS, and before the
//! process dies of a signal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use crate::sys;

pub mod escape;
pub mod output;

/// As the terminal was. Written once, before the first raw mode.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();
/// Whether it is in raw mode.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode, until this is dropped.
pub struct Raw(());

impl Raw {
    /// Takes the terminal that standard input is, if it is one.
    pub fn enter() -> io::Result<Option<Raw>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let settings = sys::terminal_settings(io::stdin())?;
        if BEFORE.set(settings).is_ok() {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                hook(info);
            }));
        }
        again()?;
        Ok(Some(Raw(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Sets raw mode, the first time or after the process was stopped and continued.
pub fn again() -> io::Result<()> {
    if let Some(before) = BEFORE.get() {
        IS_RAW.store(true, Ordering::SeqCst);
        sys::set_terminal(io::stdin(), &sys::raw(before))?;
    }
    Ok(())
}

/// Gives the terminal back as it was. It may be called in a signal handler, and more than once.
pub fn restore() {
    if IS_RAW.swap(false, Ordering::SeqCst) {
        if let Some(before) = BEFORE.get() {
            // A terminal that is gone needs nothing, and there is no other way to give it back.
            let _ = sys::set_terminal(io::stdin(), before);
        }
    }
}

/// The size of the terminal, if standard output is one.
pub fn size() -> Option<(u16, u16)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = sys::terminal_size(io::stdout()).ok()?;
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// Says something on standard error while the guest runs.
pub fn say(text: impl Display) {
    let end = if IS_RAW.load(Ordering::SeqCst) {
        "\r\n"
    } else {
        "\n"
    };
    // If this fails, there is nobody to tell.
    let _ = write!(io::stderr(), "mvirt: {text}{end}");
}
