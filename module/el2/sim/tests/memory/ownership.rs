// SPDX-License-Identifier: GPL-2.0
//! Each call on a page in each state, with the whole state asserted after each.
//!
//! In the manner of pKVM's ownership self-test: put the page into a state, make every call that is
//! allowed or forbidden there, and look at everything again: the answer, the word, what the host
//! and EL2 reach, all other pages.

use crate::common::small;
use mvirt_abi::{Error, Stat};
use mvirt_hyp::addr::{Granule, Phys, K16, K4};
use mvirt_hyp::memory::{Denied, MAX_DONATION};
use mvirt_hyp::page::{PageState, Share, Use};
use mvirt_hyp::pgtable::View;
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

/// The states that a page can be in for a call of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Host,
    Shared,
    Pinned,
    Lent,
    Guest,
    GuestShared,
    Pool,
    Fixed,
    NotRam,
    Beyond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Donate,
    Share,
    Unshare,
    Pin,
    Unpin,
    /// To a protected guest.
    Give,
    /// To a guest that is not protected.
    Lend,
}

/// The guests of these tests: a protected one and another.
const OWNER: usize = 0;
const BORROWER: usize = 1;

/// The table: what each call answers in each state.
pub fn answer(state: State, call: Call) -> Result<State, Error> {
    match (state, call) {
        (State::NotRam | State::Beyond, _) => Err(Error::NoEntry),
        (State::Host, Call::Donate) => Ok(State::Pool),
        (State::Host, Call::Share) => Ok(State::Shared),
        (State::Host, Call::Unshare | Call::Pin | Call::Unpin) => Err(Error::Perm),
        (State::Host, Call::Give) => Ok(State::Guest),
        (State::Host | State::Lent, Call::Lend) => Ok(State::Lent),
        (State::Lent | State::Guest | State::GuestShared, _) => Err(Error::Perm),
        (State::Shared | State::Pinned, Call::Give | Call::Lend) => Err(Error::Perm),
        (State::Shared, Call::Donate) => Err(Error::Perm),
        (State::Shared, Call::Share) => Err(Error::Exists),
        (State::Shared, Call::Unshare) => Ok(State::Host),
        (State::Shared, Call::Pin) => Ok(State::Pinned),
        (State::Shared, Call::Unpin) => Err(Error::Invalid),
        (State::Pinned, Call::Donate) => Err(Error::Perm),
        (State::Pinned, Call::Share) => Err(Error::Exists),
        (State::Pinned, Call::Unshare) => Err(Error::Busy),
        // A second pin would be a state of its own: the random calls go there.
        (State::Pinned, Call::Pin) => Ok(State::Pinned),
        (State::Pinned, Call::Unpin) => Ok(State::Shared),
        (State::Pool | State::Fixed, _) => Err(Error::Perm),
    }
}

pub const STATES: [State; 10] = [
    State::Host,
    State::Shared,
    State::Pinned,
    State::Lent,
    State::Guest,
    State::GuestShared,
    State::Pool,
    State::Fixed,
    State::NotRam,
    State::Beyond,
];
pub const CALLS: [Call; 7] = [
    Call::Donate,
    Call::Share,
    Call::Unshare,
    Call::Pin,
    Call::Unpin,
    Call::Give,
    Call::Lend,
];

fn call<G: Granule>(rig: &mut Rig<'_, G>, call: Call, pfn: u64) -> Result<(), Error> {
    // Each call finds a page of the guest's that has nothing.
    let gfn = (0..)
        .find(|&gfn| {
            [OWNER, BORROWER]
                .iter()
                .all(|&slot| rig.has(slot, gfn).is_none())
        })
        .expect("it is a number");
    match call {
        Call::Give => rig.memory.guest_map(&mut rig.m, OWNER, gfn, pfn, 1, 0),
        Call::Lend => rig.memory.guest_map(&mut rig.m, BORROWER, gfn, pfn, 1, 0),
        Call::Donate => rig.memory.pool_donate(&mut rig.m, pfn, 1).map(|_| ()),
        Call::Share => rig.memory.host_share_el2(&mut rig.m, pfn),
        Call::Unshare => rig.memory.host_unshare_el2(&mut rig.m, pfn),
        Call::Pin => rig.memory.pin(pfn),
        Call::Unpin => rig.memory.unpin(pfn),
    }
}

/// Everything that can be seen of a page in `state`.
fn assert_state<G: Granule>(rig: &mut Rig<'_, G>, pfn: u64, state: State) {
    rig.settle();
    rig.check();
    let memory = &rig.memory;
    let el2 = |rig: &Rig<'_, G>| {
        let va = rig
            .memory
            .el2_map()
            .linear()
            .va(Phys::new(pfn << G::SHIFT))?;
        let entry = rig.memory.el2_map().tree().walk(&rig.m, va)?;
        Some(matches!(entry.view, View::Leaf { .. }))
    };
    match state {
        State::Host => assert_eq!(memory.page(pfn), Ok(PageState::HOST)),
        State::Shared => assert_eq!(memory.page(pfn), Ok(PageState::SHARED)),
        State::Pinned => {
            let pins = memory.page(pfn).map(|page| page.count);
            assert!(pins.is_ok_and(|pins| pins > 0));
        }
        State::Lent => {
            let page = memory.page(pfn).expect("it is RAM");
            assert_eq!(page, PageState::with_guests(page.count));
        }
        State::Guest => assert_eq!(memory.page(pfn), Ok(PageState::guest(OWNER as u8))),
        State::GuestShared => {
            let share = Share::WithHost;
            let owned = PageState::guest(OWNER as u8);
            assert_eq!(memory.page(pfn), Ok(PageState { share, ..owned }));
        }
        State::Pool => assert_eq!(memory.page(pfn), Ok(PageState::el2(Use::Free))),
        State::Fixed => assert!(!memory.page(pfn).expect("it is RAM").host_may_access()),
        State::NotRam | State::Beyond => assert_eq!(memory.page(pfn), Err(Error::NoEntry)),
    }
    let numbers = match state {
        State::Host => Ok((0, 0)),
        State::Shared | State::Pinned | State::Lent => Ok((0, 1)),
        State::Guest => Ok((2, 0)),
        State::GuestShared => Ok((2, 1)),
        State::Pool | State::Fixed => Ok((1, 0)),
        State::NotRam | State::Beyond => Err(Error::NoEntry),
    };
    assert_eq!(memory.page_state(pfn), numbers);
    let reached = matches!(state, State::Shared | State::Pinned | State::Pool);
    if !matches!(state, State::Fixed | State::Beyond) {
        assert_eq!(el2(rig), Some(reached), "{state:?}");
        assert_eq!(
            memory.check_page(&rig.m, pfn).is_ok(),
            state != State::NotRam
        );
    }
    let ipa = pfn << G::SHIFT;
    let got = rig.access(0, ipa, Access::Read);
    match state {
        State::Pool | State::Fixed | State::Guest => assert_eq!(got, Err(Denied::Owned)),
        State::Beyond => assert_eq!(got, Err(Denied::Beyond)),
        _ => assert_eq!(got, Ok(Phys::new(ipa))),
    }
}

fn matrix<G: Granule>() {
    let layouts = small::<G>();
    let config = layouts[0].config::<G>();
    let end = layouts[0].ram[0].base + layouts[0].ram[0].size;
    let free = (end >> G::SHIFT) - 100;
    for state in STATES {
        for tried in CALLS {
            let booted = config.boot::<G, ()>(|mut rig| {
                let pfn = match state {
                    State::Fixed => config.carveout >> G::SHIFT,
                    State::NotRam => end >> G::SHIFT,
                    State::Beyond => 1 << (config.pa_bits - G::SHIFT),
                    _ => free,
                };
                rig.guest_create(OWNER, true, 36).expect("there is room");
                rig.guest_create(BORROWER, false, 36)
                    .expect("there is room");
                let steps: &[Call] = match state {
                    State::Shared => &[Call::Share],
                    State::Pinned => &[Call::Share, Call::Pin],
                    State::Pool => &[Call::Donate],
                    State::Lent => &[Call::Lend],
                    State::Guest | State::GuestShared => &[Call::Give],
                    _ => &[],
                };
                for &step in steps {
                    assert_eq!(call(&mut rig, step, pfn), Ok(()));
                }
                if state == State::GuestShared {
                    let shared = rig.memory.guest_share_host(&mut rig.m, OWNER, 0);
                    assert_eq!(shared, Ok(pfn));
                }
                assert_state(&mut rig, pfn, state);
                let expected = answer(state, tried);
                assert_eq!(
                    call(&mut rig, tried, pfn),
                    expected.map(|_| ()),
                    "{state:?} {tried:?}"
                );
                assert_state(&mut rig, pfn, expected.unwrap_or(state));
                for other in [free - 1, free + 1] {
                    assert_state(&mut rig, other, State::Host);
                }
            });
            assert_eq!(booted, Ok(()));
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

fn with_rig<R>(with: impl FnOnce(Rig<'_, K4>, u64) -> R) -> R {
    let layouts = small::<K4>();
    let config = layouts[0].config::<K4>();
    let pfn = (layouts[0].ram[0].base + (64 << 20)) >> 12;
    config
        .boot::<K4, R>(|rig| with(rig, pfn))
        .expect("it boots")
}

/// CVE-2026-0028, -0030, -0031: a size that overflows.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn sizes_that_overflow_are_refused() {
    with_rig(|mut rig, pfn| {
        let rows = [
            (pfn, 0, Error::Invalid),
            (pfn, MAX_DONATION + 1, Error::Invalid),
            (pfn, u64::MAX, Error::Invalid),
            (pfn, 1 << 52, Error::Invalid),
            (pfn, (1 << 52) + 1, Error::Invalid),
            (u64::MAX, 1, Error::Invalid),
            (u64::MAX - 3, 4, Error::Invalid),
            (u64::MAX >> 12, 2, Error::NoEntry),
            // It would be RAM if the shift dropped the upper bits.
            (pfn | 1 << 52, 1, Error::NoEntry),
            (pfn | 1 << 63, 1, Error::NoEntry),
        ];
        for (pfn, nr, error) in rows {
            assert_eq!(
                rig.memory.pool_donate(&mut rig.m, pfn, nr),
                Err(error),
                "{pfn:#x} {nr:#x}"
            );
            rig.settle();
            rig.check();
        }
    });
}

/// CVE-2026-0032: what is not RAM. A range must be RAM to its last page.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn what_is_not_ram_is_refused() {
    with_rig(|mut rig, _| {
        let end = ((1 << 30) + (96 << 20)) >> 12;
        let before = (1 << 30 >> 12) - 1;
        for (pfn, nr) in [
            (end, 1),
            (end - 1, 2),
            (before, 1),
            (before, 2),
            (0x9000, 1),
        ] {
            assert_eq!(
                rig.memory.pool_donate(&mut rig.m, pfn, nr),
                Err(Error::NoEntry)
            );
        }
        for pfn in [end, before, 0x9000, u64::MAX, u64::MAX >> 12] {
            assert_eq!(
                rig.memory.host_share_el2(&mut rig.m, pfn),
                Err(Error::NoEntry)
            );
            assert_eq!(
                rig.memory.host_unshare_el2(&mut rig.m, pfn),
                Err(Error::NoEntry)
            );
            assert_eq!(rig.memory.page_state(pfn), Err(Error::NoEntry));
        }
        rig.settle();
        rig.check();
    });
}

/// A refused range leaves each of its pages as it was, wherever the wrong page is in it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_refused_donation_changes_nothing() {
    with_rig(|mut rig, pfn| {
        for bad in 0..4 {
            assert_eq!(rig.memory.host_share_el2(&mut rig.m, pfn + bad), Ok(()));
            let (free, writes) = (rig.memory.pool_pages(), rig.m.writes());
            assert_eq!(rig.memory.pool_donate(&mut rig.m, pfn, 4), Err(Error::Perm));
            assert_eq!((free, writes), (rig.memory.pool_pages(), rig.m.writes()));
            for n in (0..4).filter(|&n| n != bad) {
                assert_state(&mut rig, pfn + n, State::Host);
            }
            assert_eq!(rig.memory.host_unshare_el2(&mut rig.m, pfn + bad), Ok(()));
        }
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 4).is_ok());
    });
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn pins_are_counted() {
    with_rig(|mut rig, pfn| {
        assert_eq!(rig.memory.host_share_el2(&mut rig.m, pfn), Ok(()));
        for _ in 0..u16::MAX {
            assert_eq!(rig.memory.pin(pfn), Ok(()));
        }
        assert_eq!(rig.memory.pin(pfn), Err(Error::Busy));
        for _ in 0..u16::MAX {
            assert_eq!(
                rig.memory.host_unshare_el2(&mut rig.m, pfn),
                Err(Error::Busy)
            );
            assert_eq!(rig.memory.unpin(pfn), Ok(()));
        }
        assert_eq!(rig.memory.unpin(pfn), Err(Error::Invalid));
        assert_eq!(rig.memory.host_unshare_el2(&mut rig.m, pfn), Ok(()));
        assert_state(&mut rig, pfn, State::Host);
    });
}

/// All that was donated comes back, zeroed, and the tables that it took with it; the block that it
/// was cut from is a block again.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn everything_comes_back() {
    with_rig(|mut rig, pfn| {
        let level = rig.leaf_level(pfn << 12);
        let tables = |rig: &Rig<'_, K4>| {
            [Stat::HostTableBytes, Stat::El2TableBytes, Stat::PoolBytes].map(|s| rig.memory.stat(s))
        };
        let before = tables(&rig);
        for (at, nr) in [(pfn, 3), (pfn + 700, 1), (pfn + 600, 20), (pfn + 1024, 512)] {
            for n in at..at + nr {
                rig.m.host_store(Phys::new(n << 12), 0x1234, n % 2 == 0);
            }
            assert!(rig.memory.pool_donate(&mut rig.m, at, nr).is_ok());
            rig.settle();
            rig.check();
        }
        assert_eq!(rig.memory.donated_pages(), 536);
        let mut back = Vec::new();
        while let Ok((n, _)) = rig.memory.pool_reclaim(&mut rig.m) {
            rig.settle();
            let page = Phys::new(n << 12);
            assert_eq!(
                (rig.m.host_load(page, true), rig.m.host_load(page, false)),
                (0, 0)
            );
            back.push(n);
        }
        assert_eq!(rig.memory.pool_reclaim(&mut rig.m), Err(Error::NoEntry));
        back.sort_unstable();
        back.dedup();
        assert_eq!(back.len(), 536);
        assert_eq!(rig.memory.donated_pages(), 0);
        // What was a whole level-2 block has no table to be mapped by: the fault does it.
        assert!(rig.access(0, (pfn + 1024) << 12, Access::Read).is_ok());
        rig.check();
        assert_eq!(tables(&rig), before);
        assert_eq!(rig.leaf_level(pfn << 12), level);
    });
}

/// Calls never take the reserve, and a donation large enough always goes through.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_reserve_stays_for_faults() {
    with_rig(|mut rig, pfn| {
        // One page of each 2 MiB costs EL2 a table, until it has none to spare.
        let mut shared = Vec::new();
        let mut last = Ok(());
        for n in 0..30 {
            let at = pfn - (48 << 8) + n * 512;
            last = rig.memory.host_share_el2(&mut rig.m, at);
            rig.settle();
            assert!(rig.memory.pool_pages() >= RESERVE);
            match last {
                Ok(()) => shared.push(at),
                Err(_) => break,
            }
        }
        assert_eq!(last, Err(Error::NoMemory));
        assert_eq!(rig.memory.pool_pages(), RESERVE);
        assert_eq!(rig.memory.pool_reclaim(&mut rig.m), Err(Error::NoEntry));
        // A page alone would be eaten by the tables that it takes.
        assert_eq!(
            rig.memory.pool_donate(&mut rig.m, pfn + 2048, 1),
            Err(Error::NoMemory)
        );
        assert!(rig.memory.pool_donate(&mut rig.m, pfn + 2048, 8).is_ok());
        rig.settle();
        rig.check();
        for at in shared {
            assert_eq!(rig.memory.host_unshare_el2(&mut rig.m, at), Ok(()));
            rig.settle();
        }
        rig.check();
    });
}

/// A fault on a page that is not the host's is answered the same before and after a walk of it is
/// cached anywhere.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn denied_is_denied_by_every_access() {
    with_rig(|mut rig, pfn| {
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 1).is_ok());
        for access in [Access::Read, Access::Write, Access::Fetch] {
            assert_eq!(rig.access(0, pfn << 12, access), Err(Denied::Owned));
        }
        rig.settle();
        rig.check();
    });
}
