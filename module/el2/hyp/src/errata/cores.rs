// SPDX-License-Identifier: GPL-2.0
//! The cores that the table of errata knows, and what each needs against branch prediction.
//!
//! Part numbers: arch/arm64/include/asm/cputype.h. Spectre-v2 and Spectre-BHB lists:
//! arch/arm64/kernel/proton-pack.c. Both of Linux 7.3.4.

use crate::cpu::Midr;

/// Spectre-v2: whether lower Exception levels can train EL2's branch prediction by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpectreV2 {
    /// The core does not predict in a way that can be trained.
    Safe,
    /// ID_AA64PFR0_EL1.CSV2 says; if it is 0, firmware must help.
    IdRegister,
}

/// Spectre-BHB: whether lower Exception levels can steer EL2's predictions by branch history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpectreBhb {
    /// The core is not affected.
    Safe,
    /// So many taken branches displace the history, unless the ID registers promise better.
    Loop(u8),
    /// Only the ID registers say.
    IdRegister,
}

macro_rules! cores {
    ($($variant:ident $name:literal $implementer:literal $part:literal $v2:expr, $bhb:expr;)*) => {
        /// A core that is known by its MIDR_EL1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Core { $(#[doc = $name] $variant),* }

        impl Core {
            /// All of them.
            pub const ALL: &'static [Core] = &[$(Core::$variant),*];

            /// The core that MIDR_EL1 names.
            pub const fn of(midr: Midr) -> Option<Core> {
                match (midr.implementer(), midr.part()) {
                    $(($implementer, $part) => Some(Core::$variant),)*
                    _ => None,
                }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Core::$variant => $name),* }
            }

            /// MIDR_EL1.Implementer and PartNum.
            pub const fn model(self) -> (u32, u32) {
                match self { $(Core::$variant => ($implementer, $part)),* }
            }

            /// What it needs against Spectre-v2.
            pub const fn spectre_v2(self) -> SpectreV2 {
                match self { $(Core::$variant => $v2),* }
            }

            /// What it needs against Spectre-BHB.
            pub const fn spectre_bhb(self) -> SpectreBhb {
                match self { $(Core::$variant => $bhb),* }
            }
        }
    };
}

cores! {
    CortexA35 "Cortex-A35" 0x41 0xd04 SpectreV2::Safe, SpectreBhb::Safe;
    CortexA53 "Cortex-A53" 0x41 0xd03 SpectreV2::Safe, SpectreBhb::Safe;
    CortexA55 "Cortex-A55" 0x41 0xd05 SpectreV2::Safe, SpectreBhb::Safe;
    CortexA57 "Cortex-A57" 0x41 0xd07 SpectreV2::IdRegister, SpectreBhb::Loop(8);
    CortexA72 "Cortex-A72" 0x41 0xd08 SpectreV2::IdRegister, SpectreBhb::Loop(8);
    CortexA76 "Cortex-A76" 0x41 0xd0b SpectreV2::IdRegister, SpectreBhb::Loop(24);
    CortexA76ae "Cortex-A76AE" 0x41 0xd0e SpectreV2::IdRegister, SpectreBhb::Loop(24);
    CortexA77 "Cortex-A77" 0x41 0xd0d SpectreV2::IdRegister, SpectreBhb::Loop(24);
    CortexA78 "Cortex-A78" 0x41 0xd41 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexA78ae "Cortex-A78AE" 0x41 0xd42 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexA78c "Cortex-A78C" 0x41 0xd4b SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexA510 "Cortex-A510" 0x41 0xd46 SpectreV2::IdRegister, SpectreBhb::Safe;
    CortexA520 "Cortex-A520" 0x41 0xd80 SpectreV2::IdRegister, SpectreBhb::Safe;
    CortexA710 "Cortex-A710" 0x41 0xd47 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexA715 "Cortex-A715" 0x41 0xd4d SpectreV2::IdRegister, SpectreBhb::Loop(38);
    CortexA720 "Cortex-A720" 0x41 0xd81 SpectreV2::IdRegister, SpectreBhb::Loop(38);
    CortexA725 "Cortex-A725" 0x41 0xd87 SpectreV2::IdRegister, SpectreBhb::IdRegister;
    CortexX1 "Cortex-X1" 0x41 0xd44 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexX1c "Cortex-X1C" 0x41 0xd4c SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexX2 "Cortex-X2" 0x41 0xd48 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    CortexX3 "Cortex-X3" 0x41 0xd4e SpectreV2::IdRegister, SpectreBhb::Loop(132);
    CortexX4 "Cortex-X4" 0x41 0xd82 SpectreV2::IdRegister, SpectreBhb::IdRegister;
    CortexX925 "Cortex-X925" 0x41 0xd85 SpectreV2::IdRegister, SpectreBhb::IdRegister;
    C1Pro "C1-Pro" 0x41 0xd8b SpectreV2::IdRegister, SpectreBhb::IdRegister;
    C1Premium "C1-Premium" 0x41 0xd90 SpectreV2::IdRegister, SpectreBhb::IdRegister;
    C1Ultra "C1-Ultra" 0x41 0xd8c SpectreV2::IdRegister, SpectreBhb::IdRegister;
    NeoverseN1 "Neoverse-N1" 0x41 0xd0c SpectreV2::IdRegister, SpectreBhb::Loop(24);
    NeoverseN2 "Neoverse-N2" 0x41 0xd49 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    NeoverseV1 "Neoverse-V1" 0x41 0xd40 SpectreV2::IdRegister, SpectreBhb::Loop(32);
    Kryo4xxGold "Kryo 4xx Gold" 0x51 0x804 SpectreV2::IdRegister, SpectreBhb::Loop(24);
    Kryo4xxSilver "Kryo 4xx Silver" 0x51 0x805 SpectreV2::Safe, SpectreBhb::Safe;
    A64fx "A64FX" 0x46 0x001 SpectreV2::IdRegister, SpectreBhb::IdRegister;
    QemuMax "QEMU max" 0x00 0x051 SpectreV2::IdRegister, SpectreBhb::IdRegister;
}
