// SPDX-License-Identifier: Apache-2.0
//! Interrupt lines, and the status register that a virtio device has before its line.

use std::sync::{Mutex, PoisonError};

/// An input of the guest's interrupt controller.
pub trait Line: Send + Sync {
    /// Sets the level.
    fn set(&self, high: bool);
}

/// A level-sensitive interrupt with its reasons: the line is high while a bit of the status is set.
///
/// The lock is held while the line changes, so that the line always ends as the status says. It is
/// a leaf: nothing else is locked under it.
pub struct Interrupt {
    status: Mutex<u32>,
    line: Box<dyn Line>,
}

impl Interrupt {
    /// An interrupt that is not raised.
    pub fn new(line: Box<dyn Line>) -> Interrupt {
        let status = Mutex::new(0);
        Interrupt { status, line }
    }

    /// The reasons that have not been acknowledged.
    pub fn status(&self) -> u32 {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds reasons.
    pub fn raise(&self, bits: u32) {
        self.change(|status| status | bits);
    }

    /// Takes reasons away.
    pub fn acknowledge(&self, bits: u32) {
        self.change(|status| status & !bits);
    }

    fn change(&self, to: impl FnOnce(u32) -> u32) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let new = to(*status);
        if (new != 0) != (*status != 0) {
            self.line.set(new != 0);
        }
        *status = new;
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use super::*;

    /// A line that notes each change.
    #[derive(Clone, Default)]
    pub struct Wire(pub Arc<Mutex<Vec<bool>>>);

    impl Line for Wire {
        fn set(&self, high: bool) {
            self.0.lock().unwrap().push(high);
        }
    }

    #[test]
    fn the_line_is_high_while_a_reason_is_left() {
        let wire = Wire::default();
        let interrupt = Interrupt::new(Box::new(wire.clone()));
        interrupt.raise(1);
        interrupt.raise(2);
        assert_eq!(interrupt.status(), 3);
        interrupt.acknowledge(1);
        assert_eq!(*wire.0.lock().unwrap(), [true]);
        interrupt.acknowledge(2 | 4);
        assert_eq!(interrupt.status(), 0);
        interrupt.acknowledge(2);
        interrupt.raise(2);
        assert_eq!(*wire.0.lock().unwrap(), [true, false, true]);
    }
}
