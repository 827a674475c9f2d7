// SPDX-License-Identifier: GPL-2.0
//! A guest's trapped accesses to System registers.
//!
//! Why unsafe: its translation registers are written.

use mvirt_abi::Exit;
use mvirt_hyp::guest::sysreg::{syndrome, Outcome};
use mvirt_hyp::trap::{Encoding, Exception, SysregAccess};

use super::run::Running;
use super::trap::skip;
use super::{switch, timers};
use crate::cpu::set_tvm;
use crate::entry::Frame;
use crate::host::inject;
use crate::sysreg::read_sysreg;

/// Trapped by ICH_HCR_EL2.TDIR, where an interrupt that is active is in no list register.
const ICC_DIR_EL1: Encoding = Encoding::new(3, 0, 12, 11, 1);

/// All of the guest's memory is cleaned before it goes on, in steps, for which it leaves.
fn clean(running: &mut Running) -> bool {
    set_tvm(running.vcpu.set_way.watches());
    running.leave(Exit::Interrupt, [0; 4])
}

/// Does the access. Whether the guest goes on.
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
        Outcome::SetWay => {
            skip(frame);
            return !running.vcpu.set_way.operation() || clean(running);
        }
        Outcome::Translation(register, value) => {
            let before = read_sysreg!("sctlr_el1");
            // SAFETY: the guest's own register, which it writes itself where it is not watched.
            unsafe { switch::write_one(register, value) };
            skip(frame);
            let after = read_sysreg!("sctlr_el1");
            let begins = running.vcpu.set_way.written(before, after);
            set_tvm(running.vcpu.set_way.watches());
            return !begins || clean(running);
        }
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
