// SPDX-License-Identifier: Apache-2.0

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::testing::*;
use super::*;

const V1: u64 = 1 << VIRTIO_F_VERSION_1;
const PLATFORM: u64 = 1 << VIRTIO_F_ACCESS_PLATFORM;
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
const INDIRECT: u64 = 1 << VIRTIO_RING_F_INDIRECT_DESC;
const OWN: u64 = 1 << 5;

/// Gives each request back as it is, with the length of its part to be written.
struct Echo {
    started: Option<mpsc::Sender<u64>>,
}

fn echo() -> Echo {
    Echo { started: None }
}

impl Device for Echo {
    fn id(&self) -> u32 {
        42
    }
    fn features(&self) -> u64 {
        OWN
    }
    fn queues(&self) -> &'static [u16] {
        &[8, 4]
    }
    fn config(&self, offset: usize, data: &mut [u8]) {
        super::super::copy_config(&[1, 2, 3, 4, 5, 6, 7, 8], offset, data);
    }
    fn start(&mut self, features: u64) {
        if let Some(started) = &self.started {
            started.send(features).unwrap();
        }
    }
    fn serve(&mut self, _: usize, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        while let Some(mut request) = ring.take()? {
            let len = request.writer.len();
            let mut data = vec![0; request.reader.len()];
            request.reader.read(&mut data)?;
            request.writer.write(&data[..len.min(data.len())])?;
            ring.give(&request, len)?;
        }
        Ok(Served::All)
    }
}

#[test]
fn the_registers_name_the_device() {
    let driver = Driver::new(echo(), true);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_MAGIC_VALUE), MAGIC);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_VERSION), 2);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_DEVICE_ID), 42);
    assert_eq!(driver.offered(), OWN | V1 | PLATFORM | EVENT_IDX | INDIRECT);
    for (index, size) in [(0, 8), (1, 4), (2, 0), (u32::MAX, 0)] {
        driver.set(reg::VIRTIO_MMIO_QUEUE_SEL, index);
        assert_eq!(driver.register(reg::VIRTIO_MMIO_QUEUE_NUM_MAX), size);
    }
    assert_eq!(driver.register(reg::VIRTIO_MMIO_SHM_LEN_LOW), u32::MAX);
    // No such half, no such register, no such width.
    driver.set(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_DEVICE_FEATURES), 0);
    assert_eq!(driver.register(0x54), 0);
    let mut data = [0xff; 2];
    crate::devices::Mmio::read(&*driver.slot, 0, &mut data);
    assert_eq!(data, [0, 0]);
}

#[test]
fn the_configuration_is_read_in_any_width() {
    let driver = Driver::new(echo(), true);
    let (mut byte, mut half, mut long) = ([0], [0; 2], [0; 8]);
    driver.config(3, &mut byte);
    driver.config(4, &mut half);
    driver.config(6, &mut long);
    assert_eq!((byte, half), ([4], [5, 6]));
    assert_eq!(long, [7, 8, 0, 0, 0, 0, 0, 0]);
    driver.config(1 << 40, &mut byte);
    assert_eq!(byte, [0]);
}

#[test]
fn features_are_negotiated() {
    for (restricted, features, taken) in [
        (true, V1 | PLATFORM, true),
        (true, V1 | PLATFORM | OWN | EVENT_IDX, true),
        (true, V1, false),
        (false, V1, true),
        (false, PLATFORM, false),
        (true, V1 | PLATFORM | 1 << 40, false),
        (false, 0, false),
    ] {
        let (started, told) = mpsc::channel();
        let device = Echo {
            started: Some(started),
        };
        let driver = Driver::new(device, restricted);
        driver.accept(features);
        let ok = driver.status() & FEATURES_OK != 0;
        assert_eq!(ok, taken, "{features:#x}");
        driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_eq!(told.try_recv().ok(), taken.then_some(features));
        assert_eq!(driver.status() & DRIVER_OK != 0, taken);
    }
}

#[test]
fn features_stay_as_they_were_negotiated() {
    let (started, told) = mpsc::channel();
    let driver = Driver::new(
        Echo {
            started: Some(started),
        },
        true,
    );
    driver.accept(V1 | PLATFORM);
    driver.set(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    driver.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, OWN as u32);
    driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_eq!(told.try_recv(), Ok(V1 | PLATFORM));
}

#[test]
fn nothing_is_served_before_the_driver_is_ready() {
    let mut driver = Driver::new(echo(), true);
    driver.accept(V1 | PLATFORM);
    driver.set_up_queue(0, BASE);
    driver.request(0, &[Part::In(4)]);
    assert!(driver.serve(0).is_empty());
    driver.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_eq!(driver.serve(0), [(0, 4)]);
    // Queue 1 is not ready, queue 2 is none.
    driver.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    driver.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 2);
    driver.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, u32::MAX);
    assert!(!driver.is_broken());
}

#[test]
fn queues_outside_of_the_memory_are_refused() {
    let end = BASE + SIZE;
    for at in [
        0,
        BASE - 0x1_0000,
        end,
        end - 0x8000,
        u64::MAX - 0xffff,
        BASE + 8,
        BASE + 1,
    ] {
        let mut driver = Driver::new(echo(), true);
        driver.accept(V1 | PLATFORM);
        driver.set_up_queue(0, at);
        assert!(driver.is_broken(), "{at:#x}");
        assert_eq!(driver.register(reg::VIRTIO_MMIO_QUEUE_READY), 0);
        // Before DRIVER_OK there is no interrupt.
        assert_eq!(driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
        let reports = driver.reports.lock().unwrap();
        assert!(reports[0].contains(&format!("{at:#x}")), "{reports:?}");
    }
}

#[test]
fn sizes_that_a_queue_cannot_have_are_refused() {
    for size in [0, 3, 16, 0x1_0008] {
        let driver = Driver::new(echo(), true);
        driver.accept(V1 | PLATFORM);
        driver.set(reg::VIRTIO_MMIO_QUEUE_NUM, size);
        driver.set(reg::VIRTIO_MMIO_QUEUE_DESC_LOW, BASE as u32);
        driver.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
        assert!(driver.is_broken(), "{size}");
    }
}

#[test]
fn a_queue_in_use_stays_where_it_is() {
    let mut driver = Driver::start(echo(), 0);
    driver.set(reg::VIRTIO_MMIO_QUEUE_SEL, 0);
    driver.set(reg::VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
    driver.set(reg::VIRTIO_MMIO_QUEUE_NUM, 2);
    driver.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    driver.request(0, &[Part::In(4)]);
    assert_eq!(driver.serve(0), [(0, 4)]);
    driver.set(reg::VIRTIO_MMIO_QUEUE_READY, 0);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    driver.request(0, &[Part::In(4)]);
    assert!(driver.serve(0).is_empty());
}

#[test]
fn rings_wrap() {
    for features in [0, EVENT_IDX] {
        let mut driver = Driver::start(echo(), features);
        // 70,000 is more than the 16-bit indices of the rings count.
        for n in 0..70_000_u32 {
            let data = n.to_le_bytes();
            let head = driver.request(0, &[Part::Out(&data), Part::In(4)]);
            assert_eq!(driver.serve(0), [(head, 4)], "{n}");
            assert_eq!(driver.written(head), data);
        }
    }
}

#[test]
fn indirect_tables_are_followed_and_not_from_one_to_the_next() {
    const INDIRECT_FLAG: u16 = 4;
    let mut driver = Driver::start(echo(), INDIRECT);
    let (table, data, to) = (driver.allocate(32), driver.allocate(4), driver.allocate(4));
    driver.put(data, b"data");
    driver.descriptor(table, 0, data, 4, 1, 1);
    driver.descriptor(table, 1, to, 4, 2, 0);
    driver.request(0, &[Part::Raw(table, 32, INDIRECT_FLAG, 0)]);
    assert_eq!(driver.serve(0), [(0, 4)]);
    driver.descriptor(table, 0, table, 32, INDIRECT_FLAG, 0);
    driver.request(0, &[Part::Raw(table, 32, INDIRECT_FLAG, 0)]);
    assert!(driver.serve(0).is_empty());
    assert!(driver.is_broken());
}

#[test]
fn chains_without_an_end_break_the_device() {
    for (flags, next) in [(1, 0), (1, 7), (1, 8), (1, u16::MAX), (4, 0)] {
        let mut driver = Driver::start(echo(), INDIRECT);
        driver.request(0, &[Part::Raw(BASE, 4, flags, next)]);
        // The chain 0, 7, 0, 7 and so on for one of the cases.
        driver.descriptor(driver.table(0), 7, BASE, 4, 1, 0);
        assert!(driver.serve(0).is_empty(), "{flags} {next}");
        assert!(driver.is_broken(), "{flags} {next}");
        assert_eq!(
            driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS),
            INT_CONFIG
        );
        assert_eq!(driver.wire.0.lock().unwrap().last(), Some(&true));
    }
}

#[test]
fn an_available_ring_that_lies_breaks_the_device() {
    let mut driver = Driver::start(echo(), 0);
    // More entries than the ring has.
    driver.set_available(0, 9);
    assert!(driver.serve(0).is_empty());
    assert!(driver.is_broken());
    let mut driver = Driver::start(echo(), 0);
    // A head that is no descriptor.
    driver.make_available(0, 8);
    assert!(driver.serve(0).is_empty());
    assert!(driver.is_broken());
}

#[test]
fn interrupts_come_when_they_are_wanted() {
    let mut driver = Driver::start(echo(), EVENT_IDX);
    let used_event = driver.table(0) + 0x4000 + 4 + 2 * 8;
    // Wanted at the third.
    driver.put(used_event, &2_u16.to_le_bytes());
    for wanted in [0, 0, INT_VRING, 0] {
        driver.request(0, &[Part::In(4)]);
        driver.serve(0);
        assert_eq!(driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS), wanted);
        driver.set(reg::VIRTIO_MMIO_INTERRUPT_ACK, wanted);
    }
    assert_eq!(*driver.wire.0.lock().unwrap(), [true, false]);
}

#[test]
fn a_reset_forgets_all() {
    let mut driver = Driver::start(echo(), EVENT_IDX);
    driver.request(0, &[Part::In(4)]);
    driver.serve(0);
    driver.slot.config_changed();
    assert_eq!(driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 3);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_CONFIG_GENERATION), 1);
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    assert_eq!(driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_eq!(driver.wire.0.lock().unwrap().last(), Some(&false));
    assert_eq!(driver.register(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    // A change that nobody waits for raises nothing.
    driver.slot.config_changed();
    assert_eq!(driver.register(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    driver.bring_up(0);
    let head = driver.request(0, &[Part::In(4)]);
    assert_eq!(driver.serve(0), [(head, 4)]);
}

#[test]
fn a_device_with_a_thread_is_served_by_it() {
    let mut driver = Driver::start(echo(), 0);
    driver.slot.serve_in_thread("echo").unwrap();
    for n in 0..100 {
        let head = driver.request(n % 2, &[Part::In(4)]);
        let mut done = driver.serve(n % 2);
        let end = Instant::now() + Duration::from_secs(10);
        while done.is_empty() && Instant::now() < end {
            std::thread::yield_now();
            done = driver.used(n % 2);
        }
        assert_eq!(done, [(head, 4)], "{n}");
    }
}
