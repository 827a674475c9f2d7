// SPDX-License-Identifier: GPL-2.0
//! The virtual CPU interface of one CPU, by the pseudocode of IHI 0069: what the guest's accesses to
//! ICC registers do to the list registers, and when the maintenance interrupt is asserted.

use mvirt_hyp::vgic::CpuInterface;

const PENDING: u64 = 1 << 62;
const ACTIVE: u64 = 1 << 63;
const STATE: u64 = PENDING | ACTIVE;
const HW: u64 = 1 << 61;
const EOI: u64 = 1 << 41;

#[derive(Clone, Debug, Default)]
pub struct Interface {
    pub lr: Vec<u64>,
    pub hcr: u64,
    pub vmcr: u64,
    /// The priorities that are active: ICH_AP0R and AP1R as a list.
    pub running: Vec<u8>,
}

/// What the guest's deactivation of an interrupt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was in a list register.
    Listed,
    /// The physical interrupt with this INTID was deactivated too.
    Physical(u32),
    /// It was in none.
    Counted,
}

impl Interface {
    pub fn new(nr_lrs: usize) -> Interface {
        Interface {
            lr: vec![0; nr_lrs],
            ..Interface::default()
        }
    }

    pub fn load(&mut self, iface: &CpuInterface) {
        self.hcr = iface.hcr;
        self.vmcr = iface.vmcr;
        let nr = self.lr.len();
        self.lr.copy_from_slice(&iface.lr[..nr]);
        assert!(iface.lr[nr..].iter().all(|lr| *lr == 0));
        assert_ne!(self.hcr & 1, 0, "ICH_HCR_EL2.En");
    }

    pub fn save(&self, iface: &mut CpuInterface) {
        iface.hcr = self.hcr;
        iface.vmcr = self.vmcr;
        for (image, lr) in iface.lr.iter_mut().zip(&self.lr) {
            // What is not in use is not read back.
            if *image != 0 {
                *image = *lr;
            }
        }
    }

    fn group_enabled(&self, lr: u64) -> bool {
        self.vmcr >> (lr >> 60 & 1) & 1 == 1
    }

    fn running(&self) -> u8 {
        *self.running.iter().min().unwrap_or(&0xff)
    }

    /// The list register that would be acknowledged.
    fn best(&self) -> Option<usize> {
        let mask = (self.vmcr >> 24) as u8;
        (0..self.lr.len())
            .filter(|n| self.lr[*n] & STATE == PENDING && self.group_enabled(self.lr[*n]))
            .min_by_key(|n| priority(self.lr[*n]))
            .filter(|n| priority(self.lr[*n]) < mask)
            .filter(|n| priority(self.lr[*n]) < self.running())
    }

    pub fn best_priority(&self) -> Option<u8> {
        self.best().map(|n| priority(self.lr[n]))
    }

    pub fn acknowledge(&mut self) -> Option<u32> {
        let n = self.best()?;
        self.lr[n] = self.lr[n] & !PENDING | ACTIVE;
        self.running.push(priority(self.lr[n]));
        Some(self.lr[n] as u32 & 0x3ff)
    }

    pub fn drop_priority(&mut self) {
        let running = self.running();
        if let Some(at) = self.running.iter().position(|p| *p == running) {
            self.running.remove(at);
        }
    }

    /// The deactivation that is part of an EOI with EOImode 0.
    pub fn deactivate(&mut self, intid: u32) -> Ended {
        let found = self
            .lr
            .iter_mut()
            .find(|lr| **lr & ACTIVE != 0 && **lr as u32 & 0x3ff == intid);
        let Some(lr) = found else {
            let count = (self.hcr >> 27 & 0x1f) + 1;
            self.hcr = self.hcr & !(0x1f << 27) | (count & 0x1f) << 27;
            return Ended::Counted;
        };
        *lr &= !ACTIVE;
        if *lr & HW != 0 {
            return Ended::Physical((*lr >> 32) as u32 & 0x3ff);
        }
        Ended::Listed
    }

    /// ICH_MISR_EL2, as far as it is asserted.
    pub fn maintenance(&self) -> bool {
        let on = |bit: u32| self.hcr >> bit & 1 == 1;
        let group = |n: u32| self.vmcr >> n & 1 == 1;
        let ended = |lr: &u64| *lr & (STATE | HW | EOI) == EOI;
        let pending = self.lr.iter().any(|lr| lr & STATE == PENDING);
        let valid = self.lr.iter().filter(|lr| *lr & STATE != 0).count();
        self.lr.iter().any(ended)
            || on(1) && valid <= 1
            || on(2) && self.hcr >> 27 != 0
            || on(3) && !pending
            || on(4) && group(0)
            || on(5) && !group(0)
            || on(6) && group(1)
            || on(7) && !group(1)
    }

    /// ICH_ELRSR_EL2.
    pub fn empty(&self) -> u64 {
        let is_empty = |lr: &u64| *lr & STATE == 0 && (*lr & HW != 0 || *lr & EOI == 0);
        (0..)
            .zip(&self.lr)
            .map(|(n, lr)| u64::from(is_empty(lr)) << n)
            .sum()
    }

    /// The INTIDs in list registers with a state.
    pub fn listed(&self) -> impl Iterator<Item = u32> + '_ {
        let valid = self.lr.iter().filter(|lr| *lr & STATE != 0);
        valid.map(|lr| *lr as u32 & 0x3ff)
    }
}

fn priority(lr: u64) -> u8 {
    (lr >> 48) as u8
}
