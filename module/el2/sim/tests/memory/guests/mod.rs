// SPDX-License-Identifier: GPL-2.0
//! Guests' memory: each call in each state, blocks, roots, limits, and taking apart.

mod blocks;
mod content;
mod life;
mod loans;
mod pool;
mod refusals;
pub mod states;

use mvirt_abi::{MAP_EXEC, MAP_WRITE};
use mvirt_hyp::addr::Granule;
use mvirt_hyp::pool::RESERVE;
use mvirt_sim::rig::{Config, Rig};

use crate::common::small;

const RW: u64 = MAP_WRITE;
const RWX: u64 = MAP_WRITE | MAP_EXEC;
const SLOT: usize = 3;
const VMID: u64 = 4;
const BITS: u32 = 36;

/// A booted machine, and the first page of an aligned run of the host's.
fn with_config<G: Granule>(config: &Config, with: impl FnOnce(Rig<'_, G>, u64)) {
    let last = config.ram.last().expect("there is RAM");
    let end = (last.base + last.size) >> G::SHIFT;
    let block = G::ENTRIES as u64;
    let pfn = (end - block) & !(block - 1);
    config
        .boot::<G, _>(|rig| with(rig, pfn - 2 * block.min(1024)))
        .expect("it boots");
}

fn with_rig<G: Granule>(with: impl FnOnce(Rig<'_, G>, u64)) {
    with_config(&small::<G>()[0].config::<G>(), with);
}

fn spare<G: Granule>(rig: &Rig<'_, G>) -> u64 {
    rig.memory.pool_pages() - RESERVE
}
