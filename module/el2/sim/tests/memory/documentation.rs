// SPDX-License-Identifier: GPL-2.0
//! `Documentation/page-states.rst` says what the code does: its tables are those that the other
//! tests hold against the code.

use mvirt_abi::DECOYS_PER_CPU;
use mvirt_hyp::memory::{MAX_DONATION, MAX_GUEST_MAP};
use mvirt_hyp::page::{Owner, PageState, Share, View};
use mvirt_hyp::pool::RESERVE;

use crate::ownership::{answer, State, CALLS, STATES};
use crate::page::{used, OWNERS, SHARES, USES};
use crate::{decoy, guests};

const PAGE: &str = include_str!("../../../../../Documentation/page-states.rst");

/// The cells of the csv-table with this title, its header left out.
fn table(title: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = PAGE
        .split_once(&format!(".. csv-table:: {title}\n"))
        .expect("it is there");
    let (_, rows) = rest.split_once("\n\n").expect("rows follow the options");
    let rows = rows.lines().take_while(|line| !line.is_empty());
    rows.map(|row| row.trim().trim_matches('"').split("\", \"").collect())
        .collect()
}

#[test]
fn calls_by_state() {
    let documented = table("Calls by state");
    let cell = |state, call| match answer(state, call) {
        Ok(next) => format!("{next:?}"),
        Err(error) => format!("{error:?}"),
    };
    let rows = STATES.map(|state| {
        let denied = matches!(
            state,
            State::Guest | State::Pool | State::Fixed | State::Beyond
        );
        let mut row = vec![format!("{state:?}")];
        row.extend(CALLS.map(|call| cell(state, call)));
        row.push(if denied { "denied" } else { "allowed" }.into());
        row
    });
    assert_eq!(documented, rows);
}

#[test]
fn guest_calls_by_state() {
    let documented = table("Guest pages by state");
    let cell = |state, call| match guests::states::answer(state, call) {
        Ok(next) => format!("{next:?}"),
        Err(error) => format!("{error:?}"),
    };
    let rows = guests::states::STATES.map(|state| {
        let mut row = vec![format!("{state:?}")];
        row.extend(guests::states::CALLS.map(|call| cell(state, call)));
        row
    });
    assert_eq!(documented, rows);
}

#[test]
fn used_combinations() {
    let mut rows = Vec::new();
    for owner in OWNERS {
        for share in SHARES {
            for usage in USES {
                let with = |count| {
                    used(PageState {
                        owner,
                        share,
                        usage,
                        count,
                    })
                };
                if with(0) || with(1) {
                    let owner = match owner {
                        Owner::Guest(_) => "Guest".to_string(),
                        owner => format!("{owner:?}"),
                    };
                    let names = [owner, format!("{share:?}"), format!("{usage:?}")];
                    rows.push((names, with(1)));
                }
            }
        }
    }
    let documented = table("Used combinations");
    let documented: Vec<_> = documented
        .iter()
        .map(|row| ([row[0], row[1], row[2]].map(String::from), row[3] != "0"))
        .collect();
    assert_eq!(documented, rows);
}

#[test]
fn views() {
    let view = |state: PageState| OWNERS.map(|party| format!("{:?}", state.view(party)));
    let rows = table("Views");
    let lent = PageState {
        share: Share::WithHost,
        ..PageState::guest(31)
    };
    let states = [
        PageState::HOST,
        PageState::SHARED,
        PageState::with_guests(1),
        PageState::el2(USES[1]),
        PageState::guest(31),
        lent,
    ];
    assert_eq!(rows.len(), states.len());
    for (row, state) in rows.iter().zip(states) {
        assert_eq!(row[1..], view(state));
    }
    assert_eq!((View::Owned as u64, View::SharedOwned as u64), (0, 1));
    assert!(PAGE.contains("(0 Owned,\n1 SharedOwned)"));
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn decoys() {
    let rows = table("Accesses where the host has no right");
    assert_eq!(rows, decoy::documented::accesses());
    let rows = table("Decoys by state");
    assert_eq!(rows, decoy::documented::states());
    assert_eq!(DECOYS_PER_CPU, 4);
    assert!(PAGE.contains("Each CPU has four decoys,"));
}

#[test]
fn numbers() {
    assert_eq!((RESERVE, MAX_DONATION, MAX_GUEST_MAP), (6, 512, 512));
    assert!(PAGE.contains("Six free pages, the reserve,"));
    assert!(PAGE.contains("above 512 pages"));
    assert!(PAGE.contains("``guest_map`` takes up to 512 pages"));
}
