// SPDX-License-Identifier: GPL-2.0
//! Saves a GIC as user space does and restores it into another one: the guest must not see a
//! difference.

use mvirt_abi::vgic;
use mvirt_hyp::vgic::{Access, Vgic};

use crate::naive::NR_IRQS;
use crate::rig::{ready, Rig, DIST, REDIST, SGI_BASE};

/// The registers of interrupts, by offset and by bits an interrupt, in the order of a restore: what
/// makes something pending comes last. Not those that only clear.
const REGISTERS: [(u64, u32); 6] = [
    (0x80, 1),
    (0x100, 1),
    (0xc00, 2),
    (0x400, 8),
    (0x300, 1),
    (0x200, 1),
];

/// Each attribute that is saved, with its index.
fn attributes(vcpus: u64) -> Vec<(u64, u64)> {
    let mut all = vec![(vgic::DIST_REG, 8)];
    for (offset, bits) in REGISTERS {
        let word = |n: u32| offset + u64::from(n) * 4;
        let first = bits;
        let end = NR_IRQS / 32 * bits;
        all.extend((first..end).map(|n| (vgic::DIST_REG, word(n))));
        for vcpu in 0..vcpus {
            let at = |n: u32| vcpu << 32 | (SGI_BASE + word(n));
            all.extend((0..first).map(|n| (vgic::REDIST_REG, at(n))));
        }
    }
    all.extend((32..NR_IRQS).map(|n| (vgic::DIST_REG, 0x6000 + u64::from(n) * 8)));
    for vcpu in 0..vcpus {
        all.extend(
            (0..NR_IRQS)
                .step_by(32)
                .map(|n| (vgic::LEVELS, vcpu << 32 | u64::from(n))),
        );
    }
    all.push((vgic::DIST_REG, 0));
    all
}

/// What the guest reads of all frames, word by word.
fn seen(vgic: &mut Vgic<'_>, vcpus: u64) -> Vec<u64> {
    let frames = std::iter::once(DIST).chain((0..2 * vcpus).map(|n| REDIST + n * 0x1_0000));
    let words = frames.flat_map(|frame| (0..0x1_0000).step_by(4).map(move |at| frame + at));
    let mut read = |ipa| vgic.mmio(ipa, Access::Read { size: 4 }).unwrap().value;
    words.map(&mut read).collect()
}

/// Saves and restores; all vCPUs are outside.
pub fn check(rig: &mut Rig<'static>) {
    let vcpus = rig.cpus.len();
    for cpu in 0..vcpus {
        rig.leave(cpu);
    }
    let mut copy = ready(vcpus, NR_IRQS);
    for (attr, index) in attributes(vcpus as u64) {
        let value = rig.vgic.get(attr, index).unwrap();
        if attr == vgic::REDIST_REG && index & 0xfff == 0x100 {
            // SGIs are enabled from reset: the enables are cleared first, as user space does.
            copy.set(attr, index + 0x80, u64::MAX, 40).unwrap();
        }
        copy.set(attr, index, value, 40).unwrap();
    }
    assert_eq!(
        seen(&mut copy, vcpus as u64),
        seen(&mut rig.vgic, vcpus as u64)
    );
    for cpu in 0..vcpus {
        let pending = copy.is_pending(cpu, &rig.ifaces[cpu]);
        assert_eq!(pending, rig.naive.would_wake(cpu), "vCPU {cpu}");
    }
}
