// SPDX-License-Identifier: GPL-2.0
//! The steps of a sequence, and how they are chosen.

use mvirt_hyp::trap::Access;
use proptest::prelude::*;

use super::HOT;

/// A page of the host's RAM: one of the hot ones, or the start of a block's worth.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    Hot(u64),
    Block,
    Raw(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(usize, bool),
    Map(usize, Spot, Spot, u64, u64),
    Unmap(usize, Spot, u64),
    Share(usize, Spot),
    Unshare(usize, Spot),
    Relinquish(usize, Spot),
    Destroy(usize, u64),
    GuestAccess(usize, usize, Spot, Access),
    GuestStore(usize, Spot, bool),
    GuestWatch(usize, Vec<u64>),
    HostAccess(usize, Spot, Access),
    HostStore(usize, Spot, bool),
    HostWatch(Vec<u64>),
    Donate(Spot, u64),
    Reclaim,
    ShareEl2(Spot),
    UnshareEl2(Spot),
    Take,
    Give,
}

fn spot() -> impl Strategy<Value = Spot> {
    prop_oneof![
        12 => (0..HOT).prop_map(Spot::Hot),
        2 => Just(Spot::Block),
        1 => prop_oneof![
            any::<u64>(),
            Just(0),
            Just(u64::MAX),
            (0u32..64).prop_map(|bits| 1 << bits),
        ]
        .prop_map(Spot::Raw),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let access = || prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Fetch)];
    let nr = || {
        prop_oneof![
            10 => 1u64..4,
            3 => Just(512),
            1 => 500u64..515,
            1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ]
    };
    let rights = prop_oneof![12 => 0u64..4, 1 => any::<u64>()];
    let slot = || 0usize..2;
    prop_oneof![
        2 => (slot(), any::<bool>()).prop_map(|(slot, p)| Step::Create(slot, p)),
        9 => (slot(), spot(), spot(), nr(), rights)
            .prop_map(|(slot, g, p, nr, rights)| Step::Map(slot, g, p, nr, rights)),
        4 => (slot(), spot(), nr()).prop_map(|(slot, at, nr)| Step::Unmap(slot, at, nr)),
        4 => (slot(), spot()).prop_map(|(slot, at)| Step::Share(slot, at)),
        3 => (slot(), spot()).prop_map(|(slot, at)| Step::Unshare(slot, at)),
        3 => (slot(), spot()).prop_map(|(slot, at)| Step::Relinquish(slot, at)),
        1 => (slot(), 1u64..30).prop_map(|(slot, steps)| Step::Destroy(slot, steps)),
        6 => (0usize..4, slot(), spot(), access())
            .prop_map(|(cpu, slot, at, access)| Step::GuestAccess(cpu, slot, at, access)),
        4 => (slot(), spot(), any::<bool>()).prop_map(|(slot, at, c)| Step::GuestStore(slot, at, c)),
        1 => (slot(), prop::collection::vec(0..HOT, 0..4))
            .prop_map(|(slot, list)| Step::GuestWatch(slot, list)),
        4 => (0usize..4, spot(), access()).prop_map(|(c, at, access)| Step::HostAccess(c, at, access)),
        3 => (0usize..4, spot(), any::<bool>()).prop_map(|(c, at, wb)| Step::HostStore(c, at, wb)),
        1 => prop::collection::vec(0..HOT, 0..4).prop_map(Step::HostWatch),
        2 => (spot(), nr()).prop_map(|(at, nr)| Step::Donate(at, nr)),
        1 => Just(Step::Reclaim),
        1 => spot().prop_map(Step::ShareEl2),
        1 => spot().prop_map(Step::UnshareEl2),
        2 => Just(Step::Take),
        1 => Just(Step::Give),
    ]
}
