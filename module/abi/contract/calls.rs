// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The hypercalls: one list, from which everything else is generated.
//!
//! A hypercall is `hvc #0` with x0 = [`Call::id`], arguments in x1 to x6. It answers in x0: 0 or a
//! negative [`Error`], results in x1 to x3; x4 to x17 come back as they were. The
//! numbers are SMCCC fast calls (64 bit) of the vendor-specific hypervisor service, far above the
//! numbers of the kernel's hyp stub and apart from KVM's.

use super::Error;

/// Where our function numbers start.
pub const CALL_BASE: u64 = 0xc600_a000;

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
            $($(#[$doc])* fn $method(&mut self $(, $arg: u64)*) -> Result<[u64; 3], Error>;)*

            /// Calls the method of `call` with its arguments.
            fn dispatch(&mut self, call: Call, x: &[u64; 6]) -> Result<[u64; 3], Error> {
                match call {
                    $(Call::$name => {
                        let mut _args = x.iter().copied();
                        $(let $arg = _args.next().unwrap_or(0);)*
                        self.$method($($arg),*)
                    })*
                }
            }
        }

        /// EL1's side: makes the call. An implementation supplies the conduit.
        pub trait Caller {
            /// Executes `hvc #0` with x0 = `id`, x1 to x6 = `args`; answers x0 and x1 to x3.
            fn hvc(&self, id: u64, args: [u64; 6]) -> (u64, [u64; 3]);

            $($(#[$doc])*
            fn $method(&self $(, $arg: u64)*) -> Result<[u64; 3], Error> {
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
    /// Tells who owns a page and how it is shared: for tests and for `mvirt doctor`.
    Run 11 PageState as page_state(pfn) -> (owner, state);
    /// Breaks EL2 on purpose, to show the report: 0 a data abort, 1 a panic, 2 a stack overflow,
    /// 3 a write to EL2's text. Answered only by an image built with the `crash_test` option.
    Run 12 Crash as crash(kind) -> ();
}
