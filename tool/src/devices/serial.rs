// SPDX-License-Identifier: Apache-2.0
//! A 16550: the early console of each guest, which only sends; or the console of a guest without
//! virtio, which gets what is typed as well.
//!
//! What is typed waits in [`Input`] until the guest has turned on the interrupt of the receiver: that is
//! when somebody has opened the terminal, and before that Linux throws away what is received.
//! Lock order: the UART, then the input.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_superio::serial::{NoEvents, Serial};
use vm_superio::Trigger;

use super::interrupt::Line;
use super::virtio::console::Input;
use super::Mmio;

/// The transmitter and the receiver, and the interrupts that are turned on.
const DATA: u64 = 0;
const IER: u64 = 1;
/// The receiver's interrupt.
const IER_RECEIVED: u8 = 1;
/// What the chip is to do with its lines; the loopback from the transmitter to the receiver.
const MCR: u64 = 4;
const MCR_LOOP: u8 = 1 << 4;

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
    /// Bytes of a full buffer.
    full: usize,
    out: W,
}

/// The most of a line that is held back. Nothing is where somebody types: a prompt ends no line.
const LONGEST: usize = 256;

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for &byte in bytes {
            self.buffer.push(byte);
            if byte == b'\n' || self.buffer.len() >= self.full {
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
pub struct Uart<W: Write> {
    chip: Mutex<Serial<Pulse, NoEvents, Lines<W>>>,
    input: Option<Arc<Input>>,
}

impl<W: Write + Send> Uart<W> {
    /// A UART that sends to `out`, whose errors `out` has told of itself, and receives what is typed,
    /// if there is an `input`.
    pub fn new(line: Box<dyn Line>, out: W, input: Option<Arc<Input>>) -> Uart<W> {
        let full = if input.is_some() { 1 } else { LONGEST };
        let buffer = Vec::with_capacity(full);
        let lines = Lines { buffer, full, out };
        Uart {
            chip: Mutex::new(Serial::new(Pulse(line), lines)),
            input,
        }
    }

    /// Hands on a line that has not ended.
    pub fn finish(&self) -> std::io::Result<()> {
        self.lock().writer_mut().hand_on()
    }

    /// Something was typed.
    pub fn receive(&self) {
        self.fill(&mut self.lock());
    }

    /// Puts what waits into the receiver, as far as it has room and the guest listens.
    fn fill(&self, chip: &mut Serial<Pulse, NoEvents, Lines<W>>) {
        let Some(input) = &self.input else {
            return;
        };
        let state = chip.state();
        // Linux looks whether the chip has a loopback, in which it receives nothing.
        if state.interrupt_enable & IER_RECEIVED == 0 || state.modem_control & MCR_LOOP != 0 {
            return;
        }
        let bytes = input.pull(chip.fifo_capacity());
        if !bytes.is_empty() {
            // It has room, the chip is in no loopback, and the trigger cannot fail.
            let _all = chip.enqueue_raw_bytes(&bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Serial<Pulse, NoEvents, Lines<W>>> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> Mmio for Uart<W> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let mut chip = self.lock();
        if let (Ok(register @ 0..=7), Some(first)) = (u8::try_from(offset), data.first_mut()) {
            *first = chip.read(register);
            if offset == DATA {
                self.fill(&mut chip);
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut chip = self.lock();
        if let (Ok(register @ 0..=7), Some(&byte)) = (u8::try_from(offset), data.first()) {
            // The trigger cannot fail, and the output has told of its failure to those who end the
            // guest: the guest itself sees a UART that has sent the byte.
            let _told = chip.write(register, byte);
            if offset == IER || offset == MCR {
                self.fill(&mut chip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    const THR: u64 = DATA;
    const LSR: u64 = 5;
    const TX_EMPTY: u8 = 0x60;

    #[test]
    fn lines_are_sent_whole() {
        let sent = Sent::default();
        let uart = Uart::new(Box::new(Wire::default()), sent.clone(), None);
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
        let uart = Uart::new(Box::new(wire.clone()), Sent::default(), None);
        uart.write(IER, &[2]);
        assert_eq!(*wire.0.lock().unwrap(), [true, false]);
    }

    #[test]
    fn what_is_no_register_does_nothing() {
        let sent = Sent::default();
        let uart = Uart::new(Box::new(Wire::default()), sent.clone(), None);
        for offset in [8, 0x100, 0xfff] {
            uart.write(offset, b"\n");
            let mut data = [0xff; 4];
            uart.read(offset, &mut data);
            assert_eq!(data, [0; 4]);
        }
        assert!(sent.0.lock().unwrap().is_empty());
    }

    fn console() -> (Uart<Sent>, Arc<Input>, Sent, Wire) {
        let (sent, input, wire) = (Sent::default(), Arc::default(), Wire::default());
        let line = Box::new(wire.clone());
        let uart = Uart::new(line, sent.clone(), Some(Arc::clone(&input)));
        (uart, input, sent, wire)
    }

    fn received(uart: &Uart<Sent>) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (mut status, mut byte) = ([0], [0]);
            uart.read(LSR, &mut status);
            if status[0] & 1 == 0 {
                return all;
            }
            uart.read(DATA, &mut byte);
            all.push(byte[0]);
        }
    }

    #[test]
    fn what_is_typed_waits_until_the_guest_listens() {
        let (uart, input, _, wire) = console();
        let typed: Vec<u8> = (0..200).collect();
        assert_eq!(input.push(&typed), 200);
        uart.receive();
        assert_eq!(received(&uart), b"");
        // Linux's look for a loopback, which must find what it sends and nothing else.
        uart.write(MCR, &[MCR_LOOP]);
        uart.write(IER, &[IER_RECEIVED]);
        uart.write(THR, b"!");
        assert_eq!(received(&uart), b"!");
        wire.0.lock().unwrap().clear();
        uart.write(MCR, &[0]);
        // More than its FIFO holds, and an interrupt for it.
        assert_eq!(wire.0.lock().unwrap()[..2], [true, false]);
        assert_eq!(received(&uart), typed);
        input.push(b"more");
        uart.receive();
        assert_eq!(received(&uart), b"more");
    }

    #[test]
    fn a_prompt_is_not_held_back() {
        let (uart, _, sent, _) = console();
        uart.write(THR, b"$");
        assert_eq!(*sent.0.lock().unwrap(), [b"$".to_vec()]);
    }
}
