// SPDX-License-Identifier: Apache-2.0
//! The devices as they are put on the bus, each with its interrupt and its troubles.

use std::sync::Arc;

use super::bus::Bus;
use super::event::{tell, Event, Events};
use super::hypervisor::Vm;
use super::layout;
use crate::devices::interrupt::{Interrupt, Line};
use crate::devices::virtio::mmio::Wiring;
use crate::devices::virtio::slot::Slot;
use crate::devices::virtio::{Broken, Device, Memory};
use crate::error::Error;
use crate::terminal;

/// A shared interrupt of the guest's.
struct Spi<V> {
    vm: Arc<V>,
    number: u32,
    events: Events,
}

impl<V: Vm> Line for Spi<V> {
    fn set(&self, high: bool) {
        if let Err(e) = self.vm.set_irq(self.number, high) {
            let what = format!("KVM_IRQ_LINE of SPI {}: {e}", self.number);
            tell(&self.events, Event::Failed(Error::Guest(what)));
        }
    }
}

/// The devices as they are put on the bus, one after the other.
pub struct Board<V> {
    /// The machine, for its interrupts.
    pub vm: Arc<V>,
    /// Told when an interrupt cannot be set.
    pub events: Events,
    /// What the devices may use of the guest's memory.
    pub memory: Memory,
    /// Whether that is not all of it.
    pub restricted: bool,
    /// Where the devices are.
    pub bus: Bus,
    /// How many virtio devices there are.
    pub virtio: u32,
}

impl<V: Vm> Board<V> {
    /// An interrupt line.
    pub fn line(&self, number: u32) -> Box<dyn Line> {
        Box::new(Spi {
            vm: self.vm.clone(),
            number,
            events: self.events.clone(),
        })
    }

    /// Adds a virtio device, whose troubles are told with its name.
    pub fn add(&mut self, name: String, device: Box<dyn Device>) -> Arc<Slot> {
        let report = move |broken: &Broken| {
            terminal::say(format_args!(
                "{name} is broken until the guest resets it: {broken}"
            ));
        };
        let wiring = Wiring {
            memory: self.memory.clone(),
            restricted: self.restricted,
            interrupt: Arc::new(Interrupt::new(self.line(layout::VIRTIO_SPI + self.virtio))),
            report: Box::new(report),
        };
        let slot = Slot::new(device, wiring);
        let base = layout::VIRTIO + layout::STRIDE * u64::from(self.virtio);
        self.bus.add(base, slot.clone());
        self.virtio += 1;
        slot
    }
}
