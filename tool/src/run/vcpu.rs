// SPDX-License-Identifier: Apache-2.0
//! A vCPU's thread: run, serve, until something ends the guest.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bus::Bus;
use super::event::{Ending, Event};
use super::hypervisor::{Access, Exit, Vcpu};
use super::limits;
use crate::error::Error;

// KVM_SYSTEM_EVENT_*: the bindings have them on arm64 alone.
const SHUTDOWN: u32 = 1;
const RESET: u32 = 2;
const CRASH: u32 = 3;

/// Runs vCPU `number` until the guest ends, or until it is kicked when `stopping` is set; then there
/// is nothing to tell.
pub fn run(number: u32, vcpu: &mut impl Vcpu, bus: &Bus, stopping: &AtomicBool) -> Option<Event> {
    let mut mmio = |access: Access<'_>| match access {
        Access::Read { address, data } => bus.read(address, data),
        Access::Write { address, data } => bus.write(address, data),
    };
    while !stopping.load(Ordering::SeqCst) {
        let failed = |what: String| {
            Some(Event::Failed(Error::Guest(format!(
                "vCPU {number}: {what}"
            ))))
        };
        match vcpu.run(&mut mmio) {
            Ok(Exit::Again | Exit::Interrupted) => {}
            Ok(Exit::System(SHUTDOWN, _)) => return Some(Event::Ended(Ending::PowerOff)),
            Ok(Exit::System(RESET, _)) => return Some(Event::Ended(Ending::Reset)),
            Ok(Exit::System(CRASH, _)) => return Some(Event::Ended(Ending::Crash)),
            Ok(Exit::System(kind, data)) => {
                return failed(format!(
                    "KVM_EXIT_SYSTEM_EVENT of unknown type {kind}, data {data:x?}"
                ));
            }
            Ok(Exit::Stuck(why)) => return failed(why),
            // The kernel asks for another try.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(e) => return failed(refused(e)),
        }
    }
    None
}

/// What KVM_RUN refused, with what mends it where that is known.
fn refused(error: io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EFAULT) => "\nThe guest's memory could not be had from the host.",
        _ => "",
    };
    format!("KVM_RUN: {}{hint}", limits::told("KVM_RUN", error))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::hypervisor::Kick;
    use super::*;

    struct Nothing;

    impl Kick for Nothing {
        fn leave(&self) {}
    }

    struct Script<'a>(VecDeque<io::Result<Exit>>, Option<&'a AtomicBool>);

    impl Vcpu for Script<'static> {
        type Kick = Nothing;
        fn mpidr(&self) -> Result<u64, Error> {
            Ok(0)
        }
        fn set_entry(&self, _: u64, _: u64) -> Result<(), Error> {
            Ok(())
        }
        fn kick(&mut self) -> Nothing {
            Nothing
        }
        fn run(&mut self, _: &mut dyn FnMut(Access<'_>)) -> io::Result<Exit> {
            if let (1, Some(stopping)) = (self.0.len(), self.1) {
                stopping.store(true, Ordering::SeqCst);
            }
            self.0.pop_front().expect("one run too many")
        }
    }

    fn end(script: Vec<io::Result<Exit>>) -> Option<Event> {
        let mut vcpu = Script(script.into(), None);
        run(3, &mut vcpu, &Bus::default(), &AtomicBool::new(false))
    }

    fn errno(errno: i32) -> io::Result<Exit> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn system_events_are_told_apart() {
        for (kind, ending) in [
            (SHUTDOWN, Ending::PowerOff),
            (RESET, Ending::Reset),
            (CRASH, Ending::Crash),
        ] {
            let script = vec![
                Ok(Exit::Again),
                Ok(Exit::Interrupted),
                errno(libc::EAGAIN),
                Ok(Exit::System(kind, vec![])),
            ];
            assert!(matches!(end(script), Some(Event::Ended(e)) if e == ending));
        }
    }

    #[test]
    fn what_cannot_go_on_is_told_with_its_fields() {
        for (exit, parts) in [
            (
                Ok(Exit::System(9, vec![0xab])),
                &["vCPU 3", "type 9", "ab"][..],
            ),
            (
                Ok(Exit::Stuck("KVM_EXIT_X".into())),
                &["vCPU 3", "KVM_EXIT_X"],
            ),
            (errno(libc::ENOMEM), &["KVM_RUN", "memory", "\n", "iB"]),
            (errno(libc::EPERM), &["KVM_RUN", "not permitted"]),
        ] {
            let Some(Event::Failed(error)) = end(vec![exit]) else {
                panic!("no failure");
            };
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn a_stop_ends_the_thread_and_a_stray_signal_does_not() {
        static STOPPING: AtomicBool = AtomicBool::new(false);
        let script = vec![Ok(Exit::Interrupted), Ok(Exit::Interrupted)];
        let mut vcpu = Script(script.into(), Some(&STOPPING));
        assert!(run(0, &mut vcpu, &Bus::default(), &STOPPING).is_none());
        assert!(vcpu.0.is_empty());
    }
}
