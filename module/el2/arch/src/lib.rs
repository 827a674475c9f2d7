// SPDX-License-Identifier: GPL-2.0
//! mvirt's EL2 image: entry and exit, vectors, system registers, and the glue that gives the
//! logic in `mvirt-hyp` a machine to act on. All of EL2's unsafe code is here, and no policy.
//!
//! * `layout`   EL2's virtual address space
//! * `entry`    the identity page: entry from the stub and from PSCI, exit; vectors
//! * `boot`     EL2's tables, built by the first CPU with the MMU off
//! * `cpu`      a CPU's own data, its take-over and its way back
//! * `kept`     accesses to the registers that are kept for the host
//! * `sysreg`   accessors of system registers
//! * `lock`     the spinlock
//! * `machine`  the logic's view of memory and TLBs
//! * `host`     traps of the host
//! * `calls`    the hypercalls
//! * `entropy`  random numbers for guests
//! * `firmware` SMCs that go out, CPUs that come in
//! * `guest`    VMs: their hypercalls, the world switch, traps of a guest
//! * `report`   what is left behind when EL2 faults or panics
#![no_std]

mod boot;
mod calls;
mod cpu;
mod entropy;
mod entry;
mod firmware;
mod guest;
mod host;
mod kept;
mod layout;
mod lock;
mod machine;
mod report;
mod sysreg;
