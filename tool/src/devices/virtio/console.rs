// SPDX-License-Identifier: Apache-2.0
//! The console (virtio 1.2, section 5.3): one port, no multiport.
//!
//! What is typed waits in [`Input`], which whoever reads the terminal fills from another thread. It
//! also waits for the driver: Linux throws away what it receives between giving its first buffers and
//! having its terminal, and with one port the device is not told of the latter. But Linux prints all
//! of its log in that time, so a console that has become quiet is one that listens.
//! Lock order: the device's transport, then the input.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::{copy_config, Broken, Device, Ring, Served};

/// The feature of telling the terminal's size (section 5.3.3).
const VIRTIO_CONSOLE_F_SIZE: u32 = 0;
/// The queue that the driver fills with buffers for what is typed.
pub const RECEIVE: usize = 0;
/// The queue of what the guest prints.
pub const TRANSMIT: usize = 1;

/// The most that waits for the guest to read it.
pub const WAITING: usize = 64 << 10;
/// Copied at a time.
const CHUNK: usize = 4096;

/// A console that printed nothing for so long listens,
const QUIET: Duration = Duration::from_millis(250);
/// and so does one whose driver has been there for so long.
const LONG: Duration = Duration::from_secs(5);

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What was typed and not yet read, and the size of the terminal, if there is one.
#[derive(Default)]
pub struct Input {
    state: Mutex<State>,
    room: Condvar,
    printed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    size: Option<Size>,
    /// Nothing is handed on yet.
    held: bool,
    /// When the driver came, and when it or the guest last did something.
    times: Option<(Instant, Instant)>,
}

impl Input {
    /// Where what is typed is kept until [`Input::wait_for_quiet`] has returned.
    pub fn held() -> Input {
        let input = Input::default();
        input.lock().held = true;
        input
    }

    /// Waits until the guest can be expected to listen.
    pub fn wait_for_quiet(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let until = state
                .times
                .map(|(came, last)| (came + LONG).min(last + QUIET));
            state = match until {
                None => {
                    let state = self.printed.wait(state);
                    state.unwrap_or_else(PoisonError::into_inner)
                }
                Some(until) if until > now => {
                    let result = self.printed.wait_timeout(state, until - now);
                    result.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => break,
            };
        }
        state.held = false;
    }

    /// Notes that the driver came, or that the guest printed.
    fn note(&self) {
        let mut state = self.lock();
        if state.held {
            let now = Instant::now();
            let (came, _) = state.times.unwrap_or((now, now));
            state.times = Some((came, now));
            self.printed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what fits, and says how much that was.
    pub fn push(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let len = bytes.len().min(WAITING - state.bytes.len());
        state.bytes.extend(&bytes[..len]);
        len
    }

    /// Waits until something fits.
    pub fn wait_for_room(&self) {
        let full = |state: &mut State| state.bytes.len() >= WAITING;
        let state = self.room.wait_while(self.lock(), full);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes the size of the terminal. The first one, before the guest starts, decides whether the
    /// device tells it at all. Answers whether the guest is to be told of the change now: before it
    /// listens, Linux would look for the size of a terminal that it does not have yet.
    pub fn set_size(&self, size: Size) -> bool {
        let mut state = self.lock();
        state.size = Some(size);
        !state.held
    }

    /// The size of the terminal, if there is one.
    pub fn size(&self) -> Option<Size> {
        self.lock().size
    }

    /// Whether there is anything to hand on.
    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.held || state.bytes.is_empty()
    }

    /// The next bytes, at most `most`; none while they are held.
    pub fn pull(&self, most: usize) -> Vec<u8> {
        let mut state = self.lock();
        if state.held {
            return Vec::new();
        }
        let len = most.min(state.bytes.len());
        let bytes = state.bytes.drain(..len).collect();
        drop(state);
        self.room.notify_all();
        bytes
    }
}

/// The device, which prints to `out`. The errors of `out` are its own to tell.
pub struct Console<W> {
    out: W,
    input: Arc<Input>,
    sized: bool,
}

impl<W: Write + Send> Console<W> {
    /// A console that takes what is typed from `input`.
    pub fn new(out: W, input: Arc<Input>) -> Console<W> {
        let sized = input.size().is_some();
        Console { out, input, sized }
    }

    fn receive(&mut self, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        while !self.input.is_empty() {
            let Some(mut request) = ring.take()? else {
                return Ok(Served::All);
            };
            let bytes = self.input.pull(request.writer.len());
            request.writer.write(&bytes)?;
            ring.give(&request, bytes.len())?;
        }
        Ok(Served::Waiting)
    }

    fn transmit(&mut self, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        let mut bytes = [0; CHUNK];
        while let Some(mut request) = ring.take()? {
            loop {
                let bytes = &mut bytes[..request.reader.len().min(CHUNK)];
                if bytes.is_empty() {
                    break;
                }
                request.reader.read(bytes)?;
                self.out
                    .write_all(bytes)
                    .map_err(|e| Broken(format!("nobody takes the output: {e}")))?;
            }
            ring.give(&request, 0)?;
        }
        self.input.note();
        Ok(Served::All)
    }
}

impl<W: Write + Send> Device for Console<W> {
    fn id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        u64::from(self.sized) << VIRTIO_CONSOLE_F_SIZE
    }

    fn queues(&self) -> &'static [u16] {
        &[64, 64]
    }

    fn config(&self, offset: usize, data: &mut [u8]) {
        // cols and rows of struct virtio_console_config.
        if let (true, Some(size)) = (self.sized, self.input.size()) {
            let [a, b] = size.columns.to_le_bytes();
            let [c, d] = size.rows.to_le_bytes();
            copy_config(&[a, b, c, d], offset, data);
        }
    }

    fn start(&mut self, _features: u64) {
        self.input.note();
    }

    fn serve(&mut self, index: usize, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        match index {
            RECEIVE => self.receive(ring),
            TRANSMIT => self.transmit(ring),
            _ => Err(Broken(format!("no queue {index}"))),
        }
    }
}

#[cfg(test)]
#[path = "console/tests.rs"]
mod tests;
