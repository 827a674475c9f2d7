// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Virtual machines: limits, and what a run of a vCPU answers.
//!
//! A VM is named by a *handle*, which EL2 chooses: the slot's number in bits 7:0, and in the bits
//! above it the number of VMs that the slot has had, so that a stale handle finds nothing. A vCPU
//! is named by its VM's handle and its index.

/// The most VMs at a time. Each slot has a VMID of its own: its number plus 1 (0 is the host).
pub const MAX_VMS: usize = 32;
/// The most vCPUs of a VM.
pub const MAX_VCPUS: usize = 8;
/// The most interrupts of a VM's distributor, SGIs and PPIs included.
pub const MAX_IRQS: u32 = 1020;
/// The least and the most bits of a guest's physical address. The most is also bounded by the CPUs.
pub const MIN_IPA_BITS: u32 = 32;
/// See [`MIN_IPA_BITS`].
pub const MAX_IPA_BITS: u32 = 48;

/// [`Call::VmCreate`](super::Call::VmCreate): the VM is protected. The host has no access to its
/// memory and registers but to what the guest shares.
pub const VM_PROTECTED: u64 = 1 << 0;

/// [`Call::VmEnable`](super::Call::VmEnable): PSCI SYSTEM_SUSPEND is there.
pub const VM_SYSTEM_SUSPEND: u64 = 1 << 0;

/// [`Call::GuestMap`](super::Call::GuestMap): the guest may write.
pub const MAP_WRITE: u64 = 1 << 0;
/// [`Call::GuestMap`](super::Call::GuestMap): the guest may fetch instructions.
pub const MAP_EXEC: u64 = 1 << 1;

/// [`Call::VcpuInit`](super::Call::VcpuInit): the vCPU starts powered off (PSCI CPU_ON starts it).
pub const VCPU_POWER_OFF: u64 = 1 << 0;

/// [`Call::VcpuRun`](super::Call::VcpuRun): the access that the last [`Exit::Abort`] told of was
/// done by the host: go on after it. The value is what a read answers.
pub const RUN_ACCESS_DONE: u64 = 1 << 0;
/// [`Call::VcpuRun`](super::Call::VcpuRun): nobody answers at the address of the last
/// [`Exit::Abort`]: the guest takes a synchronous external abort.
pub const RUN_ACCESS_FAILED: u64 = 1 << 1;
/// [`Call::VcpuRun`](super::Call::VcpuRun), with one of the two above: the registers become those after
/// the access, and the guest is not entered. The exit is [`Exit::Interrupt`].
pub const RUN_ACCESS_ONLY: u64 = 1 << 2;

/// [`Call::IrqLine`](super::Call::IrqLine): up and down at once. An edge-triggered interrupt gets its
/// edge; to a level-sensitive one nothing happened, but that its line is low.
pub const LINE_PULSE: u64 = 2;
/// A bit of the vCPUs to wake, as any call answers them: marked interrupts ended, and
/// [`Call::IrqEnded`](super::Call::IrqEnded) tells which. A run of a vCPU in which one ended comes back
/// with it, whatever else ended the run.
pub const WAKE_ENDED: u64 = 1 << 63;

/// Bits of the second result of [`Exit::Abort`].
pub mod abort {
    /// The access was a write, and the third result is what was to be written.
    pub const WRITE: u64 = 1 << 0;
    /// An instruction fetch.
    pub const FETCH: u64 = 1 << 1;
    /// The instruction was decoded: the access can be done in the guest's place.
    pub const DECODED: u64 = 1 << 2;
    /// The guest's own walk of its tables met the address.
    pub const TABLE_WALK: u64 = 1 << 3;
    /// The page is mapped, but not with this right (else it is not mapped).
    pub const PERMISSION: u64 = 1 << 4;
    /// The access can only be MMIO: a protected guest registered the page as such.
    pub const GUARDED: u64 = 1 << 5;
    /// log2 of the bytes, if decoded: bits 9:8.
    pub const SIZE_SHIFT: u32 = 8;
}

macro_rules! exits {
    ($($(#[$doc:meta])* $name:ident = $n:literal;)*) => {
        /// Why a run of a vCPU ended: the first result. The last result is always the vCPUs of the
        /// VM, one bit each, for which something became pending and that have to be woken or made
        /// to come out, and [`WAKE_ENDED`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Exit { $($(#[$doc])* $name = $n),* }

        impl Exit {
            /// All, by number.
            pub const ALL: &'static [Exit] = &[$(Exit::$name),*];
            /// Reads the first result.
            pub fn from_raw(x1: u64) -> Option<Exit> {
                match x1 {
                    $($n => Some(Exit::$name),)*
                    _ => None,
                }
            }
        }
    };
}

exits! {
    /// The host has an interrupt to take, or another vCPU has to be woken. No result.
    Interrupt = 0;
    /// An access to an address that is not mapped for it: its IPA, [`abort`] bits, the value of a
    /// write. The instruction runs again, unless the next run says [`RUN_ACCESS_DONE`].
    Abort = 1;
    /// The guest waits for an interrupt (WFI, PSCI CPU_SUSPEND): the physical counter's value at
    /// which a timer of its own fires, or all ones.
    Wait = 2;
    /// The guest spins (WFE): let others run. No result.
    Yield = 3;
    /// The vCPU is powered off: by itself or because no CPU_ON has come. No result.
    Off = 4;
    /// The guest asks for the end of the VM or its suspension by PSCI: KVM_SYSTEM_EVENT_* and the
    /// event's flags. All vCPUs of the VM are off until VcpuInit, but for SUSPEND.
    SystemEvent = 5;
    /// A page of a protected guest's came back to the host, scrubbed: its IPA and its number.
    Relinquished = 6;
    /// The guest shares a page with the host, or ends that: its IPA and 1 or 0.
    Shared = 7;
    /// EL2 cannot go on with this vCPU: [`Failure`] and ESR_EL2's exception class.
    Failed = 8;
    /// A hypercall of the guest's takes a table, and the pool has none to spare: it wants pages, and the
    /// guest makes the call again. No result.
    Tables = 9;
}

/// Why [`Exit::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Failure {
    /// An exception class that no guest should be able to cause.
    UnexpectedTrap = 0,
    /// The guest's memory had an error (SError, synchronous external abort on a walk).
    MemoryError = 1,
    /// The guest is in a state that the architecture does not have (illegal PSTATE).
    IllegalState = 2,
}

/// A register of a vCPU, for [`Call::VcpuGetReg`](super::Call::VcpuGetReg) and its like.
pub mod reg {
    /// x0 to x30.
    pub const X: u64 = 0;
    /// SP_EL0.
    pub const SP_EL0: u64 = 31;
    /// PC.
    pub const PC: u64 = 32;
    /// PSTATE, in SPSR_EL2's format.
    pub const PSTATE: u64 = 33;
    /// SP_EL1.
    pub const SP_EL1: u64 = 34;
    /// ELR_EL1.
    pub const ELR_EL1: u64 = 35;
    /// SPSR_EL1.
    pub const SPSR_EL1: u64 = 36;
    /// SPSR_abt, SPSR_und, SPSR_irq, SPSR_fiq, of AArch32: 0.
    pub const SPSR_AA32: u64 = 37;
    /// V0 to V31: the lower half at an even number, the upper half after it.
    pub const V: u64 = 64;
    /// FPSR.
    pub const FPSR: u64 = 128;
    /// FPCR.
    pub const FPCR: u64 = 129;
    /// The power state: see [`super::power`].
    pub const POWER: u64 = 130;
    /// A System register by its encoding: op0, op1, CRn, CRm, op2 as KVM packs them (bits 15:0 of
    /// KVM_REG_ARM64_SYSREG).
    pub const SYSREG: u64 = 1 << 16;
    /// What the VM is offered as by firmware, by KVM's numbers: bits 15:0 of KVM_REG_ARM_FW_REG and, with
    /// [`FEATURES`] added, of KVM_REG_ARM_FW_FEAT_BMAP_REG. A value that differs cannot be set.
    pub const FIRMWARE: u64 = 1 << 17;
    /// See [`FIRMWARE`].
    pub const FEATURES: u64 = 1 << 8;
    /// CCSIDR_EL1 by the value of CSSELR_EL1, 0 to 13: 7 levels, each with two kinds of cache.
    pub const CCSIDR: u64 = 1 << 18;
    /// How many CCSIDR_EL1 there are.
    pub const NR_CCSIDR: u64 = 14;
}

/// Values of [`reg::POWER`].
pub mod power {
    /// It runs when it is run.
    pub const ON: u64 = 0;
    /// It waits for a CPU_ON.
    pub const OFF: u64 = 1;
    /// It waits for an interrupt in CPU_SUSPEND or SYSTEM_SUSPEND.
    pub const SUSPENDED: u64 = 2;
}

/// What [`Call::VgicSet`](super::Call::VgicSet) and [`Call::VgicGet`](super::Call::VgicGet) name.
/// They are only set before the first vCPU runs.
pub mod vgic {
    /// Interrupts of the distributor, 64 to 1024 in steps of 32.
    pub const NR_IRQS: u64 = 0;
    /// IPA of the distributor (64 KiB, aligned).
    pub const DIST: u64 = 1;
    /// IPA of the redistributors, in one region: 128 KiB for each vCPU, in the order of their making.
    pub const REDIST: u64 = 2;
    /// The VM has a GIC from here on; its tables are final.
    pub const INIT: u64 = 3;
    /// A register of the distributor, its offset in bits 31:0 of the index (to save and restore).
    pub const DIST_REG: u64 = 4;
    /// A register of a redistributor: the vCPU in bits 63:32 of the index, the offset in 31:0.
    pub const REDIST_REG: u64 = 5;
    /// A System register of the CPU interface: the vCPU in bits 63:32 of the index, the encoding as
    /// KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS has it in 15:0.
    pub const CPU_REG: u64 = 6;
    /// The levels of 32 lines: the vCPU in bits 63:32 of the index, the first INTID in 31:0.
    pub const LEVELS: u64 = 7;
    /// A region of redistributors, as KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION packs it: how many in bits
    /// 63:52, IPA in 51:16, index in 11:0. Not together with [`REDIST`]. Read by index.
    pub const REDIST_REGION: u64 = 8;
}
