// SPDX-License-Identifier: Apache-2.0
//! The early console: a 16550 that only sends. What is typed goes to the virtio console.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use vm_superio::serial::{NoEvents, Serial};
use vm_superio::Trigger;

use super::interrupt::Line;
use super::Mmio;

/// Edge-triggered in the device tree, so one pulse is one interrupt.
struct Pulse(Box<dyn Line>);

impl Trigger for Pulse {
    type E = std::convert::Infallible;

    fn trigger(&self) -> Result<(), Self::E> {
        self.0.set(true);
        self.0.set(false);
        Ok(())
    }
}

/// Collects what comes byte by byte, and hands it on when a line ends or the buffer is full.
struct Lines<W> {
    buffer: Vec<u8>,
    out: W,
}

/// The longest that a part of a line is held back.
const LONGEST: usize = 256;

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for &byte in bytes {
            self.buffer.push(byte);
            if byte == b'\n' || self.buffer.len() >= LONGEST {
                self.hand_on()?;
            }
        }
        Ok(bytes.len())
    }

    /// vm-superio flushes after each byte; a line is handed on when it ends.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Lines<W> {
    fn hand_on(&mut self) -> std::io::Result<()> {
        let result = self.out.write_all(&self.buffer);
        self.buffer.clear();
        result
    }
}

/// The device.
pub struct Uart<W: Write>(Mutex<Serial<Pulse, NoEvents, Lines<W>>>);

impl<W: Write + Send> Uart<W> {
    /// A UART that sends to `out`, whose errors `out` has told of itself.
    pub fn new(line: Box<dyn Line>, out: W) -> Uart<W> {
        let buffer = Vec::with_capacity(LONGEST);
        Uart(Mutex::new(Serial::new(Pulse(line), Lines { buffer, out })))
    }

    /// Hands on a line that has not ended.
    pub fn finish(&self) -> std::io::Result<()> {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serial.writer_mut().hand_on()
    }
}

impl<W: Write + Send> Mmio for Uart<W> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(offset @ 0..=7), Some(first)) = (u8::try_from(offset), data.first_mut()) {
            *first = serial.read(offset);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(offset @ 0..=7), Some(&byte)) = (u8::try_from(offset), data.first()) {
            // The trigger cannot fail, and the output has told of its failure to those who end the
            // guest: the guest itself sees a UART that has sent the byte.
            let _told = serial.write(offset, byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::interrupt::tests::Wire;
    use super::*;

    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const THR: u64 = 0;
    const IER: u64 = 1;
    const LSR: u64 = 5;
    const TX_EMPTY: u8 = 0x60;

    #[test]
    fn lines_are_sent_whole() {
        let sent = Sent::default();
        let uart = Uart::new(Box::new(Wire::default()), sent.clone());
        for byte in b"one\ntw" {
            let mut status = [0];
            uart.read(LSR, &mut status);
            assert_eq!(status[0] & TX_EMPTY, TX_EMPTY);
            uart.write(THR, &[*byte]);
        }
        assert_eq!(*sent.0.lock().unwrap(), [b"one\n".to_vec()]);
        uart.finish().unwrap();
        assert_eq!(sent.0.lock().unwrap().concat(), b"one\ntw");
        for _ in 0..LONGEST {
            uart.write(THR, b"x");
        }
        assert_eq!(sent.0.lock().unwrap().last().unwrap().len(), LONGEST);
    }

    #[test]
    fn the_transmitter_interrupts_by_a_pulse() {
        let wire = Wire::default();
        let uart = Uart::new(Box::new(wire.clone()), Sent::default());
        uart.write(IER, &[2]);
        assert_eq!(*wire.0.lock().unwrap(), [true, false]);
    }

    #[test]
    fn what_is_no_register_does_nothing() {
        let sent = Sent::default();
        let uart = Uart::new(Box::new(Wire::default()), sent.clone());
        for offset in [8, 0x100, 0xfff] {
            uart.write(offset, b"\n");
            let mut data = [0xff; 4];
            uart.read(offset, &mut data);
            assert_eq!(data, [0; 4]);
        }
        assert!(sent.0.lock().unwrap().is_empty());
    }
}
