// SPDX-License-Identifier: GPL-2.0
//! What the host's kernel meets where it has no right to look.

pub mod documented;
mod moves;
mod tables;

use mvirt_hyp::addr::{Granule, Ipa, Phys, K16, K4};
use mvirt_hyp::memory::{Accessor, Outcome};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

use crate::common::small;

pub const CPUS: usize = 4;

pub fn by_kernel(cpu: usize, access: Access) -> Accessor {
    Accessor {
        kernel: Some(cpu),
        fetch: access == Access::Fetch,
    }
}

/// The first of 600 pages of the host's that are not near anything: the 512 from it on are a
/// block's with 4 KiB pages.
pub fn far<G: Granule>(rig: &Rig<'_, G>) -> u64 {
    let ram = rig.memory.ram();
    let range = (0..ram.nr())
        .filter_map(|n| ram.range(n))
        .max_by_key(|range| range.len())
        .expect("there is RAM");
    (range.end - 600) & !511
}

/// The kernel on `cpu` reads or writes a page: where it ends up, and whether that took a fault.
pub fn kernel<G: Granule>(rig: &mut Rig<'_, G>, cpu: usize, pfn: u64) -> (Phys, bool) {
    let ipa = Ipa::new(pfn << G::SHIFT);
    if let Some((phys, _)) = rig.m.host_translate(cpu, ipa) {
        return (phys, false);
    }
    let by = by_kernel(cpu, Access::Read);
    let outcome = rig.memory.host_fault(&mut rig.m, ipa, by);
    assert_eq!(outcome, Outcome::Decoy);
    rig.settle();
    let found = rig.m.host_translate(cpu, ipa).expect("it was mapped");
    let state = rig.memory.page(found.0.pfn::<G>());
    assert_eq!(state, Ok(PageState::el2(Use::Decoy)));
    (found.0, true)
}

pub fn maps<G: Granule>(rig: &mut Rig<'_, G>, cpu: usize, pfn: u64) -> bool {
    rig.m
        .host_translate(cpu, Ipa::new(pfn << G::SHIFT))
        .is_some()
}

fn on_each(test: impl Fn(&mut Rig<'_, K4>), test_16k: impl Fn(&mut Rig<'_, K16>)) {
    let layout = small::<K4>().swap_remove(0);
    layout
        .config::<K4>()
        .boot::<K4, _>(|mut rig| test(&mut rig))
        .expect("boots");
    let layout = small::<K16>().swap_remove(0);
    layout
        .config::<K16>()
        .boot::<K16, _>(|mut rig| test_16k(&mut rig))
        .expect("boots");
}
