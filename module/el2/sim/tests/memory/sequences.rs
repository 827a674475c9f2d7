// SPDX-License-Identifier: GPL-2.0
//! What the tests by random sequences share: how many cases to run, on what, and the tests themselves.

use mvirt_abi::Stat;
use mvirt_hyp::addr::Granule;
use mvirt_sim::rig::{Config, Rig};
use proptest::prelude::ProptestConfig;

use crate::common::small;

/// Cases of a property test: what PROPTEST_CASES says, else `n`.
pub fn cases(n: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked = asked.and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(n))
}

/// Boots the small layout of this number, and runs a sequence on it.
pub fn on_layout<G: Granule>(layout: usize, fwb: bool, sequence: impl FnOnce(&Config, Rig<'_, G>)) {
    let layouts = small::<G>();
    let layout = &layouts[layout % layouts.len()];
    let config = Config {
        fwb,
        ..layout.config::<G>()
    };
    let booted = config.boot::<G, ()>(|rig| sequence(&config, rig));
    assert_eq!(booted, Ok(()), "{}", layout.name);
}

/// The pages that EL2 has beside its image, free and in use, but for guests' memory: none is lost and
/// none is made.
pub fn el2_pages<G: Granule>(rig: &Rig<'_, G>) -> u64 {
    let stats = [
        Stat::PoolBytes,
        Stat::HostTableBytes,
        Stat::El2TableBytes,
        Stat::GuestTableBytes,
        Stat::VmBytes,
        Stat::DecoyBytes,
    ];
    let bytes = |stat| rig.memory.stat(stat).expect("memory keeps it");
    stats.into_iter().map(bytes).sum::<u64>() >> G::SHIFT
}

/// `sequences!(NAME_4K, NAME_16K, CASES, LENGTHS)`: two tests that run the module's own
/// `sequence::<G>(layout, fwb, &steps)` with steps of its own `step()`.
///
/// Seeds of failures are kept by the file that calls it.
macro_rules! sequences {
    ($name_4k:ident, $name_16k:ident, $cases:literal, $lengths:expr) => {
        proptest::proptest! {
            #![proptest_config($crate::sequences::cases($cases))]

            #[test]
            #[cfg_attr(miri, ignore = "boots a machine: too slow")]
            fn $name_4k(
                layout in 0usize..5,
                fwb: bool,
                steps in proptest::collection::vec(step(), $lengths),
            ) {
                sequence::<mvirt_hyp::addr::K4>(layout, fwb, &steps);
            }

            #[test]
            #[cfg_attr(miri, ignore = "boots a machine: too slow")]
            fn $name_16k(
                layout in 0usize..5,
                fwb: bool,
                steps in proptest::collection::vec(step(), $lengths),
            ) {
                sequence::<mvirt_hyp::addr::K16>(layout, fwb, &steps);
            }
        }
    };
}

pub(crate) use sequences;
