// SPDX-License-Identifier: Apache-2.0
//! What is typed, less what is for us: Ctrl-A, then a key, as QEMU has it.

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// The keys, for `Ctrl-A h`.
pub const HELP: &str = "Ctrl-A x leaves the guest, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows this";

/// What was typed after Ctrl-A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave the guest.
    Leave,
    /// Show the keys.
    Help,
}

/// Whether Ctrl-A was the last key.
#[derive(Default)]
pub struct Escape {
    pending: bool,
}

impl Escape {
    /// Sorts what was typed: what the guest gets, and what is for us, in order. A key after Ctrl-A
    /// that means nothing is dropped.
    pub fn sort(&mut self, typed: &[u8]) -> (Vec<u8>, Vec<Command>) {
        let (mut guest, mut commands) = (Vec::new(), Vec::new());
        for &key in typed {
            match (std::mem::take(&mut self.pending), key) {
                (false, ESCAPE) => self.pending = true,
                (false, _) | (true, ESCAPE) => guest.push(key),
                (true, b'x' | b'X') => commands.push(Command::Leave),
                (true, b'h' | b'?') => commands.push(Command::Help),
                (true, _) => {}
            }
        }
        (guest, commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_the_guest_and_commands_to_us() {
        use Command::{Help, Leave};
        for (typed, guest, commands) in [
            (&b"ls -l\r"[..], &b"ls -l\r"[..], &[][..]),
            (b"a\x01xb", b"ab", &[Leave]),
            (b"\x01X", b"", &[Leave]),
            (b"\x01h\x01?", b"", &[Help, Help]),
            (b"\x01\x01", b"\x01", &[]),
            (b"\x01\x01x", b"\x01x", &[]),
            (b"\x01\x01\x01x", b"\x01", &[Leave]),
            (b"\x01q\x03\x04\x1a", b"\x03\x04\x1a", &[]),
            (b"x\x00\xff", b"x\x00\xff", &[]),
        ] {
            let mut whole = Escape::default();
            let expected = (guest.to_vec(), commands.to_vec());
            assert_eq!(whole.sort(typed), expected, "{typed:?}");
            // The same when each key comes alone.
            let mut single = Escape::default();
            let mut got = (Vec::new(), Vec::new());
            for key in typed {
                let (guest, commands) = single.sort(&[*key]);
                got.0.extend(guest);
                got.1.extend(commands);
            }
            assert_eq!(got, expected, "{typed:?}");
        }
    }
}
