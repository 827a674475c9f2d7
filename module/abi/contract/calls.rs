// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The hypercalls: one list, from which everything else is generated.
//!
//! A hypercall is `hvc #0` with x0 = [`Call::id`], arguments in x1 to x6. It answers in x0: 0 or a
//! negative [`Error`], results in x1 to x6, 0 where it has none; x7 to x17 come back as they were. The
//! numbers are SMCCC fast calls (64 bit) of the vendor-specific hypervisor service, far above the
//! numbers of the kernel's hyp stub and apart from KVM's.

use super::Error;

/// Where our function numbers start.
pub const CALL_BASE: u64 = 0xc600_a000;

/// What a call answers: x1 to x6.
pub type Results = [u64; 6];

/// The answer of a call without results.
pub const NONE: Results = [0; 6];

/// Fills up with zeros.
pub fn results<const N: usize>(values: [u64; N]) -> Results {
    let mut all = NONE;
    for (to, from) in all.iter_mut().zip(values) {
        *to = from;
    }
    all
}

/// When a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Until finalise only: the host is still trusted.
    Setup,
    /// After finalise only.
    Run,
    /// Always.
    Any,
}

macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $phase:ident $n:literal $name:ident as $method:ident ( $($arg:ident),* ) -> ( $($res:ident),* );
    )*) => {
        /// A hypercall.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Call { $($(#[$doc])* $name = $n),* }

        impl Call {
            /// All of them, by number.
            pub const ALL: &'static [Call] = &[$(Call::$name),*];

            /// The name, as traces and the documentation show it.
            pub const fn name(self) -> &'static str {
                match self { $(Call::$name => stringify!($method)),* }
            }

            /// When it is answered.
            pub const fn phase(self) -> Phase {
                match self { $(Call::$name => Phase::$phase),* }
            }

            /// The names of its arguments, in x1 and up.
            pub const fn args(self) -> &'static [&'static str] {
                match self { $(Call::$name => &[$(stringify!($arg)),*]),* }
            }

            /// The names of its results, in x1 and up.
            pub const fn results(self) -> &'static [&'static str] {
                match self { $(Call::$name => &[$(stringify!($res)),*]),* }
            }

            /// The function number that x0 carries.
            pub const fn id(self) -> u64 {
                CALL_BASE + self as u64
            }

            /// Reads x0. All 64 bits count.
            pub fn from_id(x0: u64) -> Option<Call> {
                match x0.checked_sub(CALL_BASE)? {
                    $($n => Some(Call::$name),)*
                    _ => None,
                }
            }
        }

        /// What EL2 does for each call. The dispatch is total: a call without a method is a
        /// compile error.
        pub trait Handler {
            $($(#[$doc])* fn $method(&mut self $(, $arg: u64)*) -> Result<Results, Error>;)*

            /// Calls the method of `call` with its arguments.
            fn dispatch(&mut self, call: Call, x: &[u64; 6]) -> Result<Results, Error> {
                match call {
                    $(Call::$name => {
                        let mut _n = 0;
                        $(let $arg = x[_n]; _n += 1;)*
                        self.$method($($arg),*)
                    })*
                }
            }
        }

        /// EL1's side: makes the call. An implementation supplies the conduit.
        pub trait Caller {
            /// Executes `hvc #0` with x0 = `id`, x1 to x6 = `args`; answers x0 and x1 to x6.
            fn hvc(&self, id: u64, args: [u64; 6]) -> (u64, Results);

            $($(#[$doc])*
            fn $method(&self $(, $arg: u64)*) -> Result<Results, Error> {
                let mut _args = [0u64; 6];
                let mut _n = 0;
                $(_args[_n] = $arg; _n += 1;)*
                let (x0, res) = self.hvc(Call::$name.id(), _args);
                match Error::from_raw(x0) {
                    None => Ok(res),
                    Some(e) => Err(e),
                }
            })*
        }
    };
}

calls! {
    /// Identifies EL2: the contract's hash and the phase (0 setup, 1 run).
    Any 0 Version as version() -> (hash, phase);
    /// Builds the page metadata and the host's stage 2 from the boot parameters, once all CPUs
    /// that are online have entered. The host keeps running without stage 2 until `enable_cpu`.
    Setup 1 Prepare as prepare() -> ();
    /// Puts the calling CPU's host under stage 2, with its SMCs trapped.
    Setup 2 EnableCpu as enable_cpu() -> ();
    /// Ends the trust in the host: refused unless each CPU that entered is enabled. From here on
    /// setup calls are answered [`Error::NoCall`].
    Setup 3 Finalise as finalise() -> ();
    /// Undoes an entry that cannot be completed: the calling CPU goes back to the stub's vectors.
    /// After finalise only with [`BOOT_ALLOW_RELEASE`](super::BOOT_ALLOW_RELEASE), when EL2 holds
    /// nothing of anybody's but its own.
    Any 4 Release as release() -> ();
    /// Reads a counter: [`Stat`](super::Stat) by number, of one CPU by index, or the sum with
    /// `cpu` = 2^64 - 1. A counter that is not per CPU has the same value for each.
    Run 5 Stat as stat(stat, cpu) -> (value);
    /// Reads the calling CPU's EL2 register by its index in EL2's list of kept registers, and behind
    /// it of those that EL2 itself runs by, as it is now: its encoding (op0, op1, CRn, CRm, op2 as in
    /// an MRS instruction, bits 19:5) and value. [`Error::NoEntry`] past the end;
    /// [`Error::NotSupported`] where this CPU lacks it.
    Run 6 ReadReg as read_reg(index) -> (encoding, value);
    /// Donates `nr` contiguous pages of the host to EL2's pool of table pages.
    Run 7 PoolDonate as pool_donate(pfn, nr) -> (pool_pages);
    /// Takes one free page back from the pool, scrubbed, if more than the reserve are free.
    /// [`Error::NoEntry`] if the host has donated none that is still here; [`Error::NoMemory`] if no
    /// more than the reserve is free; [`Error::Busy`] while what it donated is in use as tables.
    Run 8 PoolReclaim as pool_reclaim() -> (pfn, pool_pages);
    /// Shares a page of the host with EL2, which may read and write it from then on.
    Run 9 Share as share(pfn) -> ();
    /// Ends a share; [`Error::Busy`] while EL2 uses the page.
    Run 10 Unshare as unshare(pfn) -> ();
    /// Tells who owns a page and how it is shared: for tests, and for the host before it unpins a page
    /// that a guest gave up.
    Run 11 PageState as page_state(pfn) -> (owner, state);
    /// Breaks EL2 on purpose, to show the report: 0 a data abort, 1 a panic, 2 a stack overflow,
    /// 3 a write to EL2's text. Answered only by an image built with the `crash_test` option.
    Any 12 Crash as crash(kind) -> ();
    /// Creates a VM: [`VM_PROTECTED`](super::VM_PROTECTED), and bits of its physical address.
    /// [`Error::NoMemory`] asks for pages for the pool, as 16 contiguous ones, aligned to their size:
    /// the guest's root table may be that long.
    Run 13 VmCreate as vm_create(flags, ipa_bits) -> (vm);
    /// Takes a VM apart, step by step: it has no vCPU that runs, and answers to no other call from
    /// the first step on. Its pages come back to the host, scrubbed. Call again while `more` is 1.
    Run 14 VmDestroy as vm_destroy(vm) -> (more);
    /// Adds the vCPU `vcpu` to a VM: indexes are given in any order, each once.
    Run 15 VcpuCreate as vcpu_create(vm, vcpu) -> ();
    /// Gives a vCPU that does not run the state of a reset:
    /// [`VCPU_POWER_OFF`](super::VCPU_POWER_OFF). [`Error::Perm`] for a protected VM's that has run.
    Run 16 VcpuInit as vcpu_init(vm, vcpu, flags) -> ();
    /// Runs a vCPU on the calling CPU until something is for the host to do: see
    /// [`Exit`](super::Exit) and [`RUN_ACCESS_DONE`](super::RUN_ACCESS_DONE). [`Error::Busy`] if it
    /// runs elsewhere.
    Run 17 VcpuRun as vcpu_run(vm, vcpu, flags, value) -> (exit, a, b, c, d, wake);
    /// Reads a register: see [`reg`](super::reg). [`Error::Perm`] for a protected VM that has run;
    /// [`Error::NoEntry`] if there is no such register.
    Run 18 VcpuGetReg as vcpu_get_reg(vm, vcpu, reg) -> (value);
    /// Writes a register; errors as [`VcpuGetReg`](Call::VcpuGetReg), and [`Error::Invalid`] for a
    /// value that it cannot take.
    Run 19 VcpuSetReg as vcpu_set_reg(vm, vcpu, reg, value) -> ();
    /// Gives a guest `nr` contiguous pages of the host's: to a protected one for good (the content
    /// stays), to another one as a share. [`MAP_WRITE`](super::MAP_WRITE) and
    /// [`MAP_EXEC`](super::MAP_EXEC); a protected one has all rights to its own memory.
    /// [`Error::NoMemory`] asks for pages for the pool; [`Error::Exists`] if part of it is mapped,
    /// unless it is these pages as a share with other rights, which then change; [`Error::Perm`] if a
    /// page is not the host's to give; [`Error::Busy`] if a page is mapped 65,535 times (a zero page:
    /// have one of its own in its place).
    Run 20 GuestMap as guest_map(vm, gfn, pfn, nr, rights) -> ();
    /// Ends the share of the `nr` guest pages from `gfn` on, as far as they are mapped, and answers how
    /// many were. One call does a bounded part: go on from `next` until it is the range's end. It takes
    /// no memory; a block may go wholly, if no table is spare to split it. [`Error::Perm`] for a
    /// protected VM.
    Run 21 GuestUnmap as guest_unmap(vm, gfn, nr) -> (unmapped, next);
    /// Sets an attribute of the VM's GIC: see [`vgic`](super::vgic).
    Run 22 VgicSet as vgic_set(vm, attr, index, value) -> ();
    /// Reads an attribute of the VM's GIC.
    Run 23 VgicGet as vgic_get(vm, attr, index) -> (value);
    /// Sets the line of an interrupt: an SPI, or with `vcpu` its PPI. `level` is 0, 1 or
    /// [`LINE_PULSE`](super::LINE_PULSE). Answers the vCPUs to wake. From any context of the host's.
    Run 24 IrqLine as irq_line(vm, vcpu, irq, level) -> (wake);
    /// Marks an SPI (`wanted` 1) so that its line goes low when the guest deactivates it with its line
    /// high, if it is level-sensitive, and the host is told: [`WAKE_ENDED`](super::WAKE_ENDED). Or ends
    /// that (`wanted` 0), with all that was still to be told of it.
    Run 25 IrqResample as irq_resample(vm, irq, wanted) -> ();
    /// Tells of up to 32 marked SPIs which have ended since the host was last told: a bit of `ended` for
    /// each, from `first` on. Call again until `ended` is 0.
    Run 26 IrqEnded as irq_ended(vm) -> (first, ended);
    /// Gives a VM's guest more of what it may ask the host for:
    /// [`VM_SYSTEM_SUSPEND`](super::VM_SYSTEM_SUSPEND).
    Run 27 VmEnable as vm_enable(vm, features) -> ();
}
