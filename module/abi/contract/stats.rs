// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The counters that EL2 keeps, and their order in [`Call::Stat`](super::Call::Stat).

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// A counter of EL2.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Stat { $($(#[$doc])* $name = $n),* }

        impl Stat {
            /// All, in the order of their numbers.
            pub const ALL: &'static [Stat] = &[$(Stat::$name),*];
            /// The name that people and programs read.
            pub const fn name(self) -> &'static str {
                match self { $(Stat::$name => $text),* }
            }
        }
    };
}

stats! {
    /// CPUs that run under EL2 now.
    CpusActive = 0, "cpus_active";
    /// Bytes of the image with its data.
    ImageBytes = 1, "image_bytes";
    /// Bytes of EL2 stacks.
    StackBytes = 2, "stack_bytes";
    /// Bytes of metadata about pages.
    MetaBytes = 3, "meta_bytes";
    /// Bytes of EL2's own stage-1 tables.
    El2TableBytes = 4, "el2_table_bytes";
    /// Bytes of the host's stage-2 tables.
    HostTableBytes = 5, "host_table_bytes";
    /// Bytes in the pool, not in use.
    PoolBytes = 6, "pool_bytes";
    /// Bytes shared by the host with EL2.
    SharedBytes = 7, "shared_bytes";
    /// Traps: hypercalls of mvirt.
    TrapHypercall = 8, "trap_hypercall";
    /// Traps: other HVCs (stub calls).
    TrapStub = 9, "trap_stub";
    /// Traps: SMCs answered by EL2 or relayed as PSCI.
    TrapPsci = 10, "trap_psci";
    /// Traps: SMCs forwarded to the firmware.
    TrapSmc = 11, "trap_smc";
    /// Traps: stage-2 faults that were mended.
    TrapFaultMapped = 12, "trap_fault_mapped";
    /// Traps: stage-2 faults on memory that is not the host's, which got an exception.
    TrapFaultDenied = 13, "trap_fault_denied";
    /// Traps: system registers.
    TrapSysreg = 14, "trap_sysreg";
    /// Traps of any other class.
    TrapOther = 15, "trap_other";
    /// Bytes of the guests' stage-2 tables.
    GuestTableBytes = 16, "guest_table_bytes";
    /// Bytes of the state of VMs and vCPUs.
    VmBytes = 17, "vm_bytes";
    /// Bytes that protected VMs own.
    GuestBytes = 18, "guest_bytes";
    /// Traps: stage-2 faults of the host's kernel on memory that is not the host's: a decoy was mapped.
    TrapFaultDecoy = 19, "trap_fault_decoy";
    /// Bytes of decoys, and of pages kept for the tables that lead to them.
    DecoyBytes = 20, "decoy_bytes";
    /// Nanoseconds of the longest call that took something back: vm_destroy, guest_unmap,
    /// pool_reclaim, with its wait for locks.
    TeardownNs = 21, "teardown_ns";
}
