// SPDX-License-Identifier: Apache-2.0
//! Where the guest's consoles print. Several devices share it, each write whole.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Called with the first error.
type Failed = Box<dyn FnOnce(io::Error) + Send>;

struct Shared {
    out: Mutex<(Box<dyn Write + Send>, Option<Failed>)>,
    stopping: Arc<AtomicBool>,
}

/// The output; clones print to the same place.
#[derive(Clone)]
pub struct Output(Arc<Shared>);

impl Output {
    /// Prints to `out`, and calls `failed` when that no longer takes anything. Once `stopping` is
    /// set, a write that a signal interrupts is given up.
    pub fn new(
        out: Box<dyn Write + Send>,
        stopping: Arc<AtomicBool>,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> Output {
        let out = Mutex::new((out, Some(Box::new(failed) as Failed)));
        Output(Arc::new(Shared { out, stopping }))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, failed) = &mut *shared;
        let mut left = bytes;
        while !left.is_empty() {
            match out.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => left = &left[len..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {
                    if self.0.stopping.load(Ordering::SeqCst) {
                        return Err(io::Error::other("the guest is being stopped"));
                    }
                }
                Err(e) => {
                    // The one who ends the guest gets the error, the device that it went wrong.
                    let kind = e.kind();
                    if let Some(failed) = failed.take() {
                        failed(e);
                    }
                    return Err(kind.into());
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    use super::*;

    /// Answers as it is told, and takes at most as much.
    struct Script(VecDeque<Result<usize, ErrorKind>>);

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let answer = self.0.pop_front().expect("one write too many");
            answer.map(|len| len.min(bytes.len())).map_err(Into::into)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(
        script: &[Result<usize, ErrorKind>],
        stopping: bool,
    ) -> (Output, mpsc::Receiver<ErrorKind>) {
        let (tell, told) = mpsc::channel();
        let out = Box::new(Script(script.iter().copied().collect()));
        let stopping = Arc::new(AtomicBool::new(stopping));
        let failed = move |e: io::Error| tell.send(e.kind()).unwrap();
        (Output::new(out, stopping, failed), told)
    }

    #[test]
    fn a_write_is_whole() {
        let script = [Ok(1), Err(ErrorKind::Interrupted), Ok(2), Ok(9)];
        let (mut output, told) = output(&script, false);
        assert_eq!(output.write(b"12345").unwrap(), 5);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn the_first_error_is_told_once() {
        let script = [Err(ErrorKind::BrokenPipe), Err(ErrorKind::BrokenPipe)];
        let (mut output, told) = output(&script, false);
        for _ in 0..2 {
            let error = output.clone().write(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        drop(output.flush());
        assert_eq!(
            told.iter().take(1).collect::<Vec<_>>(),
            [ErrorKind::BrokenPipe]
        );
        drop(output);
        assert!(told.recv().is_err());
    }

    #[test]
    fn a_stopped_guest_does_not_wait_for_the_output() {
        let (mut output, told) = output(&[Err(ErrorKind::Interrupted)], true);
        assert!(output.write(b"x").is_err());
        assert!(told.try_recv().is_err());
    }
}
