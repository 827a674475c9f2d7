// SPDX-License-Identifier: Apache-2.0
//! A driver for the tests: it speaks to a device as a guest does, by registers and rings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK as DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK as FEATURES_OK,
    VIRTIO_CONFIG_S_NEEDS_RESET as NEEDS_RESET, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as reg;
use vm_memory::{Bytes, GuestAddress};

use super::mmio::Wiring;
use super::slot::Slot;
use super::{Device, Memory};
use crate::devices::interrupt::{tests::Wire, Interrupt};
use crate::devices::Mmio;

/// Where the memory begins that the device may use, and how much it is.
pub const BASE: u64 = 0x8000_0000;
pub const SIZE: u64 = 4 << 20;
/// Distance of the queues' areas.
const QUEUE: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x8000;

pub const ACKNOWLEDGE: u32 = 1;
pub const DRIVER: u32 = 2;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A part of a request.
pub enum Part<'a> {
    /// The device reads this.
    Out(&'a [u8]),
    /// The device writes as much.
    In(u32),
    /// Any descriptor: address, length, flags, next.
    Raw(u64, u32, u16, u16),
}

struct Queue {
    size: u16,
    next: u16,
    available: u16,
    used: u16,
}

/// The driver with its device.
pub struct Driver {
    pub slot: Arc<Slot>,
    pub memory: Memory,
    pub wire: Wire,
    pub reports: Arc<Mutex<Vec<String>>>,
    queues: Vec<Queue>,
    free: u64,
    inputs: HashMap<u16, Vec<(u64, u32)>>,
}

impl Driver {
    /// A device that was not spoken to yet.
    pub fn new(device: impl Device + 'static, restricted: bool) -> Driver {
        let memory = Memory::from_ranges(&[(GuestAddress(BASE), SIZE as usize)]).unwrap();
        let wire = Wire::default();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = reports.clone();
        let queues = device.queues().iter().map(|&size| Queue {
            size,
            next: 0,
            available: 0,
            used: 0,
        });
        Driver {
            queues: queues.collect(),
            memory: memory.clone(),
            wire: wire.clone(),
            slot: Slot::new(
                Box::new(device),
                Wiring {
                    memory,
                    restricted,
                    interrupt: Arc::new(Interrupt::new(Box::new(wire))),
                    report: Box::new(move |broken| told.lock().unwrap().push(broken.to_string())),
                },
            ),
            reports,
            free: BASE + SIZE / 2,
            inputs: HashMap::new(),
        }
    }

    /// A device that is ready for requests, with the driver's `features` beside the usual ones.
    pub fn start(device: impl Device + 'static, features: u64) -> Driver {
        let mut driver = Driver::new(device, true);
        driver.bring_up(features);
        driver
    }

    pub fn bring_up(&mut self, features: u64) {
        let usual = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_F_ACCESS_PLATFORM;
        self.accept(features | usual);
        assert_eq!(self.status() & FEATURES_OK, FEATURES_OK);
        for index in 0..self.queues.len() {
            self.set_up_queue(index, BASE + index as u64 * QUEUE);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        assert!(!self.is_broken());
    }

    pub fn accept(&self, features: u64) {
        self.set(reg::VIRTIO_MMIO_STATUS, 0);
        self.set_status(ACKNOWLEDGE | DRIVER);
        for half in [0, 1] {
            self.set(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            let value = (features >> (32 * half)) as u32;
            self.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, value);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    }

    pub fn set_up_queue(&mut self, index: usize, at: u64) {
        let queue = &mut self.queues[index];
        (queue.next, queue.available, queue.used) = (0, 0, 0);
        let size = queue.size;
        // What a driver before has left there must not count.
        let clear = |a: u64| self.memory.write_slice(&[0; 4], GuestAddress(a));
        let (_outside, _too) = (clear(at + AVAILABLE), clear(at + USED));
        self.set(reg::VIRTIO_MMIO_QUEUE_SEL, index as u32);
        self.set(reg::VIRTIO_MMIO_QUEUE_NUM, size.into());
        for (low, high, address) in [
            (
                reg::VIRTIO_MMIO_QUEUE_DESC_LOW,
                reg::VIRTIO_MMIO_QUEUE_DESC_HIGH,
                at,
            ),
            (
                reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW,
                reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
                at + AVAILABLE,
            ),
            (
                reg::VIRTIO_MMIO_QUEUE_USED_LOW,
                reg::VIRTIO_MMIO_QUEUE_USED_HIGH,
                at + USED,
            ),
        ] {
            self.set(low, address as u32);
            self.set(high, (address >> 32) as u32);
        }
        self.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    }

    /// Puts a request into a queue; answers its head. Descriptors are used in turn.
    pub fn request(&mut self, index: usize, parts: &[Part<'_>]) -> u16 {
        let size = self.queues[index].size;
        let head = self.queues[index].next % size;
        let mut inputs = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let this = self.queues[index].next % size;
            self.queues[index].next = (this + 1) % size;
            let more = if n + 1 < parts.len() { NEXT } else { 0 };
            let next = self.queues[index].next;
            let (address, len, flags, next) = match *part {
                Part::Out(bytes) => {
                    let at = self.allocate(bytes.len() as u64);
                    self.put(at, bytes);
                    (at, bytes.len() as u32, more, next)
                }
                Part::In(len) => {
                    let at = self.allocate(len.into());
                    inputs.push((at, len));
                    (at, len, WRITE | more, next)
                }
                Part::Raw(address, len, flags, next) => (address, len, flags, next),
            };
            self.descriptor(self.table(index), this, address, len, flags, next);
        }
        if !inputs.is_empty() {
            self.inputs.insert(head, inputs);
        }
        self.make_available(index, head);
        head
    }

    /// Where a queue's descriptors are.
    pub fn table(&self, index: usize) -> u64 {
        BASE + index as u64 * QUEUE
    }

    pub fn descriptor(&self, table: u64, n: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = table + 16 * u64::from(n);
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    pub fn make_available(&mut self, index: usize, head: u16) {
        let at = self.table(index) + AVAILABLE;
        let queue = &mut self.queues[index];
        let slot = u64::from(queue.available % queue.size);
        queue.available = queue.available.wrapping_add(1);
        let available = queue.available;
        self.put(at + 4 + 2 * slot, &head.to_le_bytes());
        self.set_available(index, available);
    }

    pub fn set_available(&self, index: usize, to: u16) {
        self.put(self.table(index) + AVAILABLE + 2, &to.to_le_bytes());
    }

    /// Notifies a queue; answers head and length of what the device has given back since.
    pub fn serve(&mut self, index: usize) -> Vec<(u16, u32)> {
        self.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, index as u32);
        self.used(index)
    }

    pub fn used(&mut self, index: usize) -> Vec<(u16, u32)> {
        let at = self.table(index) + USED;
        let (size, mut seen) = (self.queues[index].size, self.queues[index].used);
        let end: u16 = self.get(at + 2);
        let mut done = Vec::new();
        while seen != end {
            let element = at + 4 + 8 * u64::from(seen % size);
            let head: u32 = self.get(element);
            done.push((head as u16, self.get(element + 4)));
            seen = seen.wrapping_add(1);
        }
        self.queues[index].used = seen;
        done
    }

    /// What the device has written into the parts of the latest request with this head that had
    /// parts to be written.
    pub fn written(&self, head: u16) -> Vec<u8> {
        let mut all = Vec::new();
        for &(at, len) in &self.inputs[&head] {
            let mut bytes = vec![0; len as usize];
            self.memory
                .read_slice(&mut bytes, GuestAddress(at))
                .unwrap();
            all.extend(bytes);
        }
        all
    }

    pub fn allocate(&mut self, len: u64) -> u64 {
        let at = self.free;
        self.free += (len + 15) & !15;
        if self.free > BASE + SIZE {
            self.free = BASE + SIZE / 2;
            return self.allocate(len);
        }
        at
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
    }

    fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }

    pub fn set(&self, register: u32, value: u32) {
        self.slot.write(register.into(), &value.to_le_bytes());
    }

    pub fn register(&self, register: u32) -> u32 {
        let mut data = [0; 4];
        self.slot.read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub fn config(&self, offset: u64, data: &mut [u8]) {
        let at = u64::from(reg::VIRTIO_MMIO_CONFIG) + offset;
        self.slot.read(at, data);
    }

    pub fn set_status(&self, status: u32) {
        self.set(reg::VIRTIO_MMIO_STATUS, status);
    }

    pub fn status(&self) -> u32 {
        self.register(reg::VIRTIO_MMIO_STATUS)
    }

    pub fn is_broken(&self) -> bool {
        self.status() & NEEDS_RESET != 0
    }

    pub fn offered(&self) -> u64 {
        let half = |n| {
            self.set(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, n);
            u64::from(self.register(reg::VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }
}
