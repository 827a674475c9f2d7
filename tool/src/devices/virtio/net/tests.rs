// SPDX-License-Identifier: Apache-2.0

use std::collections::VecDeque;
use std::sync::mpsc;
use std::thread;

use super::super::testing::{Driver, Part};
use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const MERGE: u64 = 1 << net::VIRTIO_NET_F_MRG_RXBUF;
const ALL: u64 = MERGE
    | 1 << net::VIRTIO_NET_F_CSUM
    | 1 << net::VIRTIO_NET_F_GUEST_CSUM
    | 1 << net::VIRTIO_NET_F_GUEST_TSO4
    | 1 << net::VIRTIO_NET_F_HOST_TSO4
    | 1 << net::VIRTIO_NET_F_HOST_ECN;

#[derive(Default)]
struct Cable {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: Vec<Vec<u8>>,
    offloads: Vec<Offloads>,
    gone: bool,
    plain: bool,
}

#[derive(Clone, Default)]
struct End(Arc<Mutex<Cable>>);

impl End {
    fn lock(&self) -> MutexGuard<'_, Cable> {
        self.0.lock().unwrap()
    }
    fn send_to_guest(&self, frame: &[u8]) {
        self.lock().to_guest.push_back(frame.to_vec());
    }
}

impl Link for End {
    fn offloads(&self) -> bool {
        !self.lock().plain
    }
    fn set_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        if offloads.tcp4 && !offloads.checksum {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.lock().offloads.push(offloads);
        Ok(())
    }
    fn receive(&mut self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        let mut cable = self.lock();
        if cable.gone {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        Ok(cable.to_guest.pop_front().map(|next| {
            frame[..next.len()].copy_from_slice(&next);
            next.len()
        }))
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut cable = self.lock();
        if cable.gone {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        cable.from_guest.push(frame.to_vec());
        Ok(())
    }
}

fn started(features: u64) -> (Driver, End, Arc<Gate>) {
    let end = End::default();
    let device = Net::new(end.clone(), MAC);
    let gate = device.gate();
    (Driver::start(device, features), end, gate)
}

/// A frame of `len` bytes behind its header, each of which is another.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame.extend((0..len).map(|n| (n * 7 % 251) as u8));
    frame
}

fn header(frame: &[u8]) -> (u8, u8, u16) {
    (
        frame[0],
        frame[1],
        u16::from_le_bytes([frame[10], frame[11]]),
    )
}

#[test]
fn it_tells_its_address_and_that_the_cable_is_in() {
    let (mut driver, end, gate) = started(ALL);
    let mut config = [0xff; 10];
    driver.config(0, &mut config);
    assert_eq!(config[..8], [0x52, 0x54, 0, 1, 2, 3, 1, 0]);
    // Until the interface is deleted.
    end.lock().gone = true;
    driver.request(TRANSMIT, &[Part::Out(&frame(60))]);
    assert_eq!(driver.serve(TRANSMIT).len(), 1);
    driver.config(0, &mut config);
    assert_eq!(config[6..8], [0, 0]);
    assert_eq!((gate.wants(), gate.wait()), (Wants::Gone, false));
    driver.request(RECEIVE, &[Part::In(2000)]);
    assert!(driver.serve(RECEIVE).is_empty());
    assert!(!driver.is_broken());
}

#[test]
fn what_the_link_cannot_is_not_offered() {
    let end = End::default();
    end.lock().plain = true;
    let driver = Driver::start(Net::new(end.clone(), MAC), MERGE);
    let own = driver.offered() & 0xff_ffff;
    let expected = 1 << net::VIRTIO_NET_F_MAC | 1 << net::VIRTIO_NET_F_STATUS | MERGE;
    assert_eq!(own, expected);
    assert!(end.lock().offloads.is_empty());
}

#[test]
fn offloads_are_those_that_the_driver_accepted() {
    let (mut driver, end, _) = started(0);
    driver.bring_up(ALL);
    let all = Offloads {
        checksum: true,
        tcp4: true,
        ..Offloads::default()
    };
    assert_eq!(end.lock().offloads, [Offloads::default(), all]);
    // Those that do not go together are the driver's mistake, which it is told.
    let mut driver = Driver::new(Net::new(end, MAC), true);
    let usual = 3 << 32;
    driver.accept(usual | 1 << net::VIRTIO_NET_F_GUEST_TSO4);
    driver.set_up_queue(0, super::super::testing::BASE);
    driver.set_status(15);
    assert!(driver.is_broken());
    let said = driver.reports.lock().unwrap()[0].clone();
    assert!(said.contains("tcp4: true"), "{said}");
}

#[test]
fn frames_go_out_whole_whatever_their_parts() {
    let (mut driver, end, _) = started(ALL);
    let whole = frame(1500);
    for cut in [HEADER, 1, 700, whole.len() - 1] {
        let (a, b) = whole.split_at(cut);
        let head = driver.request(TRANSMIT, &[Part::Out(a), Part::Out(b)]);
        assert_eq!(driver.serve(TRANSMIT), [(head, 0)]);
    }
    assert!(end.lock().from_guest.iter().all(|sent| *sent == whole));
    assert_eq!(end.lock().from_guest.len(), 4);
}

#[test]
fn a_header_says_no_more_than_was_negotiated() {
    let ecn = net::VIRTIO_NET_HDR_GSO_ECN as u8;
    for (features, flags, kind, sent) in [
        (ALL, 1, 1, Some((1, 1))),
        (ALL, 1, 1 | ecn, Some((1, 1 | ecn))),
        // A flag that is the device's alone.
        (ALL, 0xfe, 0, Some((0, 0))),
        // TCP over IPv6, UDP, and what nobody knows.
        (ALL, 1, 4, None),
        (ALL, 1, 3, None),
        (ALL, 1, 5, None),
        (ALL, 1, 0x7f, None),
        (ALL, 0, ecn, None),
        (0, 0, 0, Some((0, 0))),
        (0, 1, 0, None),
        (0, 1, 1, None),
        (ALL & !(1 << net::VIRTIO_NET_F_HOST_ECN), 1, 1 | ecn, None),
    ] {
        let (mut driver, end, _) = started(features);
        let mut whole = frame(100);
        (whole[0], whole[1], whole[10]) = (flags, kind, 9);
        driver.request(TRANSMIT, &[Part::Out(&whole)]);
        assert_eq!(driver.serve(TRANSMIT).len(), 1);
        let got = end.lock().from_guest.pop().map(|f| header(&f));
        let expected = sent.map(|(flags, kind)| (flags, kind, 0));
        assert_eq!(got, expected, "{features:#x} {flags:#x} {kind:#x}");
        assert!(!driver.is_broken());
    }
}

#[test]
fn frames_that_are_none_or_too_long_are_not_sent() {
    let (mut driver, end, _) = started(ALL);
    for len in [0, MOST - HEADER + 1] {
        driver.request(TRANSMIT, &[Part::Out(&frame(len))]);
        assert_eq!(driver.serve(TRANSMIT).len(), 1);
    }
    assert!(end.lock().from_guest.is_empty());
    driver.request(TRANSMIT, &[Part::Out(&frame(MOST - HEADER))]);
    driver.serve(TRANSMIT);
    assert_eq!(end.lock().from_guest.len(), 1);
    driver.request(TRANSMIT, &[Part::Out(&[0; HEADER - 1])]);
    assert!(driver.serve(TRANSMIT).is_empty());
    assert!(driver.is_broken());
}

#[test]
fn frames_wait_for_buffers_and_come_in_their_order() {
    let (mut driver, end, gate) = started(0);
    assert_eq!(gate.wants(), Wants::More);
    for n in 0..3 {
        end.send_to_guest(&frame(100 + n));
    }
    gate.close();
    driver.slot.serve(RECEIVE);
    // There is no buffer, so nobody is to wait at the link, which has two more.
    assert_eq!(gate.wants(), Wants::Nothing);
    assert_eq!(end.lock().to_guest.len(), 2);
    for n in 0..3 {
        let head = driver.request(RECEIVE, &[Part::In(12), Part::In(1514)]);
        let len = (HEADER + 100 + n) as u32;
        assert_eq!(driver.serve(RECEIVE), [(head, len)]);
        let got = driver.written(head);
        assert_eq!(header(&got).2, 1);
        assert_eq!(got[HEADER..len as usize], frame(100 + n)[HEADER..]);
    }
    assert_eq!(gate.wants(), Wants::More);
}

/// Where the device says from which index on it is to be notified.
fn avail_event(driver: &Driver) -> u16 {
    let at = driver.table(RECEIVE) + 0x8000 + 4 + 8 * u64::from(QUEUE);
    vm_memory::Bytes::read_obj(&driver.memory, vm_memory::GuestAddress(at)).unwrap()
}

#[test]
fn the_driver_is_asked_for_more_than_what_is_there() {
    use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
    let (mut driver, end, _) = started(MERGE | 1 << VIRTIO_RING_F_EVENT_IDX);
    end.send_to_guest(&frame(5000));
    driver.slot.serve(RECEIVE);
    for n in 1..4 {
        driver.request(RECEIVE, &[Part::In(1500)]);
        assert!(driver.serve(RECEIVE).is_empty());
        assert_eq!(avail_event(&driver), n);
    }
    driver.request(RECEIVE, &[Part::In(1500)]);
    assert_eq!(driver.serve(RECEIVE).len(), 4);
}

#[test]
fn a_long_frame_is_spread_over_merged_buffers() {
    let (mut driver, end, gate) = started(MERGE);
    let long = frame(5000);
    end.send_to_guest(&long);
    let mut heads = Vec::new();
    for n in 0..4 {
        heads.push(driver.request(RECEIVE, &[Part::In(1500)]));
        let done = driver.serve(RECEIVE);
        // Too few are given back none at all.
        assert_eq!(done.len(), if n < 3 { 0 } else { 4 });
        if n == 3 {
            let lens: Vec<_> = done.iter().map(|(_, len)| *len).collect();
            assert_eq!(lens, [1500, 1500, 1500, 512]);
            assert!(done.iter().map(|(head, _)| *head).eq(heads.iter().copied()));
        }
    }
    let got: Vec<u8> = heads
        .iter()
        .flat_map(|head| driver.written(*head))
        .collect();
    assert_eq!(header(&got).2, 4);
    assert_eq!(got[HEADER..long.len()], long[HEADER..]);
    assert_eq!(gate.wants(), Wants::More);
}

#[test]
fn merged_buffers_are_seen_together() {
    // The index of the used ring never says that a part of a frame is all: a reader that looks at it
    // as fast as it can sees whole frames only.
    let (mut driver, end, _) = started(MERGE);
    let (memory, at) = (driver.memory.clone(), driver.table(RECEIVE) + 0x8000 + 2);
    let (stop, stopped) = mpsc::channel::<()>();
    let watcher = thread::spawn(move || {
        let mut seen = Vec::new();
        while stopped.try_recv().is_err() {
            let index: u16 =
                vm_memory::Bytes::read_obj(&memory, vm_memory::GuestAddress(at)).unwrap();
            seen.push(index);
        }
        seen
    });
    for _ in 0..2000 {
        for _ in 0..4 {
            driver.request(RECEIVE, &[Part::In(100)]);
        }
        end.send_to_guest(&frame(380));
        assert_eq!(driver.serve(RECEIVE).len(), 4);
    }
    stop.send(()).unwrap();
    let seen = watcher.join().unwrap();
    assert!(seen.iter().all(|index| index % 4 == 0));
}

#[test]
fn what_fits_nowhere_is_thrown_away() {
    // One buffer, without merging.
    let (mut driver, end, _) = started(0);
    end.send_to_guest(&frame(3000));
    end.send_to_guest(&frame(50));
    let head = driver.request(RECEIVE, &[Part::In(1526)]);
    assert_eq!(driver.serve(RECEIVE), [(head, (HEADER + 50) as u32)]);
    // All buffers together, with it.
    let (mut driver, end, _) = started(MERGE);
    end.send_to_guest(&frame(256 * 16));
    for _ in 0..256 {
        driver.request(RECEIVE, &[Part::In(12)]);
    }
    assert!(driver.serve(RECEIVE).is_empty());
    assert!(!driver.is_broken());
    end.send_to_guest(&frame(20));
    assert_eq!(driver.serve(RECEIVE).len(), 3);
}

#[test]
fn checksums_are_no_news_to_a_driver_that_does_not_know_of_them() {
    for (features, flags) in [(ALL, 2), (MERGE, 0)] {
        let (mut driver, end, _) = started(features);
        let mut whole = frame(100);
        whole[0] = 2;
        end.send_to_guest(&whole);
        let head = driver.request(RECEIVE, &[Part::In(200)]);
        driver.serve(RECEIVE);
        assert_eq!(driver.written(head)[0], flags);
    }
}

#[test]
fn a_buffer_without_room_for_a_header_breaks_the_device() {
    let (mut driver, end, gate) = started(MERGE);
    end.send_to_guest(&frame(60));
    driver.request(RECEIVE, &[Part::In(HEADER as u32 - 1)]);
    assert!(driver.serve(RECEIVE).is_empty());
    assert!(driver.is_broken());
    assert_eq!(gate.wants(), Wants::Nothing);
    // And a reset mends it.
    driver.bring_up(MERGE);
    assert_eq!(gate.wants(), Wants::More);
    end.send_to_guest(&frame(60));
    driver.request(RECEIVE, &[Part::In(200)]);
    assert_eq!(driver.serve(RECEIVE).len(), 1);
}

#[test]
fn a_gate_lets_through_when_it_opens() {
    let gate = Arc::new(Gate::default());
    let other = gate.clone();
    let waiter = thread::spawn(move || other.wait());
    gate.set(Wants::More);
    assert!(waiter.join().unwrap());
    gate.close();
    let other = gate.clone();
    let waiter = thread::spawn(move || other.wait());
    gate.set(Wants::Gone);
    assert!(!waiter.join().unwrap());
    // For good.
    gate.set(Wants::More);
    assert!(!gate.wait());
}
