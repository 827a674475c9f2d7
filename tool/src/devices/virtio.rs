// SPDX-License-Identifier: Apache-2.0
//! Virtio devices (virtio 1.2).
//!
//! A device sees guest memory only as the [`Memory`] that it is given: for a protected guest that
//! is the DMA pool alone, so whatever a driver names outside of it is not there, and the device
//! answers with `DEVICE_NEEDS_RESET`. No reference into guest memory is ever made: what a driver
//! wrote is copied once, then checked, then used.

pub mod blk;
pub mod console;
pub mod mmio;
pub mod net;
pub mod ring;
pub mod rng;
pub mod slot;
#[cfg(test)]
pub mod testing;
pub mod vsock;

pub use ring::Ring;

/// The guest memory that devices may touch.
pub type Memory = vm_memory::GuestMemoryMmap<()>;

/// What a driver did that its device cannot go on from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Whether a device has taken all that was in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nothing is left: the driver is to notify when there is more.
    All,
    /// The device waits for something else before it takes more.
    Waiting,
}

/// Where the driver has put a queue that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Entries.
    pub size: u16,
    /// The descriptor table.
    pub table: u64,
    /// The available ring.
    pub available: u64,
    /// The used ring.
    pub used: u64,
}

/// A device without its transport.
pub trait Device: Send {
    /// Its number (virtio 1.2, section 5).
    fn id(&self) -> u32;

    /// The features that it has itself; the transport adds those of the ring.
    fn features(&self) -> u64;

    /// The largest size of each queue.
    fn queues(&self) -> &'static [u16];

    /// Reads the configuration into `data`, which is zeros.
    fn config(&self, offset: usize, data: &mut [u8]);

    /// The driver is ready, and has accepted these features.
    fn start(&mut self, features: u64);

    /// Called after [`Device::start`] with the queues, each of which lies in the memory that devices may
    /// use: a device whose queues the kernel serves hands them on.
    fn attach(&mut self, _queues: &[Option<Place>]) -> Result<(), Broken> {
        Ok(())
    }

    /// Tells those who serve the queue `index`, if it is not served by [`Device::serve`], that the
    /// driver has notified it; answers whether that is so.
    fn notify(&mut self, _index: usize) -> Result<bool, Broken> {
        Ok(false)
    }

    /// The driver takes the queue `index` away: nobody may touch it after this.
    fn detach(&mut self, _index: usize) {}

    /// The driver resets the device, or can no longer use it: nobody may touch its queues after this.
    fn stop(&mut self) {}

    /// Serves what is in the queue `index`.
    fn serve(&mut self, index: usize, ring: &mut Ring<'_>) -> Result<Served, Broken>;
}

/// Copies the part of `config` at `offset` that is there.
fn copy_config(config: &[u8], offset: usize, data: &mut [u8]) {
    let there = config.get(offset..).unwrap_or_default();
    let len = there.len().min(data.len());
    data[..len].copy_from_slice(&there[..len]);
}
