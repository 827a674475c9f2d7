// SPDX-License-Identifier: GPL-2.0
//! What each call about a guest's memory answers in each state of a page.

use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, Phys, K16, K4};
use mvirt_hyp::memory::Denied;
use mvirt_hyp::page::PageState;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;

use super::{with_rig, BITS, RWX, SLOT};

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
