// SPDX-License-Identifier: Apache-2.0
//! The devices that a guest sees. They know neither KVM nor the terminal: interrupts go through
//! [`interrupt::Line`], output through [`std::io::Write`], so all of them are tested on any machine.

pub mod interrupt;
pub mod pvpanic;
pub mod serial;
pub mod virtio;

/// What answers at a range of guest-physical addresses. Several vCPUs call it at once; each device
/// has its own lock.
pub trait Mmio: Send + Sync {
    /// The guest reads `data.len()` bytes (1, 2, 4 or 8) at `offset` of the range.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// The guest writes `data` at `offset` of the range.
    fn write(&self, offset: u64, data: &[u8]);
}
