// SPDX-License-Identifier: Apache-2.0
//! Looks for a secret in the guest's memory by this process's own mapping of it, for the proof that
//! a host cannot find it there (`make run`): nobody else has that mapping.
//!
//! The one who asks writes the secret into a FIFO, as a line of hexadecimal digits; the answer is a
//! line on standard error, in the form of the program that looks everywhere else
//! (`selftests/secret/search.c`). This process holds the secret's complement alone, so that it does
//! not find itself and is not found.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::thread;

use super::{probe, ram::Ram};

/// Read at a time: what faults is skipped by pages of the smallest size. Copies are looked for at
/// multiples of a word, where the guest keeps them.
const PAGE: usize = 4096;

/// What a search has done, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    tried: u64,
    read: u64,
    found: u64,
}

/// The complement of the secret that a line names, or nothing if it names none.
fn complement(line: &str) -> Option<Vec<u64>> {
    let digits = line.trim_end().as_bytes();
    let word = |digits: &[u8]| {
        let mut bytes = [0; probe::WORD];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |c: u8| (c as char).to_digit(16);
            *byte = !u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(u64::from_ne_bytes(bytes))
    };
    if digits.is_empty() || digits.len() % (2 * probe::WORD) != 0 {
        return None;
    }
    digits.chunks(2 * probe::WORD).map(word).collect()
}

/// Counts where `complement` is the complement of what is in `words`.
fn count(words: &[u64], complement: &[u64]) -> u64 {
    let is_it = |at: &[u64]| at.iter().zip(complement).all(|(a, b)| *a == !*b);
    words
        .windows(complement.len())
        .filter(|at| is_it(at))
        .count() as u64
}

fn search(ram: &Ram, complement: &[u64]) -> Tally {
    // What ends in a page may begin at the end of the one before, which is kept before it.
    let most = complement.len() - 1;
    let mut words = vec![0; most + PAGE / probe::WORD];
    let mut start = most;
    let mut tally = Tally::default();
    for offset in (0..ram.size() as usize).step_by(PAGE) {
        let address = ram.address() as usize + offset;
        // SAFETY: the page is in the mapping, which stays until the process ends, and begins at a
        // multiple of 4,096; `guard` handles SIGBUS with `skip`.
        let read = unsafe { probe::read(address, &mut words[most..]) };
        tally.tried += PAGE as u64;
        tally.read += read as u64;
        let end = most + read / probe::WORD;
        tally.found += count(&words[start..end], complement);
        start = if read == PAGE {
            words.copy_within(end - most.., 0);
            0
        } else {
            most
        };
    }
    tally
}

/// Answers each line of the FIFO at `path`, until the process ends.
pub fn serve(ram: Ram, path: &Path) -> io::Result<()> {
    // Opened to write as well, which does not wait, and so has no end of file.
    let fifo = File::options().read(true).write(true).open(path)?;
    let answer = move || {
        for line in BufReader::new(fifo).lines().map_while(Result::ok) {
            let answer = match complement(&line) {
                Some(complement) => {
                    let t = search(&ram, &complement);
                    let refused = t.tried - t.read;
                    format!(
                        "search: way=mapping tried={} read={} refused={refused} found={}",
                        t.tried, t.read, t.found
                    )
                }
                None => "search: not a secret: a multiple of 8 bytes in hexadecimal".into(),
            };
            // As with every message: if it fails there is nobody to tell.
            let _ = writeln!(io::stderr(), "{answer}");
        }
    };
    thread::Builder::new().name("search".into()).spawn(answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use vm_memory::{Bytes, GuestAddress};

    use super::super::layout::{BLOCK, RAM};
    use super::*;
    use crate::run::guard;

    const SECRET: [u8; 16] = *b"sixteen of these";
    const LINE: &str = "7369787465656e206f66207468657365";

    #[test]
    fn a_line_is_hexadecimal_and_of_whole_words() {
        let word = |at| !u64::from_ne_bytes(SECRET[at..at + 8].try_into().unwrap());
        let expected = [word(0), word(8)];
        assert_eq!(complement(LINE).unwrap(), expected);
        assert_eq!(
            complement(&format!("{}\n", LINE.to_uppercase())).unwrap(),
            expected
        );
        for wrong in [
            "",
            "\n",
            "7",
            "73697874",
            "736978746565zz20",
            "+1+1+1+1+1+1+1+1",
        ] {
            assert_eq!(complement(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_copy_is_counted_once() {
        let ram = Ram::map(&(RAM..RAM + BLOCK)).unwrap();
        let view = ram.view(&(RAM..RAM + BLOCK));
        let wanted = complement(LINE).unwrap();
        let tally = |found| Tally {
            tried: BLOCK,
            read: BLOCK,
            found,
        };
        assert_eq!(search(&ram, &wanted), tally(0));
        // At both ends, across two pages, and twice in one.
        let places = [0, 4096 - 8, 8192 + 16, 8192 + 32, BLOCK - 16];
        for place in places {
            view.write_slice(&SECRET, GuestAddress(RAM + place))
                .unwrap();
        }
        assert_eq!(search(&ram, &wanted), tally(places.len() as u64));
    }

    #[test]
    fn what_faults_is_counted_and_survived() {
        // In a process of its own, whose handler of SIGBUS this is.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "run::search::tests::child"])
            .env("MVIRT_TEST_CHILD", "search")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }

    /// What the test above runs: memory whose middle is behind the end of a file. By itself it is no
    /// test and does nothing.
    #[test]
    fn child() {
        use std::os::fd::AsRawFd;
        if std::env::var_os("MVIRT_TEST_CHILD").is_none() {
            return;
        }
        let ram = Ram::map(&(RAM..RAM + BLOCK)).unwrap();
        let view = ram.view(&(RAM..RAM + BLOCK));
        for place in [0, BLOCK / 2, BLOCK - 16] {
            view.write_slice(&SECRET, GuestAddress(RAM + place))
                .unwrap();
        }
        guard::set(ram).unwrap();
        let empty = vmm_sys_util::tempfile::TempFile::new().unwrap();
        // SAFETY: two pages of the range that was mapped just now, which nobody else uses.
        let pages = unsafe {
            libc::mmap(
                (ram.address() + BLOCK / 2) as *mut libc::c_void,
                2 * PAGE,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_FIXED,
                empty.as_file().as_raw_fd(),
                0,
            )
        };
        assert_ne!(pages, libc::MAP_FAILED);
        let expected = Tally {
            tried: BLOCK,
            read: BLOCK - 2 * PAGE as u64,
            found: 2,
        };
        assert_eq!(search(&ram, &complement(LINE).unwrap()), expected);
    }
}
