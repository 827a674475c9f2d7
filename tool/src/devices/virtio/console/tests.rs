// SPDX-License-Identifier: Apache-2.0

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::testing::{Driver, Part};
use super::*;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn console() -> (Driver, Arc<Input>, Screen) {
    let (input, screen) = (Arc::new(Input::default()), Screen::default());
    let driver = Driver::start(Console::new(screen.clone(), input.clone()), 0);
    (driver, input, screen)
}

#[test]
fn what_the_guest_prints_is_seen_in_order() {
    let (mut driver, _, screen) = console();
    let long = vec![b'x'; CHUNK + 1];
    driver.request(TRANSMIT, &[Part::Out(b"hello, "), Part::Out(b"world\n")]);
    driver.request(TRANSMIT, &[Part::Out(&long)]);
    assert_eq!(driver.serve(TRANSMIT).len(), 2);
    assert_eq!(
        *screen.0.lock().unwrap(),
        [&b"hello, world\n"[..], &long].concat()
    );
}

#[test]
fn what_is_typed_waits_for_buffers_and_buffers_for_it() {
    let (mut driver, input, _) = console();
    // Typed before the guest has buffers.
    input.push(b"abcdef");
    assert!(driver.serve(RECEIVE).is_empty());
    driver.request(RECEIVE, &[Part::In(2), Part::In(2)]);
    assert_eq!(driver.serve(RECEIVE), [(0, 4)]);
    assert_eq!(driver.written(0), b"abcd");
    driver.request(RECEIVE, &[Part::In(64)]);
    driver.request(RECEIVE, &[Part::In(64)]);
    assert_eq!(driver.serve(RECEIVE), [(2, 2)]);
    // The other buffer stays where it is until something is typed.
    assert!(driver.serve(RECEIVE).is_empty());
    input.push(b"g");
    assert_eq!(driver.serve(RECEIVE), [(3, 1)]);
    assert_eq!(driver.written(3)[..1], *b"g");
    assert!(!driver.is_broken());
}

#[test]
fn a_full_input_takes_no_more_until_it_is_read() {
    let (mut driver, input, _) = console();
    let typed = vec![7; WAITING + 100];
    assert_eq!(input.push(&typed), WAITING);
    assert_eq!(input.push(b"more"), 0);
    let (tell, told) = mpsc::channel();
    let waiter = {
        let input = input.clone();
        std::thread::spawn(move || {
            input.wait_for_room();
            tell.send(()).unwrap();
        })
    };
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
    driver.request(RECEIVE, &[Part::In(10)]);
    assert_eq!(driver.serve(RECEIVE), [(0, 10)]);
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    waiter.join().unwrap();
    assert_eq!(input.push(&typed), 10);
}

#[test]
fn the_size_is_told_only_with_a_terminal() {
    let (driver, ..) = console();
    assert_eq!(driver.offered() & 1 << VIRTIO_CONSOLE_F_SIZE, 0);
    let input = Arc::new(Input::default());
    let (columns, rows) = (132, 43);
    assert!(input.set_size(Size { columns, rows }));
    assert!(!Input::held().set_size(Size { columns, rows }));
    let driver = Driver::start(Console::new(Screen::default(), input), 0);
    assert_ne!(driver.offered() & 1 << VIRTIO_CONSOLE_F_SIZE, 0);
    let mut data = [0xff; 8];
    driver.config(0, &mut data);
    assert_eq!(data, [132, 0, 43, 0, 0, 0, 0, 0]);
}

/// An output that is closed.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_breaks_the_device() {
    let mut driver = Driver::start(Console::new(Closed, Arc::default()), 0);
    driver.request(TRANSMIT, &[Part::Out(b"x")]);
    assert!(driver.serve(TRANSMIT).is_empty());
    assert!(driver.is_broken());
}

#[test]
fn nothing_is_handed_on_before_the_guest_is_quiet() {
    let input = Arc::new(Input::held());
    input.push(b"early");
    let (tell, told) = mpsc::channel();
    let waiter = {
        let input = input.clone();
        std::thread::spawn(move || {
            input.wait_for_quiet();
            tell.send(Instant::now()).unwrap();
        })
    };
    // Without a driver it waits as long as it takes.
    assert!(told.recv_timeout(QUIET * 2).is_err());
    let mut driver = Driver::start(Console::new(Screen::default(), input), 0);
    driver.request(RECEIVE, &[Part::In(8)]);
    for _ in 0..3 {
        std::thread::sleep(QUIET / 4);
        driver.request(TRANSMIT, &[Part::Out(b"log")]);
        driver.serve(TRANSMIT);
        assert!(driver.serve(RECEIVE).is_empty());
    }
    let last = Instant::now();
    let quiet = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(quiet >= last + QUIET - Duration::from_millis(20));
    waiter.join().unwrap();
    assert_eq!(driver.serve(RECEIVE), [(0, 5)]);
    assert_eq!(driver.written(0)[..5], *b"early");
}
