// SPDX-License-Identifier: GPL-2.0
//! What CPU a guest sees: its ID registers.
//!
//! Two steps. [`SystemIds`] folds the registers of all CPUs, each field to the value that is safe
//! wherever a vCPU runs, as Linux's cpufeature.c does. [`GuestIds`] is what is left of it for
//! guests: a field that has no row in [`FIELDS`] reads 0, and a row says what becomes of the others.
//! A guest that uses what it is not told of gets an Undefined Instruction exception where the
//! architecture has a trap for it ([`traps`](super::traps)). `Documentation/guest-cpu.rst` has the
//! table; a test keeps the two equal.
//!
//! No lock: [`SystemIds`] is under the lock of whoever collects it, [`GuestIds`] is only read.

mod cache;
mod fields;
#[cfg(test)]
mod text;

pub use fields::{Field, Fold, Policy, FIELDS};

use crate::cpu::bits;
use crate::trap::Encoding;

/// Calls `$callback!` with the list of registers that every CPU is asked for, because guests see part
/// of them, each
/// `Variant NAME (op0 op1 CRn CRm op2);`. All can be read on any CPU: those of the ID space that a
/// core does not have read as zero (Arm ARM D24.2, "ID registers").
#[macro_export]
macro_rules! for_each_folded_register {
    ($callback:ident) => {
        $callback! {
            Midr MIDR_EL1 (3 0 0 0 0);
            Revidr REVIDR_EL1 (3 0 0 0 6);
            Aidr AIDR_EL1 (3 1 0 0 7);
            Ctr CTR_EL0 (3 3 0 0 1);
            Pfr0 ID_AA64PFR0_EL1 (3 0 0 4 0);
            Pfr1 ID_AA64PFR1_EL1 (3 0 0 4 1);
            Dfr0 ID_AA64DFR0_EL1 (3 0 0 5 0);
            Isar0 ID_AA64ISAR0_EL1 (3 0 0 6 0);
            Isar1 ID_AA64ISAR1_EL1 (3 0 0 6 1);
            Isar2 ID_AA64ISAR2_EL1 (3 0 0 6 2);
            Isar3 ID_AA64ISAR3_EL1 (3 0 0 6 3);
            Mmfr0 ID_AA64MMFR0_EL1 (3 0 0 7 0);
            Mmfr1 ID_AA64MMFR1_EL1 (3 0 0 7 1);
            Mmfr2 ID_AA64MMFR2_EL1 (3 0 0 7 2);
        }
    };
}

macro_rules! define_folded {
    ($($variant:ident $name:ident ($op0:literal $op1:literal $crn:literal $crm:literal $op2:literal);)*) => {
        /// A register that every CPU is asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Folded { $(#[doc = concat!("`", stringify!($name), "`.")] $variant),* }

        impl Folded {
            /// All.
            pub const ALL: &'static [Folded] = &[$(Folded::$variant),*];

            /// The name in the Arm ARM.
            pub const fn name(self) -> &'static str {
                match self { $(Folded::$variant => stringify!($name)),* }
            }

            /// The encoding in an MRS instruction.
            pub const fn encoding(self) -> Encoding {
                match self { $(Folded::$variant => Encoding::new($op0, $op1, $crn, $crm, $op2)),* }
            }
        }
    };
}

for_each_folded_register!(define_folded);

/// How many there are.
pub const COUNT: usize = Folded::ALL.len();

/// The registers of one CPU, or of all of them.
type Values = [u64; COUNT];

/// The feature registers of all CPUs that EL2 has seen, folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemIds {
    /// `None` before the first CPU.
    values: Option<Values>,
}

impl SystemIds {
    /// No CPU yet.
    pub const fn new() -> SystemIds {
        SystemIds { values: None }
    }

    /// Takes a CPU in, read by `read`. `false` if the CPU lacks something that all former ones
    /// have: then a [`GuestIds`] made before promises what this CPU does not keep, and the guests
    /// that saw it must not run here.
    #[must_use]
    pub fn fold(&mut self, read: impl Fn(Folded) -> u64) -> bool {
        let mut new = [0; COUNT];
        for (slot, register) in new.iter_mut().zip(Folded::ALL) {
            *slot = read(*register);
        }
        let Some(old) = self.values else {
            self.values = Some(new);
            return true;
        };
        let mut merged = old;
        for field in FIELDS {
            let (before, now) = (field.get(&old), field.get(&new));
            field.put(&mut merged, field.fold.merge(before, now, field.width));
        }
        self.values = Some(merged);
        merged == old
    }

    /// CTR_EL0 as maintenance of caches by address on any CPU has to go by it: the smallest lines of all
    /// CPUs, for an operation reaches one line of each cache, whatever its size. `None` before the
    /// first CPU.
    pub fn ctr(&self) -> Option<u64> {
        self.values.map(|values| get(&values, Folded::Ctr))
    }
}

/// What guests see. Made once, when all CPUs were folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestIds {
    values: Values,
    /// The registers of op0 3, op1 0, CRn 0, by CRm and Op2: so reading one takes no search. What
    /// guests are not shown is 0.
    features: [[u64; 8]; 8],
}

impl GuestIds {
    /// The view that all CPUs of `system` can keep; `None` if no CPU was folded.
    ///
    /// MIDR_EL1, REVIDR_EL1 and AIDR_EL1 are those of the first CPU wherever a vCPU runs, as a
    /// revision only means something with its MIDR (so does KVM).
    pub fn new(system: &SystemIds) -> Option<GuestIds> {
        let system = system.values?;
        let mut values = [0; COUNT];
        for register in [Folded::Midr, Folded::Revidr, Folded::Aidr] {
            put(&mut values, register, get(&system, register));
        }
        for field in FIELDS {
            let value = field.policy.apply(field.get(&system));
            field.put(&mut values, value);
        }
        let mut ids = GuestIds {
            values,
            features: [[0; 8]; 8],
        };
        if !ids.has_pauth() {
            // HCR_EL2.API traps address and generic authentication alike.
            for field in FIELDS.iter().filter(|f| f.policy == Policy::WithPauth) {
                field.put(&mut ids.values, 0);
            }
        }
        for register in Folded::ALL {
            let e = register.encoding();
            let row = ids.features.get_mut(usize::from(e.crm));
            if let (3, 0, 0, Some(row)) = (e.op0, e.op1, e.crn, row) {
                row[usize::from(e.op2)] = get(&ids.values, *register);
            }
        }
        Some(ids)
    }

    /// Whether guests have pointer authentication: one algorithm, the same on all CPUs.
    pub fn has_pauth(&self) -> bool {
        let isar1 = get(&self.values, Folded::Isar1);
        let isar2 = get(&self.values, Folded::Isar2);
        // APA, API and APA3.
        bits(isar1, 4, 8) != 0 || bits(isar2, 12, 4) != 0
    }

    /// For VPIDR_EL2.
    pub fn midr(&self) -> u64 {
        get(&self.values, Folded::Midr)
    }

    /// CTR_EL0.
    pub fn ctr(&self) -> u64 {
        get(&self.values, Folded::Ctr)
    }

    /// Reads a register of the ID space: op0 3, op1 0, CRn 0, CRm 1 to 7, all of which a guest may
    /// read, and what is trapped beside them. `None` if it is none of these, or one that belongs to
    /// a feature that no guest has (CCSIDR2_EL1, GMID_EL1, SMIDR_EL1).
    ///
    /// `has_gic` says that the VM has a GIC; `csselr` is CSSELR_EL1 for CCSIDR_EL1.
    pub fn read(&self, register: Encoding, has_gic: bool, csselr: u64) -> Option<u64> {
        let value = |folded| Some(get(&self.values, folded));
        match (
            register.op0,
            register.op1,
            register.crn,
            register.crm,
            register.op2,
        ) {
            (3, 0, 0, crm @ 1..=7, op2) => self.feature(crm.into(), op2.into(), has_gic),
            (3, 0, 0, 0, 6) => value(Folded::Revidr),
            (3, 1, 0, 0, 7) => value(Folded::Aidr),
            (3, 3, 0, 0, 1) => value(Folded::Ctr),
            (3, 1, 0, 0, 0) => Some(cache::ccsidr(self.ctr(), csselr)),
            (3, 1, 0, 0, 1) => Some(cache::clidr(self.ctr())),
            _ => None,
        }
    }

    /// Reads a register of op0 3, op1 0, CRn 0 by its CRm, 1 to 7, and Op2; `None` for others. Those
    /// of AArch32, and all that are not allocated, read as zero.
    #[inline(always)]
    pub fn feature(&self, crm: usize, op2: usize, has_gic: bool) -> Option<u64> {
        /// CRm of ID_AA64PFR0_EL1, whose Op2 is 0, and its field GIC.
        const PFR0: usize = 4;
        const PFR0_GIC: u64 = 0xf << 24;
        if crm == 0 {
            return None;
        }
        let value = *self.features.get(crm)?.get(op2)?;
        if crm == PFR0 && op2 == 0 && !has_gic {
            return Some(value & !PFR0_GIC);
        }
        Some(value)
    }
}

fn get(values: &Values, register: Folded) -> u64 {
    values.get(register as usize).copied().unwrap_or(0)
}

fn put(values: &mut Values, register: Folded, value: u64) {
    if let Some(slot) = values.get_mut(register as usize) {
        *slot = value;
    }
}

impl Field {
    fn mask(&self) -> u64 {
        ((1 << self.width) - 1) << self.shift
    }

    fn get(&self, values: &Values) -> u64 {
        (get(values, self.register) & self.mask()) >> self.shift
    }

    fn put(&self, values: &mut Values, value: u64) {
        let others = get(values, self.register) & !self.mask();
        put(
            values,
            self.register,
            others | (value << self.shift) & self.mask(),
        );
    }
}

#[cfg(test)]
mod tests;
