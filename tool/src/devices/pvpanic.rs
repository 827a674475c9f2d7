// SPDX-License-Identifier: Apache-2.0
//! pvpanic (QEMU's docs/specs/pvpanic.rst): one byte, to which a guest's kernel writes that it
//! panicked. Without it a guest that resets itself after a panic cannot be told from one that was
//! told to reboot.

use super::Mmio;

/// The guest panicked and will do nothing about it.
const PANICKED: u8 = 1;
/// The guest panicked and its crash kernel goes on: its end will say how it ended.
const CRASH_LOADED: u8 = 2;

/// The device; `on_panic` is called at each panic.
pub struct Pvpanic<F> {
    /// Who wants to know.
    pub on_panic: F,
}

impl<F: Fn() + Send + Sync> Mmio for Pvpanic<F> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let (0, Some(first)) = (offset, data.first_mut()) {
            *first = PANICKED | CRASH_LOADED;
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == 0 && data.first().is_some_and(|events| events & PANICKED != 0) {
            (self.on_panic)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_panic_is_told_and_nothing_else_is() {
        let panics = AtomicU32::new(0);
        let device = Pvpanic {
            on_panic: || {
                panics.fetch_add(1, Ordering::Relaxed);
            },
        };
        let mut events = [0xff];
        device.read(0, &mut events);
        assert_eq!(events, [PANICKED | CRASH_LOADED]);
        device.read(1, &mut events);
        assert_eq!(events, [0]);
        device.write(0, &[CRASH_LOADED]);
        device.write(1, &[PANICKED]);
        assert_eq!(panics.load(Ordering::Relaxed), 0);
        device.write(0, &[PANICKED]);
        assert_eq!(panics.load(Ordering::Relaxed), 1);
    }
}
