// SPDX-License-Identifier: GPL-2.0
//! A guest's trapped accesses to System registers.

use mvirt_hyp::guest::sysreg::{syndrome, Outcome};
use mvirt_hyp::trap::{Encoding, Exception, SysregAccess};

use super::run::Running;
use super::timers;
use super::trap::skip;
use crate::entry::Frame;
use crate::host::inject;

/// Trapped by ICH_HCR_EL2.TDIR, where an interrupt that is active is in no list register.
const ICC_DIR_EL1: Encoding = Encoding::new(3, 0, 12, 11, 1);

/// Does the access; the guest goes on.
pub fn access(running: &mut Running, frame: &mut Frame, access: SysregAccess) -> bool {
    let context = running.context();
    let value = frame.gp(access.rt);
    if access.register == ICC_DIR_EL1 && !access.is_read && running.has_gic {
        let n = usize::from(running.vcpu.index);
        // INTID, bits 23:0.
        let intid = (value & 0xff_ffff) as u32;
        running.refresh_with(|vgic, iface| vgic.deactivate(n, iface, intid));
        skip(frame);
        return true;
    }
    match running.vcpu.stored.access(access, value, &context) {
        Outcome::Value(value) => frame.set_gp(access.rt, value),
        Outcome::Done => {}
        Outcome::Debug => running.set_debug(),
        // DC CISW and its kin: with HCR_EL2.SWIO the hardware's own would throw nothing away, and
        // reach nobody else's lines. A guest's memory was cleaned when it was given, and what it has
        // written since is in the caches that its other accesses see.
        Outcome::SetWay => {}
        Outcome::Timer(register, written) => {
            let now = timers::now();
            match written {
                Some(value) => {
                    running.vcpu.ptimer.write(register, value, now);
                    running.refresh();
                    timers::arm(&running.vcpu.ptimer);
                }
                None => frame.set_gp(access.rt, running.vcpu.ptimer.read(register, now)),
            }
        }
        Outcome::Sgi(sgi, value) => running.sgi(sgi, value),
        Outcome::Undefined => {
            let exception = match syndrome(access, &context) {
                Some(iss) => Exception::SystemRegister { iss },
                None => Exception::Undefined,
            };
            inject(frame, exception);
            return true;
        }
    }
    skip(frame);
    true
}
