// SPDX-License-Identifier: GPL-2.0
//! Taking the registers of a CPU, and giving them to one.
//!
//! A snapshot is checked against the CPU that it is for before the first write, and decides nothing
//! about what is in it but for EL2's own bits. It is written once, by its CPU at take-over.

use super::{host_hcr, Kept, Treatment, COUNT};
use crate::cpu::{IdRegs, Midr};

/// The kept registers of one CPU at take-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Bit n: `values[n]` was read.
    taken: u64,
    values: [u64; COUNT],
    midr: Midr,
}

/// One step of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the register.
    Write(Kept, u64),
    /// Execute an ISB.
    Isb,
}

/// What a replay needs to know of the CPU it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct This {
    /// Its identification registers.
    pub ids: IdRegs,
    /// MPIDR_EL1, all of it.
    pub mpidr: u64,
    /// The host's stage 2 is in the encoding of FEAT_S2FWB.
    pub fwb: bool,
    /// [`crate::psci::Arrival::watch_first_write`].
    pub watch: bool,
}

/// Why a snapshot does not fit a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(
    /// A register that this CPU has and that the snapshot's CPU did not have.
    pub Kept,
);

impl Snapshot {
    /// Takes the snapshot of the calling CPU, before EL2 changes anything.
    ///
    /// `read` is called once for each register that is there, in the order of [`Kept::ALL`].
    pub fn take(ids: &IdRegs, mut read: impl FnMut(Kept) -> u64) -> Snapshot {
        let mut snapshot = Snapshot {
            taken: 0,
            values: [0; COUNT],
            midr: ids.midr(),
        };
        // Their rows come before those that depend on them.
        let (mut hcr, mut cptr, mut sre) = (0, 0, 0);
        for (n, (&kept, value)) in Kept::ALL.iter().zip(&mut snapshot.values).enumerate() {
            if !kept.present(ids, hcr, cptr, sre) {
                continue;
            }
            *value = read(kept);
            snapshot.taken |= 1 << n;
            match kept {
                Kept::Hcr => hcr = *value,
                Kept::Cptr => cptr = *value,
                Kept::IccSre => sre = *value,
                _ => {}
            }
        }
        snapshot
    }

    /// The kind of CPU that it was taken on.
    pub const fn midr(&self) -> Midr {
        self.midr
    }

    /// The value found in a register, if the CPU had it.
    pub fn get(&self, kept: Kept) -> Option<u64> {
        let n = kept as usize;
        (self.taken & (1 << n) != 0)
            .then(|| self.values.get(n).copied())
            .flatten()
    }

    /// The writes that give `this` CPU the registers, in order, with an ISB at the end.
    ///
    /// It fails, before the first write, if the CPU has a register that is not in the snapshot:
    /// two CPUs of one MIDR that firmware or fuses made different.
    pub fn replay<'a>(
        &'a self,
        this: &'a This,
    ) -> Result<impl Iterator<Item = Step> + 'a, Missing> {
        if let Some(&kept) = self.wanted(this).find(|&&kept| self.get(kept).is_none()) {
            return Err(Missing(kept));
        }
        let steps = self.wanted(this).flat_map(move |&kept| {
            let write = self
                .get(kept)
                .map(|found| Step::Write(kept, value(kept, found, this)));
            [write, kept.needs_isb().then_some(Step::Isb)]
        });
        Ok(steps.flatten().chain([Step::Isb]))
    }

    fn wanted<'a>(&'a self, this: &'a This) -> impl Iterator<Item = &'static Kept> + 'a {
        let hcr = self.get(Kept::Hcr).unwrap_or(0);
        let cptr = self.get(Kept::Cptr).unwrap_or(0);
        let sre = self.get(Kept::IccSre).unwrap_or(0);
        Kept::ALL
            .iter()
            .filter(move |kept| kept.present(&this.ids, hcr, cptr, sre))
    }
}

fn value(kept: Kept, found: u64, this: &This) -> u64 {
    match kept.treatment() {
        Treatment::Found => found,
        Treatment::Host => host_hcr(found, this.fwb, this.watch),
        Treatment::NoEl2Recording => found & !0b11,
        Treatment::Zero => 0,
        Treatment::OwnMidr => u64::from(this.ids.midr().bits()),
        Treatment::OwnMpidr => this.mpidr,
    }
}

/// No CPU of this kind was online at take-over, so that nobody knows what the kernel wants its
/// registers to be. The CPU must not run the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSnapshot(
    /// The kind.
    pub Midr,
);

/// Whose snapshot to replay on the CPU of `slot`, whose MIDR_EL1 is `midr`: its own, else that of a
/// CPU of the same kind, revision included. The slot and the snapshot.
pub fn choose(
    slot: usize,
    midr: Midr,
    snapshots: &[Option<Snapshot>],
) -> Result<(usize, &Snapshot), NoSnapshot> {
    let at = |slot: usize| Some((slot, snapshots.get(slot)?.as_ref()?));
    let mut all = (0..snapshots.len()).filter_map(at);
    at(slot)
        .or_else(|| all.find(|(_, snapshot)| snapshot.midr == midr))
        .ok_or(NoSnapshot(midr))
}
