// SPDX-License-Identifier: Apache-2.0
//! The socket device (virtio 1.2, section 5.10), whose queues the host's kernel serves ([`vhost`]).
//!
//! This end has the registers and the configuration. When the driver is ready, the kernel is told where
//! the queues are, in the memory that devices may use and no other; each notification of the driver's
//! is passed on as a kick, and each call of the kernel's becomes an interrupt. The third queue, of
//! events, is for guests that move from host to host: here nothing ever happens on it.

use std::io;

use virtio_bindings::virtio_config::{VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_VERSION_1};
use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

use super::{copy_config, Broken, Device, Memory, Place, Ring, Served};

pub mod vhost;

/// Sockets of messages, beside streams (section 5.10.3).
const VIRTIO_VSOCK_F_SEQPACKET: u32 = 1;
/// The queues that the kernel serves: from the host, and to it.
const SERVED: usize = 2;
/// The features of the ring that the transport offers, so those who serve it must know them.
pub const NEEDED: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC;
/// The least CID of a guest: 0 is the hypervisor's, 1 is local, 2 is the host's.
pub const LEAST: u32 = 3;
/// The largest: all ones stands for any.
pub const LARGEST: u32 = u32::MAX - 1;

/// What serves the queues.
pub trait Server: Send {
    /// The features that it knows.
    fn features(&self) -> u64;

    /// Lets it serve queues in this memory, from their beginning.
    fn run(&mut self, features: u64, memory: &Memory, queues: &[Place; SERVED]) -> io::Result<()>;

    /// The driver has notified a queue.
    fn kick(&self, index: usize) -> io::Result<()>;

    /// It touches the memory no more after this.
    fn stop(&mut self) -> io::Result<()>;
}

/// The device.
pub struct Vsock<S> {
    server: S,
    cid: u32,
    memory: Memory,
    accepted: u64,
    running: bool,
}

impl<S: Server> Vsock<S> {
    /// A device whose guest has this CID, with the memory that devices may use.
    pub fn new(server: S, cid: u32, memory: Memory) -> Vsock<S> {
        Vsock {
            server,
            cid,
            memory,
            accepted: 0,
            running: false,
        }
    }

    fn end(&mut self) {
        if self.running {
            self.running = false;
            // The kernel refuses it only to those who are not the owner, which we are since the start.
            if let Err(e) = self.server.stop() {
                crate::terminal::say(format_args!("vhost-vsock does not stop: {e}"));
            }
        }
    }
}

impl<S: Server> Device for Vsock<S> {
    fn id(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        self.server.features() & 1 << VIRTIO_VSOCK_F_SEQPACKET
    }

    fn queues(&self) -> &'static [u16] {
        &[128, 128, 16]
    }

    fn config(&self, offset: usize, data: &mut [u8]) {
        copy_config(&u64::from(self.cid).to_le_bytes(), offset, data);
    }

    fn start(&mut self, features: u64) {
        self.accepted = features;
    }

    fn attach(&mut self, queues: &[Option<Place>]) -> Result<(), Broken> {
        let [Some(receive), Some(transmit), ..] = *queues else {
            return Err(Broken(
                "a driver that is ready before its queues are".into(),
            ));
        };
        // To vhost the last one would mean an IOMMU that it has to ask; addresses are the guest's.
        let features = self.accepted & self.server.features() & !(1 << VIRTIO_F_ACCESS_PLATFORM);
        self.server
            .run(features, &self.memory, &[receive, transmit])
            .map_err(|e| Broken(format!("vhost-vsock refuses the queues: {e}")))?;
        self.running = true;
        Ok(())
    }

    fn notify(&mut self, index: usize) -> Result<bool, Broken> {
        if index >= SERVED {
            return Ok(false);
        }
        if self.running {
            self.server
                .kick(index)
                .map_err(|e| Broken(format!("vhost-vsock cannot be kicked: {e}")))?;
        }
        Ok(true)
    }

    fn detach(&mut self, index: usize) {
        if index < SERVED {
            self.end();
        }
    }

    fn stop(&mut self) {
        self.end();
    }

    fn serve(&mut self, _index: usize, _ring: &mut Ring<'_>) -> Result<Served, Broken> {
        Ok(Served::Waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::testing::{Driver, Part, BASE, SIZE};
    use super::*;

    #[derive(Default)]
    struct Log {
        runs: Vec<(u64, [Place; SERVED])>,
        kicks: Vec<usize>,
        stops: usize,
        refuses: bool,
    }

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Log>>);

    impl Server for Fake {
        fn features(&self) -> u64 {
            NEEDED | 1 << VIRTIO_VSOCK_F_SEQPACKET | 1 << VIRTIO_F_ACCESS_PLATFORM | 1 << 26
        }
        fn run(&mut self, features: u64, _: &Memory, queues: &[Place; 2]) -> io::Result<()> {
            let mut log = self.0.lock().unwrap();
            if log.refuses {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            log.runs.push((features, *queues));
            Ok(())
        }
        fn kick(&self, index: usize) -> io::Result<()> {
            self.0.lock().unwrap().kicks.push(index);
            Ok(())
        }
        fn stop(&mut self) -> io::Result<()> {
            self.0.lock().unwrap().stops += 1;
            Ok(())
        }
    }

    fn memory() -> Memory {
        Memory::from_ranges(&[(vm_memory::GuestAddress(BASE), SIZE as usize)]).unwrap()
    }

    fn driver() -> (Driver, Fake) {
        let fake = Fake::default();
        let device = Vsock::new(fake.clone(), 42, memory());
        (Driver::new(device, true), fake)
    }

    const SEQPACKET: u64 = 1 << VIRTIO_VSOCK_F_SEQPACKET;

    #[test]
    fn the_guest_learns_its_cid() {
        let (driver, _) = driver();
        let mut config = [0xff; 8];
        driver.config(0, &mut config);
        assert_eq!(u64::from_le_bytes(config), 42);
        // What vhost has beside, such as a log of dirty pages, is no feature of the device.
        assert_eq!(
            driver.offered() & 0xffff_ffff,
            SEQPACKET | NEEDED & 0xffff_ffff
        );
    }

    #[test]
    fn the_queues_are_handed_over_once_the_driver_is_ready() {
        let (mut driver, fake) = driver();
        driver.bring_up(SEQPACKET | 1 << VIRTIO_RING_F_EVENT_IDX);
        let place = |index: usize| {
            let table = driver.table(index);
            Place {
                size: 128,
                table,
                available: table + 0x4000,
                used: table + 0x8000,
            }
        };
        let features = SEQPACKET | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_F_VERSION_1;
        let expected = (features, [place(0), place(1)]);
        assert_eq!(fake.0.lock().unwrap().runs, [expected]);
        driver.request(1, &[Part::Out(b"hello")]);
        assert!(driver.serve(1).is_empty());
        driver.request(0, &[Part::In(64)]);
        assert!(driver.serve(0).is_empty());
        // Buffers for events stay where they are.
        driver.request(2, &[Part::In(8)]);
        assert!(driver.serve(2).is_empty());
        assert_eq!(fake.0.lock().unwrap().kicks, [1, 0]);
        assert!(!driver.is_broken());
        // What the kernel gives back comes as an interrupt.
        driver.slot.used();
        assert_eq!(driver.wire.0.lock().unwrap().last(), Some(&true));
    }

    #[test]
    fn the_kernel_lets_go_of_the_queues_at_a_reset() {
        use virtio_bindings::virtio_mmio as reg;
        let (mut driver, fake) = driver();
        driver.bring_up(0);
        driver.set_status(0);
        assert_eq!(fake.0.lock().unwrap().stops, 1);
        driver.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        assert!(fake.0.lock().unwrap().kicks.is_empty());
        driver.bring_up(0);
        assert_eq!(fake.0.lock().unwrap().runs.len(), 2);
        // And when one is taken away, or the kernel says that it cannot go on.
        driver.set(reg::VIRTIO_MMIO_QUEUE_SEL, 1);
        driver.set(reg::VIRTIO_MMIO_QUEUE_READY, 0);
        assert_eq!(fake.0.lock().unwrap().stops, 2);
        driver.bring_up(0);
        driver.slot.broken(&Broken("of the kernel's".into()));
        assert_eq!(fake.0.lock().unwrap().stops, 3);
        assert!(driver.is_broken());
        driver.slot.broken(&Broken("again".into()));
        assert_eq!(driver.reports.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_driver_without_queues_breaks_the_device() {
        let (mut driver, fake) = driver();
        driver.accept(3 << 32);
        driver.set_up_queue(0, BASE);
        driver.set_status(15);
        assert!(driver.is_broken());
        fake.0.lock().unwrap().refuses = true;
        driver.accept(3 << 32);
        driver.set_up_queue(0, BASE);
        driver.set_up_queue(1, BASE + 0x1_0000);
        driver.set_status(15);
        assert!(driver.is_broken());
        let reports = driver.reports.lock().unwrap();
        assert!(reports[1].contains("Bad address"), "{reports:?}");
        assert!(fake.0.lock().unwrap().runs.is_empty());
    }
}
