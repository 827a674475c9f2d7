// SPDX-License-Identifier: GPL-2.0
//! What a guest's trap means: the virtual CPU that a VM sees, as pure functions.
//!
//! The run loop takes ESR_EL2 to [`Event::decode`], and each event to the part that knows it:
//! [`mmio`] for aborts, [`sysreg`] for System registers, [`services`] for HVC and SMC, [`psci`] for
//! power states, [`timer`] for deadlines, [`serror`] for errors of memory; [`quick`] comes before all
//! of that. [`idregs`] says what the CPU looks like, and [`traps`] what is trapped so that it looks like
//! that; [`firmware`] shows user space what is offered beside the CPU. Everything takes values and answers values: the layout of
//! a vCPU's registers and of a VM is elsewhere. No lock; what has state ([`psci::Power`],
//! [`guard::Guard`], [`sysreg::State`]) is part of the VM and under its lock.

pub mod event;
pub mod firmware;
pub mod guard;
pub mod idregs;
pub mod mmio;
pub mod psci;
pub mod quick;
pub mod reset;
pub mod serror;
pub mod services;
pub mod setway;
pub mod sysreg;
pub mod timer;
pub mod traps;

pub use event::Event;
