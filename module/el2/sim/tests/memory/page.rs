// SPDX-License-Identifier: GPL-2.0
//! The page word: the table of states in `page.rs`, unused combinations included.

use mvirt_abi::MAX_VMS;
use mvirt_hyp::page::{Owner, PageState, PageWord, Share, Use, View};

pub const OWNERS: [Owner; 3] = [Owner::Host, Owner::El2, Owner::Guest(31)];
pub const SHARES: [Share; 4] = [
    Share::None,
    Share::WithEl2,
    Share::WithGuests,
    Share::WithHost,
];
pub const USES: [Use; 13] = [
    Use::None,
    Use::Free,
    Use::HostTable,
    Use::El2Table,
    Use::Meta,
    Use::Image,
    Use::Data,
    Use::Stack,
    Use::GuestTable,
    Use::Vm,
    Use::Vcpu,
    Use::Vgic,
    Use::Decoy,
];

/// What the table in `page.rs` allows, written down a second time.
pub fn used(state: PageState) -> bool {
    let counts = state.count == 0;
    match (state.owner, state.share, state.usage) {
        (Owner::Host, Share::None, Use::None) => counts,
        (Owner::Host, Share::WithEl2, Use::None) => true,
        (Owner::Host, Share::WithGuests, Use::None) => !counts,
        (Owner::Guest(_), Share::None | Share::WithHost, Use::None) => counts,
        (Owner::El2, Share::None, Use::GuestTable) => true,
        (Owner::El2, Share::None, Use::Vm | Use::Vcpu | Use::Vgic) => counts,
        (Owner::El2, Share::None, Use::HostTable) => true,
        (Owner::El2, Share::None, Use::El2Table) => true,
        (Owner::El2, Share::None, Use::Free | Use::Meta | Use::Image) => counts,
        (Owner::El2, Share::None, Use::Data | Use::Stack | Use::Decoy) => counts,
        _ => false,
    }
}

#[test]
fn every_combination() {
    let mut seen = 0;
    for owner in OWNERS {
        for share in SHARES {
            for usage in USES {
                for count in [0, 1, 2048, u16::MAX] {
                    let state = PageState {
                        owner,
                        share,
                        usage,
                        count,
                    };
                    let decoded = PageWord::encode(state).decode();
                    assert_eq!(decoded, used(state).then_some(state), "{state:?}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 3 * 4 * 13 * 4);
}

#[test]
fn zero_is_the_hosts() {
    assert_eq!(PageWord::default().decode(), Some(PageState::HOST));
    assert_eq!(PageWord::from_raw(0).decode(), Some(PageState::HOST));
    assert_eq!(PageWord::encode(PageState::HOST), PageWord::from_raw(0));
}

#[test]
fn reserved_values_are_refused() {
    for slot in 0..MAX_VMS as u8 {
        let state = PageState::guest(slot);
        assert_eq!(PageWord::encode(state).decode(), Some(state));
        let raw = u32::from(slot) + 2;
        assert_eq!(PageWord::from_raw(raw).decode(), Some(state));
    }
    for owner in MAX_VMS as u32 + 2..=0xff {
        assert_eq!(PageWord::from_raw(owner).decode(), None);
    }
    for slot in MAX_VMS as u8..=0xff {
        assert_eq!(PageWord::encode(PageState::guest(slot)).decode(), None);
    }
    for share in 4..=0xf {
        assert_eq!(PageWord::from_raw(share << 8).decode(), None);
    }
    for usage in 13..=0xf {
        assert_eq!(PageWord::from_raw(1 | usage << 12).decode(), None);
    }
}

#[test]
fn views() {
    use View::{NoPage, Owned, SharedBorrowed, SharedOwned};
    let lent = PageState {
        share: Share::WithHost,
        ..PageState::guest(31)
    };
    // The host, EL2, the guest in slot 31, another one.
    let rows = [
        (PageState::HOST, [Owned, NoPage, NoPage, NoPage]),
        (
            PageState::SHARED,
            [SharedOwned, SharedBorrowed, NoPage, NoPage],
        ),
        (
            PageState::with_guests(1),
            [SharedOwned, NoPage, SharedBorrowed, SharedBorrowed],
        ),
        (PageState::el2(Use::Free), [NoPage, Owned, NoPage, NoPage]),
        (PageState::el2(Use::Image), [NoPage, Owned, NoPage, NoPage]),
        (PageState::guest(31), [NoPage, NoPage, Owned, NoPage]),
        (lent, [SharedBorrowed, NoPage, SharedOwned, NoPage]),
    ];
    let parties = [Owner::Host, Owner::El2, Owner::Guest(31), Owner::Guest(0)];
    for (state, views) in rows {
        assert_eq!(parties.map(|party| state.view(party)), views);
        assert_eq!(state.host_may_access(), views[0] != NoPage);
    }
}
