// SPDX-License-Identifier: GPL-2.0
//! The functions of PSCI 1.3, and what they answer.
//!
//! Numbers and forms: Arm DEN0022F.b, "Power State Coordination Interface", table 5 and chapter 5.
//! The CLEAN_INV_MEMREGION functions of its alpha versions were withdrawn, and their numbers are
//! not functions here.

/// Function identifiers: SMC32 fast calls of the standard service, numbers 0 to 31.
const SMC32: u32 = 0x8400_0000;
/// Set in the identifier of an SMC64 call.
const SMC64: u32 = 1 << 30;
/// The last number that SMCCC reserves for PSCI.
const LAST: u32 = 0x1f;

macro_rules! functions {
    ($($(#[$doc:meta])* $number:literal $name:ident $text:literal $form:ident;)*) => {
        /// A function of PSCI 1.3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Function { $($(#[$doc])* $name = $number),* }

        impl Function {
            /// All, by number.
            pub const ALL: &'static [Function] = &[$(Function::$name),*];

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(Function::$name => $text),* }
            }

            /// Whether there is an SMC64 form beside the SMC32 form.
            pub const fn has_smc64(self) -> bool {
                match self { $(Function::$name => Form::$form.has_smc64()),* }
            }

            const fn from_number(number: u32) -> Option<Function> {
                match number {
                    $($number => Some(Function::$name),)*
                    _ => None,
                }
            }
        }
    };
}

enum Form {
    /// SMC32 only.
    Word,
    /// SMC32 and SMC64.
    Both,
}

impl Form {
    const fn has_smc64(self) -> bool {
        matches!(self, Form::Both)
    }
}

functions! {
    /// The version of PSCI.
    0 Version "PSCI_VERSION" Word;
    /// Suspends the calling core or a node above it.
    1 CpuSuspend "CPU_SUSPEND" Both;
    /// Powers the calling core down.
    2 CpuOff "CPU_OFF" Word;
    /// Powers a core up.
    3 CpuOn "CPU_ON" Both;
    /// Whether a core is on.
    4 AffinityInfo "AFFINITY_INFO" Both;
    /// Moves a uniprocessor Trusted OS.
    5 Migrate "MIGRATE" Both;
    /// Whether the Trusted OS can be moved.
    6 MigrateInfoType "MIGRATE_INFO_TYPE" Word;
    /// Where the Trusted OS is.
    7 MigrateInfoUpCpu "MIGRATE_INFO_UP_CPU" Both;
    /// Shuts the system down.
    8 SystemOff "SYSTEM_OFF" Word;
    /// Resets the system.
    9 SystemReset "SYSTEM_RESET" Word;
    /// What a function supports.
    10 Features "PSCI_FEATURES" Word;
    /// Puts the calling core into a low-power state that only CPU_ON ends.
    11 CpuFreeze "CPU_FREEZE" Word;
    /// Suspends the calling core in a default state.
    12 CpuDefaultSuspend "CPU_DEFAULT_SUSPEND" Both;
    /// The hardware's view of a node.
    13 NodeHwState "NODE_HW_STATE" Both;
    /// Suspends the system to RAM.
    14 SystemSuspend "SYSTEM_SUSPEND" Both;
    /// Chooses who coordinates idle states.
    15 SetSuspendMode "PSCI_SET_SUSPEND_MODE" Word;
    /// Time in an idle state.
    16 StatResidency "PSCI_STAT_RESIDENCY" Both;
    /// Entries into an idle state.
    17 StatCount "PSCI_STAT_COUNT" Both;
    /// Resets the system in a named way.
    18 SystemReset2 "SYSTEM_RESET2" Both;
    /// Has memory overwritten at the next reset.
    19 MemProtect "MEM_PROTECT" Word;
    /// Whether a range is covered by MEM_PROTECT.
    20 MemProtectCheckRange "MEM_PROTECT_CHECK_RANGE" Both;
    /// Shuts the system down for hibernation.
    21 SystemOff2 "SYSTEM_OFF2" Both;
}

impl Function {
    /// The function identifier, in its SMC64 form where there is one.
    pub const fn id(self) -> u32 {
        if self.has_smc64() {
            SMC32 | SMC64 | self as u32
        } else {
            self.id32()
        }
    }

    /// The function identifier of the SMC32 form.
    pub const fn id32(self) -> u32 {
        SMC32 | self as u32
    }
}

/// A function identifier in PSCI's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// A function, in its SMC64 form or its SMC32 form.
    Known {
        /// Which function.
        function: Function,
        /// SMC64: arguments have 64 bits.
        smc64: bool,
    },
    /// A number that PSCI 1.3 does not define, or a form that the function does not have.
    Unknown,
}

impl Identifier {
    /// Reads a function identifier; `None` if it is outside PSCI's range.
    pub const fn decode(id: u32) -> Option<Identifier> {
        let smc64 = id & SMC64 != 0;
        let number = (id & !SMC64) ^ SMC32;
        if number > LAST {
            return None;
        }
        Some(match Function::from_number(number) {
            Some(function) if !smc64 || function.has_smc64() => {
                Identifier::Known { function, smc64 }
            }
            _ => Identifier::Unknown,
        })
    }
}

/// What PSCI functions return (DEN0022F.b, 5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ReturnCode {
    /// Done.
    Success = 0,
    /// There is no such function.
    NotSupported = -1,
    /// An argument names nothing.
    InvalidParameters = -2,
    /// Not now, or not by this caller.
    Denied = -3,
    /// The core is on.
    AlreadyOn = -4,
    /// The core is on its way up.
    OnPending = -5,
    /// The firmware, or the relay, is broken.
    InternalFailure = -6,
    /// There is no Trusted OS that can migrate.
    NotPresent = -7,
    /// The core is disabled.
    Disabled = -8,
    /// The entry point cannot be used.
    InvalidAddress = -9,
}

impl ReturnCode {
    /// As x0 carries it: sign-extended, right for SMC32 and SMC64 callers.
    pub const fn to_x0(self) -> u64 {
        self as i32 as i64 as u64
    }
}

/// Whether x0 says SUCCESS. The code has 32 bits; firmware may leave the upper half of x0 clear.
pub const fn succeeded(x0: u64) -> bool {
    x0 & 0xffff_ffff == 0
}
