// SPDX-License-Identifier: Apache-2.0
//! A virtio device as the vCPUs meet it: its registers behind a lock, and who serves its queues.
//!
//! A device that may wait long, such as a disk, is served by a thread of its own, and the registers
//! that a vCPU needs meanwhile (notify, interrupt status and acknowledge) take no lock of it. The
//! others are served by the vCPU that notifies, which costs the guest least.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};

use virtio_bindings::virtio_mmio as reg;

use super::mmio::{Transport, Wiring, INT_VRING};
use super::{Broken, Device};
use crate::devices::interrupt::Interrupt;
use crate::devices::Mmio;

const NOTIFY: u64 = reg::VIRTIO_MMIO_QUEUE_NOTIFY as u64;
const INTERRUPT_STATUS: u64 = reg::VIRTIO_MMIO_INTERRUPT_STATUS as u64;
const INTERRUPT_ACK: u64 = reg::VIRTIO_MMIO_INTERRUPT_ACK as u64;

/// A device on the bus.
pub struct Slot {
    transport: Mutex<Transport>,
    interrupt: Arc<Interrupt>,
    worker: OnceLock<Thread>,
}

impl Slot {
    /// Puts a device on the bus.
    pub fn new(device: Box<dyn Device>, wiring: Wiring) -> Arc<Slot> {
        let interrupt = wiring.interrupt.clone();
        Arc::new(Slot {
            transport: Mutex::new(Transport::new(device, wiring)),
            interrupt,
            worker: OnceLock::new(),
        })
    }

    /// Gives the device a thread that serves it, until the device is gone.
    pub fn serve_in_thread(self: &Arc<Slot>, name: &str) -> io::Result<()> {
        let device = Arc::downgrade(self);
        let worker = thread::Builder::new().name(name.into()).spawn(move || {
            // A notification that comes while the device is served is kept: park returns at once.
            while let Some(slot) = device.upgrade() {
                slot.lock().serve_all();
                drop(slot);
                thread::park();
            }
        })?;
        self.worker.get_or_init(|| worker.thread().clone());
        Ok(())
    }

    /// The device has something for a queue of the driver's.
    pub fn serve(&self, queue: usize) {
        self.lock().serve(queue);
    }

    /// Those who serve the device's queues have given something back.
    pub fn used(&self) {
        self.interrupt.raise(INT_VRING);
    }

    /// Those who serve the device's queues cannot go on.
    pub fn broken(&self, broken: &Broken) {
        self.lock().broken(broken);
    }

    /// The device's configuration is another one.
    pub fn config_changed(&self) {
        self.lock().config_changed();
    }

    fn lock(&self) -> MutexGuard<'_, Transport> {
        self.transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.get() {
            worker.unpark();
        }
    }
}

impl Mmio for Slot {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if let (INTERRUPT_STATUS, Ok(data)) = (offset, <&mut [u8; 4]>::try_from(&mut *data)) {
            *data = self.interrupt.status().to_le_bytes();
        } else {
            self.lock().read(offset, data);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match (offset, <[u8; 4]>::try_from(data), self.worker.get()) {
            (INTERRUPT_ACK, Ok(data), _) => {
                self.interrupt.acknowledge(u32::from_le_bytes(data));
            }
            (NOTIFY, Ok(_), Some(worker)) => worker.unpark(),
            _ => self.lock().write(offset, data),
        }
    }
}
