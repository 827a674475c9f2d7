// SPDX-License-Identifier: GPL-2.0
//! Guests' memory: each call in each state, blocks, roots, limits, and taking apart.

use crate::common::small;
use mvirt_abi::{Error, Stat, MAP_EXEC, MAP_WRITE, MAX_VMS};
use mvirt_hyp::addr::{Granule, GuestIpa, Level, Phys, K16, K4};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::memory::{Denied, MAX_GUEST_CLEAN, MAX_GUEST_MAP};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::pgtable::stage2::Rights;
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{Config, Rig};

/// What a guest may have at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, and the guest is protected.
    NoPage,
    Own,
    OwnShared,
    /// Beyond its size of address, and the guest is protected.
    Beyond,
    /// Nothing, and the guest is not protected.
    Empty,
    Borrowed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Map,
    Unmap,
    Share,
    Unshare,
    Relinquish,
}

/// The table: what each call answers in each state.
pub fn answer(state: State, call: Call) -> Result<State, Error> {
    match (state, call) {
        (State::NoPage | State::Own | State::OwnShared | State::Beyond, Call::Unmap) => {
            Err(Error::Perm)
        }
        (State::Beyond, _) => Err(Error::Invalid),
        (State::NoPage, Call::Map) => Ok(State::Own),
        (State::NoPage, _) => Err(Error::NoEntry),
        (State::Own | State::OwnShared | State::Borrowed, Call::Map) => Err(Error::Exists),
        (State::Own, Call::Share) => Ok(State::OwnShared),
        (State::Own, Call::Unshare) => Err(Error::Perm),
        (State::Own, Call::Relinquish) => Ok(State::NoPage),
        (State::OwnShared, Call::Share) => Err(Error::Exists),
        (State::OwnShared, Call::Unshare) => Ok(State::Own),
        (State::OwnShared, Call::Relinquish) => Err(Error::Perm),
        (State::Empty, Call::Map) => Ok(State::Borrowed),
        (State::Empty | State::Borrowed, Call::Unmap) => Ok(State::Empty),
        (State::Empty | State::Borrowed, _) => Err(Error::Perm),
    }
}

pub const STATES: [State; 6] = [
    State::NoPage,
    State::Own,
    State::OwnShared,
    State::Beyond,
    State::Empty,
    State::Borrowed,
];
pub const CALLS: [Call; 5] = [
    Call::Map,
    Call::Unmap,
    Call::Share,
    Call::Unshare,
    Call::Relinquish,
];

const RW: u64 = MAP_WRITE;
const RWX: u64 = MAP_WRITE | MAP_EXEC;
const SLOT: usize = 3;
const VMID: u64 = 4;
const BITS: u32 = 36;

fn call<G: Granule>(
    rig: &mut Rig<'_, G>,
    call: Call,
    gfn: u64,
    pfn: u64,
) -> Result<Option<u64>, Error> {
    let (memory, m) = (&mut rig.memory, &mut rig.m);
    let answer = match call {
        Call::Map => memory.guest_map(m, SLOT, gfn, pfn, 1, RWX).map(|()| None),
        Call::Unmap => {
            let got = memory.guest_unmap(m, SLOT, gfn, 1);
            got.map(|(_, next)| {
                assert_eq!(next, gfn + 1);
                None
            })
        }
        Call::Share => memory.guest_share_host(m, SLOT, gfn).map(Some),
        Call::Unshare => memory.guest_unshare_host(m, SLOT, gfn).map(Some),
        Call::Relinquish => memory.guest_relinquish(m, SLOT, gfn).map(Some),
    };
    rig.settle();
    rig.check();
    answer
}

fn assert_state<G: Granule>(rig: &mut Rig<'_, G>, state: State, gfn: u64, pfn: u64) {
    rig.settle();
    rig.check();
    let has = match state {
        State::Own | State::OwnShared | State::Borrowed => Some(pfn),
        _ => None,
    };
    assert_eq!(rig.has(SLOT, gfn), has, "{state:?}");
    for access in [Access::Read, Access::Write, Access::Fetch] {
        let got = rig.guest_access(1, SLOT, gfn << G::SHIFT, access);
        assert_eq!(got, has.map(|pfn| Phys::new(pfn << G::SHIFT)), "{state:?}");
    }
    let host = rig.access(0, pfn << G::SHIFT, Access::Write);
    match state {
        State::Own => assert_eq!(host, Err(Denied::Owned)),
        _ => assert_eq!(host, Ok(Phys::new(pfn << G::SHIFT)), "{state:?}"),
    }
    let count = match state {
        State::Borrowed => PageState::with_guests(1),
        State::Own => PageState::guest(SLOT as u8),
        State::OwnShared => return,
        _ => PageState::HOST,
    };
    assert_eq!(rig.memory.page(pfn), Ok(count));
}

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

fn donate<G: Granule>(rig: &mut Rig<'_, G>, pfn: u64, nr: u64) {
    rig.memory
        .pool_donate(&mut rig.m, pfn, nr)
        .expect("the pages are the host's");
    rig.settle();
}

fn spare<G: Granule>(rig: &Rig<'_, G>) -> u64 {
    rig.memory.pool_pages() - RESERVE
}

fn matrix<G: Granule>() {
    for state in STATES {
        for tried in CALLS {
            with_rig::<G>(|mut rig, pfn| {
                let protected = !matches!(state, State::Empty | State::Borrowed);
                rig.guest_create(SLOT, protected, BITS).expect("room");
                let gfn = match state {
                    State::Beyond => 1 << (BITS - G::SHIFT),
                    _ => 0x1234,
                };
                let steps: &[Call] = match state {
                    State::Own | State::Borrowed => &[Call::Map],
                    State::OwnShared => &[Call::Map, Call::Share],
                    _ => &[],
                };
                for &step in steps {
                    assert!(call(&mut rig, step, gfn, pfn).is_ok());
                }
                assert_state(&mut rig, state, gfn, pfn);
                let expected = answer(state, tried);
                let writes = rig.m.writes();
                let got = call(&mut rig, tried, gfn, pfn);
                assert_eq!(got.map(|_| ()), expected.map(|_| ()), "{state:?} {tried:?}");
                match got {
                    Ok(page) => assert!(page.is_none_or(|page| page == pfn)),
                    Err(_) => assert_eq!(writes, rig.m.writes(), "{state:?} {tried:?}"),
                }
                assert_state(&mut rig, expected.unwrap_or(state), gfn, pfn);
            });
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn each_call_in_each_state_4k() {
    matrix::<K4>();
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn each_call_in_each_state_16k() {
    matrix::<K16>();
}

/// What no guest is in a slot for is refused, and so are numbers that overflow or lie beyond.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn wrong_numbers_are_refused() {
    with_rig::<K4>(|mut rig, pfn| {
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        for slot in [SLOT, MAX_VMS, usize::MAX] {
            let map = memory.guest_map(m, slot, 0, pfn, 1, RWX);
            assert_eq!(map, Err(Error::NoEntry));
            assert_eq!(memory.guest_unmap(m, slot, 0, 1), Err(Error::NoEntry));
            assert_eq!(memory.guest_destroy_step(m, slot), Err(Error::NoEntry));
            let walk = memory.guest_walk(m, slot, GuestIpa::new(0));
            assert_eq!(walk, Err(Error::NoEntry));
            // To a guest, NoEntry would mean that the host is asked for the page.
            assert_eq!(memory.guest_share_host(m, slot, 0), Err(Error::Perm));
            assert_eq!(memory.guest_unshare_host(m, slot, 0), Err(Error::Perm));
            assert_eq!(memory.guest_relinquish(m, slot, 0), Err(Error::Perm));
        }
        for slot in [MAX_VMS, MAX_VMS + 1, 255, 256, usize::MAX] {
            let made = memory.guest_create(m, slot, true, BITS);
            assert_eq!(made, Err(Error::Invalid), "{slot}");
        }
        for bits in [0, 31, 41, 48, 64, u32::MAX] {
            let made = memory.guest_create(m, SLOT, true, bits);
            assert_eq!(made, Err(Error::Invalid), "{bits}");
        }
        assert_eq!(rig.memory.guests(), 0);
        let regime = rig.guest_create(SLOT, false, BITS).expect("there is room");
        assert_eq!((regime.vmid(), regime.ipa_bits), (VMID, BITS));
        let again = rig.memory.guest_create(&mut rig.m, SLOT, false, BITS);
        assert_eq!(again, Err(Error::Exists));
        let limit = 1u64 << (BITS - 12);
        let rows = [
            (0, pfn, 0, RWX, Error::Invalid),
            (0, pfn, MAX_GUEST_MAP + 1, RWX, Error::Invalid),
            (0, pfn, u64::MAX, RWX, Error::Invalid),
            (0, pfn, 1, 4, Error::Invalid),
            (0, pfn, 1, u64::MAX, Error::Invalid),
            (limit, pfn, 1, RWX, Error::Invalid),
            (limit - 1, pfn, 2, RWX, Error::Invalid),
            (u64::MAX, pfn, 1, RWX, Error::Invalid),
            (1 << 52, pfn, 1, RWX, Error::Invalid),
            (0, u64::MAX, 1, RWX, Error::Invalid),
            (0, u64::MAX - 1, 1, RWX, Error::NoEntry),
            (0, pfn | 1 << 52, 1, RWX, Error::NoEntry),
            (0, 0x9000, 1, RWX, Error::NoEntry),
        ];
        for (gfn, pfn, nr, rights, error) in rows {
            let writes = rig.m.writes();
            let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, rights);
            assert_eq!(map, Err(error), "{gfn:#x} {pfn:#x} {nr:#x} {rights:#x}");
            assert_eq!(writes, rig.m.writes());
        }
        for (gfn, nr) in [(0, 0), (0, limit + 1), (limit, 1), (1, u64::MAX)] {
            let unmap = rig.memory.guest_unmap(&mut rig.m, SLOT, gfn, nr);
            assert_eq!(unmap, Err(Error::Invalid), "{gfn:#x} {nr:#x}");
        }
        for ipa in [1 << BITS, 1 << 48, u64::MAX] {
            let walk = rig.memory.guest_walk(&rig.m, SLOT, GuestIpa::new(ipa));
            assert_eq!(walk, Err(Error::Invalid));
        }
        rig.settle();
        rig.check();
    });
}

/// A refused range leaves each of its pages as it was, wherever the wrong page is in it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_refused_range_changes_nothing() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            for bad in 0..4 {
                rig.memory
                    .host_share_el2(&mut rig.m, pfn + bad)
                    .expect("it is the host's");
                let (free, writes) = (rig.memory.pool_pages(), rig.m.writes());
                let map = rig.memory.guest_map(&mut rig.m, SLOT, 8, pfn, 4, RWX);
                assert_eq!(map, Err(Error::Perm));
                assert_eq!((free, writes), (rig.memory.pool_pages(), rig.m.writes()));
                rig.memory
                    .host_unshare_el2(&mut rig.m, pfn + bad)
                    .expect("it is shared");
                rig.settle();
                rig.check();
            }
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 8, pfn, 4, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            rig.check();
        });
    }
}

/// What the host wrote is what a guest reads with its MMU off, and what it fetches.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn content_is_handed_over() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            for n in 0..6 {
                let page = Phys::new((pfn + n) << 12);
                rig.access(0, page.raw(), Access::Write).expect("its own");
                rig.m.host_store(page, 77 + n, n % 2 == 0);
            }
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 5, pfn, 6, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            for n in 0..6 {
                let page = rig.guest_access(0, SLOT, (5 + n) << 12, Access::Read);
                assert_eq!(page, Some(Phys::new((pfn + n) << 12)));
                let page = Phys::new((pfn + n) << 12);
                for cacheable in [true, false] {
                    assert_eq!(rig.m.host_load(page, cacheable), 77 + n);
                }
            }
        });
    }
}

/// A run that is aligned for both sides becomes a block, for protected guests too, and a page that
/// is taken out of it splits it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn blocks() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let level = |rig: &Rig<'_, K4>, gfn: u64| {
                let ipa = GuestIpa::new(gfn << 12);
                let found = rig.memory.guest_walk(&rig.m, SLOT, ipa);
                found.expect("within its size").map(|found| found.level)
            };
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            assert_eq!(memory.guest_map(m, SLOT, 512, pfn, 512, RWX), Ok(()));
            // Not aligned alike: pages.
            let map = memory.guest_map(m, SLOT, 1025, pfn + 512, 511, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
            rig.check();
            assert_eq!(level(&rig, 700), Some(Level::L2));
            assert_eq!(level(&rig, 1025), Some(Level::L3));
            assert_eq!(level(&rig, 1024), None);

            rig.m
                .watch_guest(VMID, vec![600 << 12, 601 << 12, 602 << 12]);
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 601);
                assert_eq!(got, Ok(pfn + 601 - 512));
            } else {
                assert_eq!(memory.guest_unmap(m, SLOT, 601, 1), Ok((1, 602)));
            }
            rig.settle();
            rig.check();
            // CPUs that ran into the split get on.
            assert_eq!(
                rig.m.take_guest_missed(VMID),
                [600, 601, 602].map(|n| n << 12)
            );
            for (gfn, there) in [(600, true), (601, false), (602, true)] {
                let got = rig.guest_access(2, SLOT, gfn << 12, Access::Write);
                assert_eq!(got.is_some(), there, "{gfn}");
                assert_eq!(level(&rig, gfn), there.then_some(Level::L3));
            }
        });
    }
}

/// The end of a share takes no memory: without a table for the split the whole block goes, and only
/// that.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn an_unmap_without_tables_takes_the_block() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, false, BITS).expect("room");
        for n in 0..2 {
            let map = rig
                .memory
                .guest_map(&mut rig.m, SLOT, 512 * (n + 1), pfn + 512 * n, 512, RW);
            assert_eq!(map, Ok(()));
        }
        rig.settle();
        let mut pages = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vcpu) {
            pages.push(page);
        }
        assert_eq!(spare(&rig), 0);
        let got = rig.memory.guest_unmap(&mut rig.m, SLOT, 600, 2);
        assert_eq!(got, Ok((512, 602)));
        rig.settle();
        rig.check();
        assert_eq!(rig.has(SLOT, 512), None);
        assert_eq!(rig.has(SLOT, 1024), Some(pfn + 512));
        assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
        for page in pages {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        let got = rig.memory.guest_unmap(&mut rig.m, SLOT, 1100, 2);
        assert_eq!(got, Ok((2, 1102)));
        rig.settle();
        rig.check();
    });
}

/// A whole slot is unmapped in calls that each do a bounded part.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_huge_range_is_unmapped_in_parts() {
    fn run<G: Granule>() {
        with_rig::<G>(|mut rig, pfn| {
            rig.guest_create(SLOT, false, BITS).expect("room");
            donate(&mut rig, pfn + 900, 40);
            let limit = 1u64 << (BITS - G::SHIFT);
            // Sparse: single pages far apart, a full table's worth of pages, the last page.
            let mut mapped = 0;
            for gfn in [1, 77, 99_000, limit / 2 + 3, limit - 1] {
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 1, RW);
                assert_eq!(map, Ok(()));
                mapped += 1;
            }
            for n in 0..2 {
                let gfn = limit / 4 + 1 + n * 300;
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 300, RW);
                assert_eq!(map, Ok(()));
                mapped += 300;
            }
            assert_eq!(rig.memory.page(pfn), Ok(PageState::with_guests(7)));
            let (mut at, mut unmapped, mut calls) = (0, 0, 0);
            while at < limit {
                let (nr, next) = rig
                    .memory
                    .guest_unmap(&mut rig.m, SLOT, at, limit - at)
                    .expect("never refused");
                assert!(next > at && next <= limit && nr <= MAX_GUEST_MAP);
                (at, unmapped, calls) = (next, unmapped + nr, calls + 1);
                rig.settle();
                rig.check();
            }
            assert_eq!(unmapped, mapped);
            assert!(calls < 100, "{calls} calls");
            assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
            // All tables but the root are back.
            let tables = rig.memory.stat(Stat::GuestTableBytes);
            assert_eq!(tables, Some(G::BYTES));
        });
    }
    run::<K4>();
    run::<K16>();
}

/// A page may be in several guests and at several addresses, and be lent as often as the count holds.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn loans_are_counted() {
    with_rig::<K4>(|mut rig, pfn| {
        donate(&mut rig, pfn + 512, 300);
        rig.guest_create(SLOT, false, BITS).expect("room");
        rig.guest_create(SLOT + 1, false, BITS).expect("room");
        for gfn in 0..u64::from(u16::MAX) {
            let slot = SLOT + (gfn % 2) as usize;
            let map = rig.memory.guest_map(&mut rig.m, slot, gfn, pfn, 1, 0);
            assert_eq!(map, Ok(()));
        }
        rig.settle();
        rig.check();
        let full = Ok(PageState::with_guests(u16::MAX));
        assert_eq!(rig.memory.page(pfn), full);
        let map = rig.memory.guest_map(&mut rig.m, SLOT, 1 << 20, pfn, 1, 0);
        assert_eq!(map, Err(Error::Busy));
        assert_eq!(rig.memory.pool_donate(&mut rig.m, pfn, 1), Err(Error::Perm));
        rig.guest_destroy(SLOT);
        let left = Ok(PageState::with_guests(u16::MAX / 2));
        assert_eq!(rig.memory.page(pfn), left);
        rig.guest_destroy(SLOT + 1);
        assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
        rig.check();
    });
}

/// The same page again with other rights changes the rights; anything else in the way is left.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn rights_change() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, false, BITS).expect("room");
        let map = |rig: &mut Rig<'_, K4>, gfn, pfn, nr, rights| {
            let got = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, rights);
            rig.settle();
            rig.check();
            got
        };
        assert_eq!(map(&mut rig, 512, pfn, 512, 0), Ok(()));
        assert!(rig.guest_access(0, SLOT, 600 << 12, Access::Read).is_some());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_none());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Fetch)
            .is_none());
        assert_eq!(map(&mut rig, 512, pfn, 512, 0), Err(Error::Exists));
        // One page of the block, by way of a split.
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, RW), Ok(()));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_some());
        assert!(rig
            .guest_access(0, SLOT, 601 << 12, Access::Write)
            .is_none());
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, RW), Err(Error::Exists));
        // Another page is in the way; so is a range of which a part is mapped.
        assert_eq!(map(&mut rig, 600, pfn + 89, 1, RWX), Err(Error::Exists));
        assert_eq!(map(&mut rig, 1023, pfn + 511, 2, RWX), Err(Error::Exists));
        // What is written and then made executable is fetched anew.
        rig.m.host_store(Phys::new((pfn + 88) << 12), 5, true);
        assert_eq!(map(&mut rig, 600, pfn + 88, 1, MAP_EXEC), Ok(()));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Fetch)
            .is_some());
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_none());
        let ipa = GuestIpa::new(600 << 12 | 0x123);
        let found = rig.memory.guest_walk(&rig.m, SLOT, ipa).expect("in range");
        let found = found.expect("it is mapped");
        let execute_only = Rights {
            write: false,
            execute: true,
        };
        assert_eq!((found.rights, found.level), (execute_only, Level::L3));
        assert_eq!(found.phys, Phys::new((pfn + 88) << 12 | 0x123));
        // All of it, split by now, in one call.
        assert_eq!(map(&mut rig, 512, pfn, 512, RWX), Ok(()));
        assert_eq!(rig.memory.page(pfn + 88), Ok(PageState::with_guests(1)));
        assert!(rig
            .guest_access(0, SLOT, 600 << 12, Access::Write)
            .is_some());
    });
}

/// A host that maps a shared page non-cacheable finds nothing that the guest had overwritten, and
/// nothing dirty of the host's is left when the share ends.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_share_hides_what_was_overwritten() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        assert_eq!(memory.guest_map(m, SLOT, 9, pfn, 1, RWX), Ok(()));
        let page = Phys::new(pfn << 12);
        m.host_store(page, 0x5ec, false);
        m.host_store(page, 1, true);
        assert_eq!(memory.guest_share_host(m, SLOT, 9), Ok(pfn));
        rig.settle();
        assert!(rig.access(0, page.raw(), Access::Write).is_ok());
        assert_eq!(rig.m.host_load(page, false), 1);
        rig.m.host_store(page, 2, true);
        let got = rig.memory.guest_unshare_host(&mut rig.m, SLOT, 9);
        assert_eq!(got, Ok(pfn));
        rig.settle();
        rig.check();
        // The guest stores with its caches off; nothing covers that up later.
        rig.m.host_store(page, 3, false);
        assert_eq!(rig.m.host_load(page, true), 3);
    });
}

/// A guest can end a share when no table is spare: the host loses more of its block, and faults it
/// in again.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn an_unshare_takes_no_table() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let (memory, m) = (&mut rig.memory, &mut rig.m);
        assert_eq!(memory.guest_map(m, SLOT, 512, pfn, 512, RWX), Ok(()));
        for gfn in 512..1024 {
            assert_eq!(memory.guest_share_host(m, SLOT, gfn), Ok(pfn + gfn - 512));
        }
        // All of a block is the host's to use: it has it as one.
        assert!(rig.access(0, pfn << 12, Access::Write).is_ok());
        assert_eq!(rig.leaf_level(pfn << 12), Some(Level::L2));
        while rig.memory.page_take(&mut rig.m, Use::Vgic).is_ok() {}
        let got = rig.memory.guest_unshare_host(&mut rig.m, SLOT, 700);
        assert_eq!(got, Ok(pfn + 700 - 512));
        rig.settle();
        rig.check();
        let at = (pfn + 700 - 512) << 12;
        assert_eq!(rig.access(0, at, Access::Read), Err(Denied::Owned));
        assert!(rig.access(0, at + 4096, Access::Read).is_ok());
    });
}

/// Roots of several tables come from the pool where it has an aligned run, and from a donation of
/// one where not.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn roots_of_several_tables() {
    fn run<G: Granule>(pa_bits: u32, tables: u64) {
        let config = Config {
            pa_bits,
            ..small::<G>()[0].config::<G>()
        };
        with_config::<G>(&config, |mut rig, pfn| {
            let before = rig.memory.pool_pages();
            // Home pages are taken first: what is left in the end are these, no two together.
            for n in 0..30 {
                donate(&mut rig, pfn + 2 * n + 1, 1);
            }
            let mut taken = Vec::new();
            while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
                taken.push(page);
            }
            assert_eq!(rig.guest_create(SLOT, true, 40), Err(Error::NoMemory));
            // Two together, but not aligned.
            for n in 0..10 {
                donate(&mut rig, pfn + 101 + 4 * n, 2);
            }
            match rig.guest_create(SLOT, true, 40) {
                Ok(_) => assert_eq!((tables, rig.guest_destroy(SLOT)), (1, 2)),
                Err(error) => assert_eq!((tables > 1, error), (true, Error::NoMemory)),
            }
            rig.check();
            donate(&mut rig, pfn + 1024, 16);
            let regime = rig.guest_create(SLOT, true, 40).expect("an aligned run");
            assert_eq!(regime.ipa_bits, 40);
            rig.check();
            let held = rig.memory.stat(Stat::GuestTableBytes);
            assert_eq!(held, Some(tables << G::SHIFT));
            // In each of its tables.
            let limit = 1u64 << (40 - G::SHIFT);
            let mut gfns: Vec<u64> = (0..tables).map(|n| n * (limit / tables) + n).collect();
            gfns.push(limit - 1);
            for (n, &gfn) in gfns.iter().enumerate() {
                let pfn = pfn + 200 + n as u64;
                donate(&mut rig, pfn + 400 + 3 * n as u64, 4);
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, 1, RWX);
                assert_eq!(map, Ok(()), "{gfn:#x}");
                rig.settle();
                let got = rig.guest_access(0, SLOT, gfn << G::SHIFT, Access::Fetch);
                assert_eq!(got, Some(Phys::new(pfn << G::SHIFT)));
            }
            rig.check();
            rig.guest_destroy(SLOT);
            for page in taken {
                rig.memory.page_give(&mut rig.m, page).expect("it is EL2's");
            }
            while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
                rig.settle();
            }
            assert_eq!(rig.memory.donated_pages(), 0);
            let tables = rig.memory.stat(Stat::HostTableBytes);
            assert!(tables.is_some() && rig.memory.pool_pages() + 8 >= before);
            rig.check();
        });
    }
    run::<K4>(40, 2);
    run::<K4>(44, 1);
    run::<K4>(48, 1);
    run::<K16>(40, 16);
    run::<K16>(44, 1);
    run::<K16>(48, 1);
}

/// Taking a guest apart goes in short steps, nothing else of it answers meanwhile, and everything
/// comes back: scrubbed, but for what it shared.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn taking_apart() {
    fn run<G: Granule>(protected: bool) {
        with_rig::<G>(|mut rig, pfn| {
            let stats = |rig: &Rig<'_, G>| {
                let memory = &rig.memory;
                [Stat::GuestTableBytes, Stat::GuestBytes, Stat::VmBytes].map(|s| memory.stat(s))
            };
            let (before, free) = (stats(&rig), rig.memory.pool_pages());
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let pieces = [
                (512, pfn, 512),
                (3, pfn + 600, 90),
                (0x10_0000, pfn + 700, 1),
            ];
            for (gfn, pfn, nr) in pieces {
                let map = rig.memory.guest_map(&mut rig.m, SLOT, gfn, pfn, nr, RWX);
                assert_eq!(map, Ok(()));
            }
            rig.settle();
            for (_, pfn, nr) in pieces {
                for pfn in pfn..pfn + nr {
                    rig.m
                        .host_store(Phys::new(pfn << G::SHIFT), 0x5ec, pfn % 2 == 0);
                }
            }
            if protected {
                let got = rig.memory.guest_share_host(&mut rig.m, SLOT, 5);
                assert_eq!(got, Ok(pfn + 602));
                assert_eq!(rig.memory.stat(Stat::GuestBytes), Some(603 << G::SHIFT));
            }
            // A vCPU that ran has TLB entries on each CPU.
            for cpu in 0..4 {
                rig.guest_access(cpu, SLOT, 600 << G::SHIFT, Access::Read);
            }
            let (mut steps, mut more) = (0, true);
            while more {
                let (writes, owned) = (rig.m.writes(), rig.memory.stat(Stat::GuestBytes));
                more = rig.guest_destroy_step(SLOT).expect("it is there");
                rig.check();
                steps += 1;
                let back = owned.zip(rig.memory.stat(Stat::GuestBytes));
                let back = back.map_or(0, |(before, after)| before - after);
                assert!(back <= 128 << 10, "{back} bytes at once");
                assert!(rig.m.writes() - writes < 6000);
                if more {
                    let (memory, m) = (&mut rig.memory, &mut rig.m);
                    let map = memory.guest_map(m, SLOT, 9999, pfn + 800, 1, RWX);
                    assert_eq!(map, Err(Error::NoEntry));
                    assert_eq!(memory.guest_unmap(m, SLOT, 3, 1), Err(Error::NoEntry));
                    assert_eq!(memory.guest_share_host(m, SLOT, 3), Err(Error::Perm));
                    assert_eq!(memory.guest_relinquish(m, SLOT, 3), Err(Error::Perm));
                    let made = memory.guest_create(m, SLOT, true, BITS);
                    assert_eq!(made, Err(Error::Exists));
                    assert_eq!(memory.guests(), 1);
                }
            }
            assert!(steps < 200, "{steps} steps");
            assert_eq!((stats(&rig), rig.memory.guests()), (before, 0));
            for (_, first, nr) in pieces {
                for pfn in first..first + nr {
                    let at = pfn << G::SHIFT;
                    assert_eq!(rig.memory.page(pfn), Ok(PageState::HOST));
                    assert_eq!(rig.access(0, at, Access::Write), Ok(Phys::new(at)));
                    let page = Phys::new(at);
                    let seen = [true, false].map(|c| rig.m.host_load(page, c));
                    let shared = protected && pfn == pieces[1].1 + 2;
                    let kept = !protected || shared;
                    assert_eq!(seen.contains(&0x5ec), kept, "{pfn:#x}");
                }
            }
            // The host's own tables for what was split come and go with its blocks.
            let now = rig.memory.pool_pages();
            assert!(free - now <= 3, "{free} {now}");
            let made = rig.guest_create(SLOT, !protected, BITS);
            assert_eq!(made.map(|regime| regime.vmid()), Ok(VMID));
        });
    }
    for protected in [true, false] {
        run::<K4>(protected);
        run::<K16>(protected);
    }
}

/// Pages for the state of VMs: zeroed, scrubbed, counted, and none out of the reserve.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn pages_for_objects() {
    with_rig::<K4>(|mut rig, pfn| {
        let free = rig.memory.pool_pages();
        for usage in [
            Use::None,
            Use::Free,
            Use::HostTable,
            Use::GuestTable,
            Use::Image,
        ] {
            let got = rig.memory.page_take(&mut rig.m, usage);
            assert_eq!(got, Err(Error::Invalid));
        }
        let mut pages = Vec::new();
        for usage in [Use::Vm, Use::Vcpu, Use::Vgic].into_iter().cycle() {
            match rig.memory.page_take(&mut rig.m, usage) {
                Ok(page) => {
                    let state = rig.memory.page(page.pfn::<K4>());
                    assert_eq!(state, Ok(PageState::el2(usage)));
                    let access = rig.access(0, page.raw(), Access::Read);
                    assert_eq!(access, Err(Denied::Owned));
                    // Without what the pool keeps in its pages; and then EL2 uses it.
                    assert!((0..512).all(|n| rig.m.read_desc(page, n) == 0));
                    rig.m.write_desc(page, 7, 0x5ec0);
                    pages.push(page);
                }
                Err(error) => {
                    assert_eq!(error, Error::NoMemory);
                    break;
                }
            }
        }
        rig.settle();
        rig.check();
        assert_eq!(rig.memory.pool_pages(), RESERVE);
        let bytes = rig.memory.stat(Stat::VmBytes);
        assert_eq!(bytes, Some((pages.len() as u64) << 12));
        for page in [Phys::new(pfn << 12), rig.memory.host_root()] {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Err(Error::Perm));
        }
        let beyond = rig.memory.page_give(&mut rig.m, Phys::new(0x0900_0000));
        assert_eq!(beyond, Err(Error::NoEntry));
        for &page in &pages {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
            assert_eq!(rig.m.read_desc(page, 7), 0);
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Err(Error::Perm));
        }
        rig.settle();
        rig.check();
        assert_eq!(rig.memory.pool_pages(), free);
    });
}

/// Donated pages that VMs use do not come back yet, and the host does not pay for the question.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn pages_in_use_are_not_reclaimed() {
    with_rig::<K4>(|mut rig, pfn| {
        // More than the reserve and what is kept for decoys, so that VMs get some of them too.
        donate(&mut rig, pfn, 32);
        let mut pages = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
            pages.push(page);
        }
        let donated = |page: &Phys| (pfn..pfn + 32).contains(&page.pfn::<K4>());
        let (stay, go): (Vec<Phys>, Vec<Phys>) = pages.into_iter().partition(donated);
        assert!(!stay.is_empty());
        for page in go {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        while let Ok((back, _)) = rig.memory.pool_reclaim(&mut rig.m) {
            assert!((pfn..pfn + 32).contains(&back));
        }
        assert_eq!(rig.memory.donated_pages(), stay.len() as u64);
        rig.settle();
        assert!(rig.access(0, (pfn + 700) << 12, Access::Read).is_ok());
        let (flushes, level) = (rig.m.flushes(), rig.leaf_level((pfn + 700) << 12));
        assert_eq!(rig.memory.pool_reclaim(&mut rig.m), Err(Error::Busy));
        assert_eq!(rig.m.flushes(), flushes);
        assert!(level.is_some());
        assert_eq!(rig.leaf_level((pfn + 700) << 12), level);
        for page in stay {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
            assert!(rig.memory.pool_reclaim(&mut rig.m).is_ok());
        }
        assert_eq!(rig.memory.donated_pages(), 0);
        rig.settle();
        rig.check();
    });
}

/// While a guest lives, donated pages that are tables of the host's stage 2 stay: the host's map is
/// neither searched nor taken down, however large it is. They come back when the guest is gone.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn tables_of_the_host_stay_while_there_is_a_guest() {
    with_rig::<K4>(|mut rig, pfn| {
        rig.guest_create(SLOT, true, BITS).expect("room");
        let mut taken = Vec::new();
        while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
            taken.push(page);
        }
        donate(&mut rig, pfn + 64, 24);
        // What is left of EL2's own comes first.
        for _ in 0..8 {
            taken.push(rig.memory.page_take(&mut rig.m, Use::Vm).expect("room"));
        }
        for n in 0..2 {
            let pfn = pfn + 600 + 512 * n;
            let map = rig.memory.guest_map(&mut rig.m, SLOT, n, pfn, 1, RWX);
            assert_eq!(map, Ok(()));
            rig.settle();
        }
        while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
            rig.settle();
        }
        assert!(rig.memory.donated_pages() > 0);
        let before = (rig.m.flushes(), rig.m.writes());
        let tables = rig.memory.stat(Stat::HostTableBytes);
        let got = rig.memory.pool_reclaim(&mut rig.m);
        assert!(matches!(got, Err(Error::NoMemory | Error::Busy)), "{got:?}");
        assert_eq!((rig.m.flushes(), rig.m.writes()), before);
        assert_eq!(rig.memory.stat(Stat::HostTableBytes), tables);
        rig.guest_destroy(SLOT);
        for page in taken {
            assert_eq!(rig.memory.page_give(&mut rig.m, page), Ok(()));
        }
        while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
            rig.settle();
        }
        assert_eq!(rig.memory.donated_pages(), 0);
        rig.check();
    });
}

/// Refused for want of tables, a call has changed nothing; with pages donated it goes through.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn no_memory_changes_nothing() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            let map = rig.memory.guest_map(&mut rig.m, SLOT, 512, pfn, 512, RWX);
            assert_eq!(map, Ok(()));
            while rig.memory.page_take(&mut rig.m, Use::Vm).is_ok() {}
            let writes = rig.m.writes();
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            let map = memory.guest_map(m, SLOT, 5, pfn + 600, 1, RWX);
            assert_eq!(map, Err(Error::NoMemory));
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 600);
                assert_eq!(got, Err(Error::NoMemory));
            } else {
                let map = memory.guest_map(m, SLOT, 600, pfn + 88, 1, 0);
                assert_eq!(map, Err(Error::NoMemory));
            }
            let made = memory.guest_create(m, SLOT + 1, protected, BITS);
            assert_eq!(made, Err(Error::NoMemory));
            assert_eq!(writes, rig.m.writes());
            rig.settle();
            rig.check();
            donate(&mut rig, pfn + 1024, 16);
            let (memory, m) = (&mut rig.memory, &mut rig.m);
            assert_eq!(memory.guest_map(m, SLOT, 5, pfn + 600, 1, RWX), Ok(()));
            if protected {
                let got = memory.guest_relinquish(m, SLOT, 600);
                assert_eq!(got, Ok(pfn + 88));
            } else {
                let map = memory.guest_map(m, SLOT, 600, pfn + 88, 1, 0);
                assert_eq!(map, Ok(()));
            }
            rig.settle();
            rig.check();
            rig.guest_destroy(SLOT);
        });
    }
}

/// What a guest that cleans by set and way must find: each of its pages in memory, and in steps.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn all_of_a_guest_is_cleaned_in_steps() {
    for protected in [true, false] {
        with_rig::<K4>(|mut rig, pfn| {
            rig.guest_create(SLOT, protected, BITS).expect("room");
            assert_eq!(
                rig.memory.guest_clean(&mut rig.m, SLOT + 1, 0),
                Err(Error::NoEntry)
            );
            // A block, pages on both sides of a table's end, and the last page that there can be.
            let last = (1 << (BITS - K4::SHIFT)) - 1;
            let runs = [
                (512, 512, 512),
                (1534, 1030, 5),
                (0, 1040, 1),
                (last, 1050, 1),
            ];
            let mut mine = Vec::new();
            for (gfn, offset, nr) in runs {
                let map = rig
                    .memory
                    .guest_map(&mut rig.m, SLOT, gfn, pfn + offset, nr, RWX);
                assert_eq!(map, Ok(()), "{gfn}");
                mine.extend(pfn + offset..pfn + offset + nr);
            }
            let others: Vec<u64> = (0..8).map(|n| pfn + 1100 + n).collect();
            let page = |pfn: u64| Phys::new(pfn << K4::SHIFT);
            for pfn in mine.iter().chain(&others) {
                // In the caches alone: by the guest, or by the host for its own.
                rig.m.host_store(page(*pfn), 0x1000 + pfn, true);
            }
            let in_memory = |rig: &mut Rig<'_, K4>, pfns: &[u64]| {
                let m = &mut rig.m;
                let cleaned = |pfn: &&u64| m.host_load(page(**pfn), false) == 0x1000 + **pfn;
                pfns.iter().filter(cleaned).count()
            };
            assert_eq!(in_memory(&mut rig, &mine), 0);
            let (mut next, mut before, mut steps) = (Some(0), 0, 0);
            while let Some(gfn) = next {
                next = rig
                    .memory
                    .guest_clean(&mut rig.m, SLOT, gfn)
                    .expect("it is there");
                assert!(next.is_none_or(|next| next > gfn));
                let now = in_memory(&mut rig, &mine);
                // Lossless: a small number.
                assert!(now - before <= MAX_GUEST_CLEAN as usize);
                before = now;
                steps += 1;
            }
            assert_eq!(before, mine.len());
            assert_eq!(in_memory(&mut rig, &others), 0);
            assert!(steps < 8 * 512, "{steps}");
            assert_eq!(rig.memory.guest_clean(&mut rig.m, SLOT, last + 1), Ok(None));
            rig.settle();
            rig.check();
            rig.guest_destroy(SLOT);
        });
    }
}
