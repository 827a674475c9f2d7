// SPDX-License-Identifier: Apache-2.0
//! What is typed, or comes from a pipe, on its way to the guest's console.

use std::io::{self, Read};

use super::event::{tell, Ending, Event, Events};
use crate::devices::virtio::console::Input;
use crate::terminal::escape::{Command, Escape, HELP};

/// Reads until the end, and hands on; `typed` is called when there is something for the console. From a terminal what does not fit is dropped, for the escape
/// key must be read; from anything else it waits.
pub fn pump(
    mut from: impl Read,
    is_terminal: bool,
    input: &Input,
    typed: &dyn Fn(),
    events: &Events,
) {
    let mut escape = Escape::default();
    let mut buffer = [0; 4096];
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => &buffer[..len],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // A terminal that is gone, or a background process: nothing more is typed.
            Err(_) => return,
        };
        if !is_terminal {
            wait_and_push(bytes, input, typed);
            continue;
        }
        let (guest, commands) = escape.sort(bytes);
        for command in commands {
            match command {
                Command::Leave => tell(events, Event::Ended(Ending::Left)),
                Command::Help => crate::terminal::say(HELP),
            }
        }
        input.push(&guest);
        typed();
    }
}

fn wait_and_push(mut bytes: &[u8], input: &Input, typed: &dyn Fn()) {
    while !bytes.is_empty() {
        input.wait_for_room();
        bytes = &bytes[input.push(bytes)..];
        typed();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{mpsc, Arc};

    use super::*;
    use crate::devices::virtio::console::{Console, RECEIVE, WAITING};
    use crate::devices::virtio::testing::{Driver, Part};

    #[test]
    fn a_terminal_has_an_escape_key_and_a_pipe_has_none() {
        for (is_terminal, seen) in [(true, &b"ab"[..]), (false, b"a\x01xb")] {
            let input = Arc::new(Input::default());
            let mut driver = Driver::start(Console::new(io::sink(), input.clone()), 0);
            driver.request(RECEIVE, &[Part::In(16)]);
            let (events, told) = mpsc::channel();
            let typed = || driver.slot.serve(RECEIVE);
            pump(&b"a\x01xb"[..], is_terminal, &input, &typed, &events);
            assert_eq!(driver.used(RECEIVE), [(0, seen.len() as u32)]);
            assert_eq!(driver.written(0)[..seen.len()], *seen);
            let left = matches!(told.try_recv(), Ok(Event::Ended(Ending::Left)));
            assert_eq!(left, is_terminal);
        }
    }

    #[test]
    fn a_long_pipe_waits_for_the_guest() {
        let input = Arc::new(Input::default());
        let mut driver = Driver::start(Console::new(io::sink(), input.clone()), 0);
        let typed: Vec<u8> = (0..WAITING * 2).map(|n| (n / 100) as u8).collect();
        let slot = driver.slot.clone();
        let pipe = typed.clone();
        let reader = std::thread::spawn(move || {
            let (events, _told) = mpsc::channel();
            pump(&pipe[..], false, &input, &|| slot.serve(RECEIVE), &events);
        });
        let mut got: Vec<u8> = Vec::new();
        while got.len() < typed.len() {
            let head = driver.request(RECEIVE, &[Part::In(1024)]);
            let mut done = driver.serve(RECEIVE);
            while done.is_empty() {
                std::thread::yield_now();
                done = driver.used(RECEIVE);
            }
            got.extend(&driver.written(head)[..done[0].1 as usize]);
        }
        reader.join().unwrap();
        assert!(got == typed);
    }
}
