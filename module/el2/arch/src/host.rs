// SPDX-License-Identifier: GPL-2.0
//! Traps of the host: decode, call the logic, write the answer back.
//!
//! Why unsafe: the vectors pass a pointer to the frame that they saved, and EL1 state is written.

use core::sync::atomic::Ordering;

use mvirt_abi::{Call, Stat};
use mvirt_hyp::cpu::Feature;
use mvirt_hyp::memory::Accessor;
use mvirt_hyp::psci::{first_write, FirstWrite, FreshCpu};
use mvirt_hyp::smccc::{Hvc, StubAnswer, StubCall, HVC_STUB_ERR, NOT_SUPPORTED};
use mvirt_hyp::trap::{
    Abort, Access, Exception, Fault, FaultAddress, FaultRegisters, Host, SysregAccess, Trap,
};

use crate::cpu::{icc_sre, id_regs, set_tvm, PerCpu, HCR_TVM};
use crate::entry::Frame;
use crate::sysreg::*;
use crate::{calls, firmware};

/// PSTATE.BTYPE.
const PSTATE_BTYPE: u64 = 0b11 << 10;
/// PSTATE.SS.
const PSTATE_SS: u64 = 1 << 21;

/// ESR_EL2 of `hvc #0` in AArch64 state: EC 0x16, IL, ISS 0.
const ESR_HVC_0: u64 = 0x16 << 26 | 1 << 25;

/// The vector of a synchronous exception, from AArch64 and from AArch32.
const SYNC: [u64; 2] = [0, 4];

/// A lower exception level came to EL2. `kind` is the vector's place in its group of eight.
///
/// Interrupts and SErrors of the host are not routed to EL2 (HCR_EL2.AMO, FMO and IMO are 0), so
/// each other vector is an invariant broken.
#[no_mangle]
extern "C" fn el2_host_trap(frame: &mut Frame, kind: u64) {
    let this = PerCpu::current();
    this.frame.store(frame, Ordering::Relaxed);
    let esr = read_sysreg!("esr_el2");
    // Our own calls first, which the run of each vCPU is: as `Trap::decode` and `Hvc::classify` say it.
    match Call::from_id(frame.x[0]) {
        Some(call) if kind == SYNC[0] && esr == ESR_HVC_0 => {
            this.traps.push(esr, frame.elr, frame.x[0]);
            this.count(Stat::TrapHypercall);
            calls::call(frame, call);
        }
        _ => other_trap(this, frame, kind, esr),
    }
    #[cfg(mvirt_debug)]
    calls::check_invariants();
}

#[inline(never)]
fn other_trap(this: &PerCpu, frame: &mut Frame, kind: u64, esr: u64) {
    assert!(SYNC.contains(&kind), "vector {kind} from the host");
    let trap = Trap::decode(esr);
    let info = match trap {
        Ok(Trap::Hvc { .. } | Trap::Smc { .. }) => frame.x[0],
        _ => read_sysreg!("far_el2"),
    };
    this.traps.push(esr, frame.elr, info);
    match trap {
        Ok(Trap::Hvc { imm }) => hvc(this, frame, imm),
        Ok(trap @ Trap::Smc { imm }) => {
            frame.elr = frame.elr.wrapping_add(trap.advance());
            // What the instruction would have done to PSTATE had it not trapped.
            frame.spsr &= !(PSTATE_BTYPE | PSTATE_SS);
            firmware::smc(this, frame, imm);
        }
        Ok(Trap::Abort(abort)) => fault(this, frame, &abort),
        Ok(Trap::SystemRegister(access)) => system_register(this, frame, access),
        // What the kernel configured to trap before we came, and what no CPU should send: the
        // host does not have it.
        Ok(Trap::Other { .. }) | Err(_) => {
            this.count(Stat::TrapOther);
            inject(frame, Exception::Undefined);
        }
    }
}

/// The host's frame, if this CPU is handling a trap of the host.
pub fn interrupted(this: &PerCpu) -> Option<&'static mut Frame> {
    let frame = this.frame.load(Ordering::Relaxed);
    // SAFETY: the vectors put the frame at the top of this CPU's stack, where it stays until the
    // exit; the pointer is set anew at each entry. Called by the report alone, which has given up
    // the handler that holds the other reference.
    unsafe { frame.as_mut() }
}

fn hvc(this: &PerCpu, frame: &mut Frame, imm: u16) {
    match Hvc::classify(imm, frame.x[0]) {
        Hvc::Mvirt(call) => {
            this.count(Stat::TrapHypercall);
            calls::call(frame, call);
        }
        Hvc::Stub(call) => {
            this.count(Stat::TrapStub);
            if call == StubCall::SoftRestart {
                firmware::soft_restart_refused();
            }
            match call.answer() {
                StubAnswer::IchVtr if icc_sre(&id_regs()) & 1 == 1 => {
                    frame.x[0] = 0;
                    // ICH_VTR_EL2.
                    frame.x[1] = read_sysreg!("s3_4_c12_c11_1");
                }
                StubAnswer::IchVtr | StubAnswer::Error => frame.x[0] = HVC_STUB_ERR,
            }
        }
        Hvc::Unknown => {
            this.count(Stat::TrapOther);
            frame.x[0] = NOT_SUPPORTED;
        }
    }
}

fn fault(this: &PerCpu, frame: &mut Frame, abort: &Abort) {
    let far = read_sysreg!("far_el2");
    if abort.is_denied_fetch() {
        this.count(Stat::TrapFaultDenied);
        return inject(frame, Exception::Alignment { abort: *abort, far });
    }
    let regs = FaultRegisters {
        far,
        hpfar: read_sysreg!("hpfar_el2"),
    };
    let ipa = match abort.address(regs, this.retranslates()) {
        FaultAddress::Ipa(ipa) => Some(ipa),
        FaultAddress::Translate => match translate(frame, abort, far) {
            Some(ipa) => Some(ipa),
            // The host's own tables refuse it now: it runs the instruction again and takes its
            // own fault.
            None => return,
        },
        FaultAddress::None => None,
    };
    // What no mapping mends is not the logic's to judge.
    let mendable = matches!(
        abort.fault,
        Fault::Translation { .. } | Fault::Permission { .. } | Fault::AccessFlag { .. }
    );
    // PSTATE.M: EL0t is 0, and so are bits 3:0 of AArch32's User mode.
    let is_kernel = frame.spsr & 0xf != 0;
    let by = Accessor {
        kernel: is_kernel.then_some(this.index() as usize),
        fetch: abort.is_fetch(),
    };
    let outcome = match ipa {
        Some(ipa) if mendable => calls::host_fault(ipa, by),
        _ => Stat::TrapFaultDenied,
    };
    this.count(outcome);
    if outcome == Stat::TrapFaultDenied {
        inject(frame, Exception::Alignment { abort: *abort, far });
    }
}

/// Asks stage 1 of the host, or of the guest that is in the CPU, where a virtual address lies. PAR_EL1 is its own and is kept.
pub fn translate(frame: &Frame, abort: &Abort, far: u64) -> Option<u64> {
    let kept = read_par();
    let user = frame.spsr & 0xf == 0;
    // SAFETY: AT writes PAR_EL1 alone, which is put back.
    unsafe {
        match (user, abort.access) {
            (true, Access::Write) => at!("s1e0w", far),
            (true, _) => at!("s1e0r", far),
            (false, Access::Write) => at!("s1e1w", far),
            (false, _) => at!("s1e1r", far),
        }
    }
    isb();
    let par = read_par();
    // SAFETY: the host's own value.
    unsafe { write_sysreg!("par_el1", kept) };
    // PAR_EL1.F clear: bits 51:12 are the address.
    (par & 1 == 0).then_some((par & 0x000f_ffff_ffff_f000) | (far & 0xfff))
}

/// PAR_EL1, with DMB SY around the read where the core needs it.
pub fn read_par() -> u64 {
    if PerCpu::current().par_barrier() {
        dmb_sy();
        let par = read_sysreg!("par_el1");
        dmb_sy();
        par
    } else {
        read_sysreg!("par_el1")
    }
}

fn system_register(this: &PerCpu, frame: &mut Frame, access: SysregAccess) {
    this.count(Stat::TrapSysreg);
    if read_sysreg!("hcr_el2") & HCR_TVM == 0 {
        return inject(frame, Exception::Undefined);
    }
    let value = frame.gp(access.rt);
    let fresh = FreshCpu {
        access,
        value,
        sctlr: host_sctlr(),
        lr: frame.x[30],
        pstate: frame.spsr,
    };
    set_tvm(false);
    match first_write(&fresh) {
        FirstWrite::Finish {
            sctlr,
            pc,
            pstate,
            x0,
        } => {
            set_host_sctlr(sctlr);
            frame.elr = pc;
            frame.spsr = pstate;
            frame.x[0] = x0;
        }
        // The counter and the trap ring show it; the instruction runs again, untrapped.
        FirstWrite::LetThrough(_) => this.count(Stat::TrapOther),
    }
}

/// Lets EL1, the host's or the guest's that is in the CPU, take an exception when EL2 returns.
pub fn inject(frame: &mut Frame, exception: Exception) {
    let ids = id_regs();
    let gcscr = if ids.has(Feature::Gcs) {
        // GCSCR_EL1, or GCSCR_EL12.
        if e2h() {
            read_sysreg!("s3_5_c2_c5_0")
        } else {
            read_sysreg!("s3_0_c2_c5_0")
        }
    } else {
        0
    };
    let host = Host {
        pstate: frame.spsr,
        pc: frame.elr,
        sctlr: host_sctlr(),
        vbar: host_vbar(),
        gcscr,
    };
    let taken = exception
        .take(&host, &ids)
        .expect("EL0 or EL1 was interrupted");
    frame.spsr = taken.pstate;
    frame.elr = taken.pc;
    set_host_spsr(taken.spsr);
    set_host_elr(taken.elr);
    set_host_esr(taken.esr);
    if let Some(far) = taken.far {
        set_host_far(far);
    }
}

/// Lets the host take an SError that no kernel survives.
pub fn inject_serror(frame: &mut Frame) {
    inject(frame, Exception::SError);
}
