// SPDX-License-Identifier: Apache-2.0
//! What the threads of a guest tell the one that waits for its end.

use std::sync::mpsc;

use crate::error::Error;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// The guest ended.
    Ended(Ending),
    /// The guest cannot go on.
    Failed(Error),
    /// The terminal has another size.
    Resized,
    /// The process was continued after a stop.
    Continued,
    /// A signal that ends a process.
    Signal(i32),
}

/// How a guest ends by itself or by its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It powered itself off.
    PowerOff,
    /// It wanted a reset.
    Reset,
    /// It crashed.
    Crash,
    /// The escape key.
    Left,
    /// A signal of this number, to die of.
    Signal(i32),
}

impl Ending {
    /// The exit code, as [`crate::error::EXIT_CODES`] lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::PowerOff => 0,
            Ending::Reset => 6,
            Ending::Crash => 7,
            Ending::Left => 9,
            // As the shell tells it, should the signal not end the process.
            Ending::Signal(signal) => 128 | u8::try_from(signal).unwrap_or(127),
        }
    }

    /// What the user reads, if the guest did not just power off.
    pub fn message(self) -> Option<&'static str> {
        match self {
            Ending::PowerOff | Ending::Signal(_) => None,
            Ending::Reset => Some("wanted a reset, and is stopped"),
            Ending::Crash => Some("crashed"),
            Ending::Left => Some("stopped by Ctrl-A x"),
        }
    }
}

/// How to tell.
pub type Events = mpsc::Sender<Event>;

/// Tells, unless nobody waits any more: then the guest has ended.
pub fn tell(events: &Events, event: Event) {
    drop(events.send(event));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart_and_documented() {
        use Ending::{Crash, Left, PowerOff, Reset};
        let codes = [PowerOff, Reset, Crash, Left].map(Ending::exit_code);
        for (n, code) in codes.iter().enumerate() {
            assert!(!codes[..n].contains(code));
            let line = format!("\n  {code}  ");
            assert!(crate::error::EXIT_CODES.contains(&line), "{code}");
        }
        assert_eq!(Ending::Signal(15).exit_code(), 143);
    }
}
