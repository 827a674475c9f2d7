// SPDX-License-Identifier: GPL-2.0
//! The page word: the table of states in `page.rs`, unused combinations included.

use mvirt_hyp::page::{Owner, PageState, PageWord, Share, Use, View};

pub const OWNERS: [Owner; 2] = [Owner::Host, Owner::El2];
pub const SHARES: [Share; 2] = [Share::None, Share::WithEl2];
pub const USES: [Use; 8] = [
    Use::None,
    Use::Free,
    Use::HostTable,
    Use::El2Table,
    Use::Meta,
    Use::Image,
    Use::Data,
    Use::Stack,
];

/// What the table in `page.rs` allows, written down a second time.
pub fn used(state: PageState) -> bool {
    let counts = state.count == 0;
    match (state.owner, state.share, state.usage) {
        (Owner::Host, Share::None, Use::None) => counts,
        (Owner::Host, Share::WithEl2, Use::None) => true,
        (Owner::El2, Share::None, Use::HostTable) => true,
        (Owner::El2, Share::None, Use::El2Table) => true,
        (Owner::El2, Share::None, Use::Free | Use::Meta | Use::Image) => counts,
        (Owner::El2, Share::None, Use::Data | Use::Stack) => counts,
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
    assert_eq!(seen, 2 * 2 * 8 * 4);
}

#[test]
fn zero_is_the_hosts() {
    assert_eq!(PageWord::default().decode(), Some(PageState::HOST));
    assert_eq!(PageWord::from_raw(0).decode(), Some(PageState::HOST));
    assert_eq!(PageWord::encode(PageState::HOST), PageWord::from_raw(0));
}

#[test]
fn reserved_values_are_refused() {
    for owner in 2..=0xff {
        assert_eq!(PageWord::from_raw(owner).decode(), None);
    }
    for share in 2..=0xf {
        assert_eq!(PageWord::from_raw(share << 8).decode(), None);
    }
    for usage in 8..=0xf {
        assert_eq!(PageWord::from_raw(1 | usage << 12).decode(), None);
    }
}

#[test]
fn views() {
    let rows = [
        (PageState::HOST, View::Owned, View::NoPage),
        (PageState::SHARED, View::SharedOwned, View::SharedBorrowed),
        (PageState::el2(Use::Free), View::NoPage, View::Owned),
        (PageState::el2(Use::Image), View::NoPage, View::Owned),
    ];
    for (state, host, el2) in rows {
        assert_eq!(
            (state.view(Owner::Host), state.view(Owner::El2)),
            (host, el2)
        );
        assert_eq!(state.host_may_access(), host != View::NoPage);
    }
}
