// SPDX-License-Identifier: GPL-2.0
//! What the tests share: layouts of RAM, what of it is EL2's, and donations.

use mvirt_abi::PhysRange;
use mvirt_hyp::addr::Granule;
use mvirt_sim::rig::{Config, Rig};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

fn ranges(list: &[(u64, u64)]) -> Vec<PhysRange> {
    list.iter()
        .map(|&(base, size)| PhysRange { base, size })
        .collect()
}

/// A way in which RAM may lie, and how far into it the carve-out is.
pub struct Layout {
    pub name: &'static str,
    pub ram: Vec<PhysRange>,
    pub offset: u64,
}

impl Layout {
    pub fn config<G: Granule>(&self) -> Config {
        Config::new::<G>(&self.ram, self.offset).expect("the layout has room")
    }
}

/// What of RAM is EL2's from the start: its metadata and the carve-out.
pub fn el2_ranges(config: &Config) -> Vec<PhysRange> {
    let mut el2 = config.meta.clone();
    el2.push(PhysRange {
        base: config.carveout,
        size: config.layout.size,
    });
    el2
}

/// Small layouts: what a sequence of calls runs on.
pub fn small<G: Granule>() -> Vec<Layout> {
    let page = G::BYTES;
    let layout = |name, list: &[(u64, u64)], offset| Layout {
        name,
        ram: ranges(list),
        offset,
    };
    vec![
        layout("one range", &[(GIB, 96 * MIB)], 8 * MIB),
        layout("from address 0", &[(0, 80 * MIB)], 33 * MIB + page),
        layout(
            "not aligned to any block",
            &[(GIB + 3 * page, 70 * MIB + page)],
            5 * page,
        ),
        layout(
            "holes",
            &[
                (GIB - 8 * MIB, 5 * MIB),
                (GIB, 40 * MIB + page),
                (GIB + 40 * MIB + 2 * page, page),
                (3 * GIB + 5 * MIB, 35 * MIB),
            ],
            MIB,
        ),
        layout(
            "ranges that touch",
            &[(GIB, 30 * MIB + page), (GIB + 30 * MIB + page, 40 * MIB)],
            0,
        ),
    ]
}

/// Layouts as machines have them.
pub fn large<G: Granule>() -> Vec<Layout> {
    let one = |name, size| Layout {
        name,
        ram: ranges(&[(GIB, size)]),
        offset: 64 * MIB,
    };
    let page = G::BYTES;
    let mut all = vec![
        one("512 MiB", 512 * MIB),
        one("1 GiB", GIB),
        one("2 GiB", 2 * GIB),
        one("4 GiB", 4 * GIB),
        one("16 GiB", 16 * GIB),
    ];
    // A phone: low RAM full of holes of the firmware, the rest high.
    let mut phone: Vec<(u64, u64)> = (0..20)
        .map(|n| (2 * GIB + n * 16 * MIB + page, (9 + n % 5) * MIB - page))
        .collect();
    phone.extend([(2 * GIB + 512 * MIB, GIB), (34 * GIB, 5 * GIB + 3 * page)]);
    all.push(Layout {
        name: "phone",
        ram: ranges(&phone),
        offset: 0,
    });
    // As many ranges as there may be, each with two ragged ends.
    let ragged: Vec<(u64, u64)> = (0..64)
        .map(|n| (GIB + n * 128 * MIB + page, 8 * MIB + 3 * page))
        .collect();
    all.push(Layout {
        name: "64 ragged ranges",
        ram: ranges(&ragged),
        offset: page,
    });
    all
}

/// Gives EL2 pages that are the host's alone.
pub fn donate<G: Granule>(rig: &mut Rig<'_, G>, pfn: u64, nr: u64) {
    rig.memory
        .pool_donate(&mut rig.m, pfn, nr)
        .expect("they are the host's alone");
    rig.settle();
}
