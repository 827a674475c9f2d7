// SPDX-License-Identifier: Apache-2.0
//! The threads of the vCPUs: started together, and made to leave the guest at its end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vmm_sys_util::signal::{register_signal_handler, Killable, SIGRTMIN};

use super::bus::Bus;
use super::event::{tell, Events};
use super::hypervisor::{Kick, Vcpu};
use super::vcpu;
use crate::error::Error;

/// How long the vCPUs have to come back at the end. Their threads end with the process anyway.
const PATIENCE: Duration = Duration::from_secs(2);

/// The threads of the vCPUs.
pub struct Crew<C: Vcpu> {
    threads: Vec<(JoinHandle<C>, C::Kick)>,
    stopping: Arc<AtomicBool>,
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

impl<C: Vcpu> Crew<C> {
    /// Starts them, and with them the guest.
    pub fn start(
        vcpus: Vec<C>,
        bus: Arc<Bus>,
        stopping: Arc<AtomicBool>,
        events: &Events,
    ) -> Result<Crew<C>, Error> {
        register_signal_handler(SIGRTMIN(), on_kick).map_err(|e| Error::Internal {
            doing: "sigaction of the vCPUs' signal",
            source: io::Error::from_raw_os_error(e.errno()),
        })?;
        let threads = Vec::with_capacity(vcpus.len());
        let mut crew = Crew { threads, stopping };
        for (number, mut vcpu) in (0..).zip(vcpus) {
            let (bus, events, stopping) = (bus.clone(), events.clone(), crew.stopping.clone());
            let kick = vcpu.kick();
            let spawned = thread::Builder::new()
                .name(format!("vcpu{number}"))
                .spawn(move || {
                    if let Some(event) = vcpu::run(number, &mut vcpu, &bus, &stopping) {
                        tell(&events, event);
                    }
                    // Given back, so that it lives until it is joined: it may be kicked until then.
                    vcpu
                });
            match spawned {
                Ok(thread) => crew.threads.push((thread, kick)),
                Err(source) => {
                    crew.stop();
                    return Err(Error::Internal {
                        doing: "a thread",
                        source,
                    });
                }
            }
        }
        Ok(crew)
    }

    /// Makes all vCPUs leave the guest. One that does not come, for it waits for the host's disk or
    /// the like, is left to the end of the process, which is near.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        let end = Instant::now() + PATIENCE;
        for (thread, kick) in self.threads {
            while !thread.is_finished() && Instant::now() < end {
                kick.leave();
                // ESRCH is a thread that has just ended.
                let _gone = thread.kill(SIGRTMIN());
                thread::sleep(Duration::from_micros(200));
            }
            if thread.is_finished() {
                drop(thread.join());
            } else {
                // The vCPU must outlive the kick, whose thread may still be in it: both stay.
                std::mem::forget(thread);
            }
        }
    }
}
