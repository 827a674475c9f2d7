// SPDX-License-Identifier: Apache-2.0
//! The MMIO transport (virtio 1.2, section 4.2): registers, feature negotiation, life cycle.
//!
//! # Invariants
//!
//! - A queue is served only between `DRIVER_OK` and the next reset, and only if its three areas lie
//!   in the memory that devices may use; they were checked when it became ready and stay as they
//!   are until it is not.
//! - After `DEVICE_NEEDS_RESET` nothing is served until the driver resets the device.

use std::sync::Arc;

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK as DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK as FEATURES_OK,
    VIRTIO_CONFIG_S_NEEDS_RESET as NEEDS_RESET, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as reg;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::{Broken, Device, Memory, Place, Ring, Served};
use crate::devices::interrupt::Interrupt;

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "mvrt": any number will do.
const VENDOR: u32 = 0x7472_766d;
/// A queue, as a bit of the interrupt's status.
pub const INT_VRING: u32 = 1;
/// The configuration changed, as a bit of the interrupt's status.
const INT_CONFIG: u32 = 2;

/// The features that a driver must accept: without the first it is of another time, without the
/// second it would name memory by addresses that are not the device's.
const fn demanded(restricted: bool) -> u64 {
    1 << VIRTIO_F_VERSION_1 | (restricted as u64) << VIRTIO_F_ACCESS_PLATFORM
}

/// What the transport offers for each device.
const OFFERED: u64 = 1 << VIRTIO_F_VERSION_1
    | 1 << VIRTIO_F_ACCESS_PLATFORM
    | 1 << VIRTIO_RING_F_EVENT_IDX
    | 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// A queue and what the driver has written about it.
struct Slot {
    queue: Queue,
    size: u32,
    /// Of the descriptor table, the available ring, the used ring.
    areas: [u64; 3],
}

impl Slot {
    fn new(max: u16) -> Slot {
        Slot {
            queue: Queue::new(max).expect("the sizes of our queues are powers of two"),
            size: max.into(),
            areas: [0; 3],
        }
    }

    /// Where the queue is, once it is ready.
    fn place(&self) -> Option<Place> {
        let [table, available, used] = self.areas;
        self.queue.ready().then(|| Place {
            size: self.queue.size(),
            table,
            available,
            used,
        })
    }
}

/// What a device is told of and tells by.
pub struct Wiring {
    /// The memory that the device may touch.
    pub memory: Memory,
    /// Whether that is not all of the guest's.
    pub restricted: bool,
    /// The device's interrupt.
    pub interrupt: Arc<Interrupt>,
    /// Told when a driver breaks the device.
    pub report: Box<dyn Fn(&Broken) + Send>,
}

/// A device with its registers.
pub struct Transport {
    device: Box<dyn Device>,
    wiring: Wiring,
    queues: Vec<Slot>,
    status: u32,
    accepted: u64,
    select_offered: u32,
    select_accepted: u32,
    select_queue: u32,
    generation: u32,
}

impl Transport {
    /// A device after reset.
    pub fn new(device: Box<dyn Device>, wiring: Wiring) -> Transport {
        let queues = device.queues().iter().map(|&max| Slot::new(max)).collect();
        Transport {
            device,
            wiring,
            queues,
            status: 0,
            accepted: 0,
            select_offered: 0,
            select_accepted: 0,
            select_queue: 0,
            generation: 0,
        }
    }

    /// Reads a register or a part of the configuration; what is neither is zeros.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(at) = offset.checked_sub(reg::VIRTIO_MMIO_CONFIG.into()) {
            if let Ok(at) = usize::try_from(at) {
                self.device.config(at, data);
            }
        } else if let Ok(data) = <&mut [u8; 4]>::try_from(data) {
            // Section 4.2.2.2: registers are read and written as 32 bits, aligned.
            *data = self.register(offset).to_le_bytes();
        }
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.select_queue as usize);
        match u32::try_from(offset).unwrap_or(u32::MAX) {
            reg::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            reg::VIRTIO_MMIO_VERSION => VERSION,
            reg::VIRTIO_MMIO_DEVICE_ID => self.device.id(),
            reg::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            reg::VIRTIO_MMIO_DEVICE_FEATURES => half(self.offered(), self.select_offered),
            reg::VIRTIO_MMIO_QUEUE_NUM_MAX => queue.map_or(0, |q| q.queue.max_size().into()),
            reg::VIRTIO_MMIO_QUEUE_READY => queue.map_or(0, |q| q.queue.ready().into()),
            reg::VIRTIO_MMIO_INTERRUPT_STATUS => self.wiring.interrupt.status(),
            reg::VIRTIO_MMIO_STATUS => self.status,
            reg::VIRTIO_MMIO_CONFIG_GENERATION => self.generation,
            // No shared memory: its length and base read as all ones (section 4.2.2.1).
            reg::VIRTIO_MMIO_SHM_LEN_LOW..=reg::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    /// Writes a register; a write to anything else, or of another width, does nothing.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let (Ok(offset), Ok(data)) = (u32::try_from(offset), <[u8; 4]>::try_from(data)) else {
            return;
        };
        let value = u32::from_le_bytes(data);
        match offset {
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.select_offered = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.select_accepted = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES if self.status & FEATURES_OK == 0 => {
                set_half(&mut self.accepted, self.select_accepted, value);
            }
            reg::VIRTIO_MMIO_QUEUE_SEL => self.select_queue = value,
            reg::VIRTIO_MMIO_QUEUE_NOTIFY => self.serve(value as usize),
            reg::VIRTIO_MMIO_INTERRUPT_ACK => self.wiring.interrupt.acknowledge(value),
            reg::VIRTIO_MMIO_STATUS => self.set_status(value),
            _ => self.write_queue(offset, value),
        }
    }

    fn write_queue(&mut self, offset: u32, value: u32) {
        let Some(slot) = self.queues.get_mut(self.select_queue as usize) else {
            return;
        };
        if slot.queue.ready() {
            // Nothing of a queue in use changes but that it is in use.
            if (offset, value) == (reg::VIRTIO_MMIO_QUEUE_READY, 0) {
                slot.queue.reset();
                self.device.detach(self.select_queue as usize);
            }
            return;
        }
        match offset {
            reg::VIRTIO_MMIO_QUEUE_NUM => slot.size = value,
            reg::VIRTIO_MMIO_QUEUE_DESC_LOW => set_half(&mut slot.areas[0], 0, value),
            reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => set_half(&mut slot.areas[0], 1, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_half(&mut slot.areas[1], 0, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_half(&mut slot.areas[1], 1, value),
            reg::VIRTIO_MMIO_QUEUE_USED_LOW => set_half(&mut slot.areas[2], 0, value),
            reg::VIRTIO_MMIO_QUEUE_USED_HIGH => set_half(&mut slot.areas[2], 1, value),
            reg::VIRTIO_MMIO_QUEUE_READY if value == 1 => {
                let event_idx = self.accepted & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
                if let Err(broken) = make_ready(slot, &self.wiring.memory, event_idx) {
                    slot.queue.reset();
                    self.break_off(&broken);
                }
            }
            _ => {}
        }
    }

    fn offered(&self) -> u64 {
        OFFERED | self.device.features()
    }

    /// Section 3.1.1: bits are added one after the other, zero resets.
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let mut added = value & !self.status & !NEEDS_RESET;
        if added & FEATURES_OK != 0 {
            let demanded = demanded(self.wiring.restricted);
            if self.accepted & !self.offered() != 0 || self.accepted & demanded != demanded {
                added &= !FEATURES_OK;
            }
        }
        if (self.status | added) & FEATURES_OK == 0 {
            added &= !DRIVER_OK;
        }
        self.status |= added;
        if added & DRIVER_OK != 0 {
            self.device.start(self.accepted);
            let places: Vec<_> = self.queues.iter().map(Slot::place).collect();
            if let Err(broken) = self.device.attach(&places) {
                self.break_off(&broken);
            }
        }
    }

    fn reset(&mut self) {
        self.device.stop();
        self.status = 0;
        self.accepted = 0;
        for slot in &mut self.queues {
            *slot = Slot::new(slot.queue.max_size());
        }
        self.wiring.interrupt.acknowledge(u32::MAX);
    }

    /// Serves a queue until the driver has nothing more in it.
    pub fn serve(&mut self, index: usize) {
        let Some(slot) = self.queues.get_mut(index) else {
            return;
        };
        let running = self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK;
        if !running || !slot.queue.ready() {
            return;
        }
        match self.device.notify(index) {
            Ok(false) => {}
            Ok(true) => return,
            Err(broken) => return self.break_off(&broken),
        }
        let memory = &self.wiring.memory;
        match serve(&mut *self.device, index, &mut slot.queue, memory) {
            Ok(true) => self.wiring.interrupt.raise(INT_VRING),
            Ok(false) => {}
            Err(broken) => self.break_off(&broken),
        }
    }

    /// Serves all queues.
    pub fn serve_all(&mut self) {
        for index in 0..self.queues.len() {
            self.serve(index);
        }
    }

    /// Somebody who serves the device's queues cannot go on.
    pub fn broken(&mut self, broken: &Broken) {
        if self.status & NEEDS_RESET == 0 {
            self.break_off(broken);
        }
    }

    /// Tells the driver that the configuration is another one.
    pub fn config_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.status & DRIVER_OK != 0 {
            self.wiring.interrupt.raise(INT_CONFIG);
        }
    }

    /// Section 2.1.2: the device cannot go on, and tells a driver that has come so far.
    fn break_off(&mut self, broken: &Broken) {
        self.device.stop();
        self.status |= NEEDS_RESET;
        if self.status & DRIVER_OK != 0 {
            self.wiring.interrupt.raise(INT_CONFIG);
        }
        (self.wiring.report)(broken);
    }
}

/// Serves a queue; answers whether the driver wants an interrupt for what was given back.
fn serve(
    device: &mut dyn Device,
    index: usize,
    queue: &mut Queue,
    memory: &Memory,
) -> Result<bool, Broken> {
    let bad = |e: virtio_queue::Error| Broken(format!("ring: {e}"));
    let mut interrupt = false;
    loop {
        queue.disable_notification(memory).map_err(bad)?;
        let mut ring = Ring::new(queue, memory);
        let served = device.serve(index, &mut ring)?;
        let (used, together) = (ring.used(), ring.together());
        if used && (queue.needs_notification(memory).map_err(bad)? || together) {
            interrupt = true;
        }
        // Asks for notifications again, and looks whether something came meanwhile.
        if served == Served::Waiting || !queue.enable_notification(memory).map_err(bad)? {
            return Ok(interrupt);
        }
    }
}

/// Takes over what the driver has written of a queue, if it describes one.
fn make_ready(slot: &mut Slot, memory: &Memory, event_idx: bool) -> Result<(), Broken> {
    let [table, available, used] = slot.areas;
    let queue = &mut slot.queue;
    u16::try_from(slot.size)
        .ok()
        .and_then(|size| queue.try_set_size(size).ok())
        .ok_or_else(|| {
            let max = queue.max_size();
            Broken(format!(
                "a queue of size {}; at most {max}, a power of two",
                slot.size
            ))
        })?;
    for (what, address, result) in [
        (
            "descriptor table",
            table,
            queue.try_set_desc_table_address(GuestAddress(table)),
        ),
        (
            "available ring",
            available,
            queue.try_set_avail_ring_address(GuestAddress(available)),
        ),
        (
            "used ring",
            used,
            queue.try_set_used_ring_address(GuestAddress(used)),
        ),
    ] {
        result.map_err(|_| Broken(format!("a {what} at {address:#x}, which is not aligned")))?;
    }
    queue.set_event_idx(event_idx);
    queue.set_ready(true);
    if !queue.is_valid(memory) {
        return Err(Broken(format!(
            "a queue at {table:#x}, {available:#x}, {used:#x} is not in the memory that devices may use"
        )));
    }
    Ok(())
}

/// The half of `value` that a select register chose; there are two.
fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

/// Sets the half of `value` that a select register chose.
fn set_half(value: &mut u64, select: u32, half: u32) {
    match select {
        0 => *value = *value & !0xffff_ffff | u64::from(half),
        1 => *value = *value & 0xffff_ffff | u64::from(half) << 32,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
