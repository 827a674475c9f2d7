// SPDX-License-Identifier: GPL-2.0
//! The set of pages against one that has no bound.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn ranges(guard: &Guard) -> Vec<(u64, u64)> {
    guard
        .used()
        .iter()
        .map(|r| (r.first(), r.pages()))
        .collect()
}

/// Sorted, disjoint, not touching, nothing behind the last.
fn check(guard: &Guard) {
    let used = guard.used();
    assert!(used.iter().all(|range| range.pages() > 0));
    assert!(used.windows(2).all(|pair| pair[0].end() < pair[1].first()));
    let rest = &guard.ranges[used.len()..];
    assert!(rest.iter().all(|range| *range == Range::default()));
}

#[test]
fn enrolment() {
    let mut guard = Guard::new();
    assert!(guard.allows(7) && !guard.contains(7) && !guard.is_enrolled());
    guard.add(7).unwrap();
    assert!(guard.contains(7));
    guard.enroll();
    assert!(guard.is_enrolled() && guard.allows(7) && !guard.allows(8));
}

#[test]
fn neighbours_merge_and_split() {
    let mut guard = Guard::new();
    for page in [0x9000, 0x9002, 0x9001, 0x9003, 0x8fff, 0x9001] {
        guard.add(page).unwrap();
        check(&guard);
    }
    assert_eq!(ranges(&guard), [(0x8fff, 5)]);
    guard.remove(0x9001).unwrap();
    assert_eq!(ranges(&guard), [(0x8fff, 2), (0x9002, 2)]);
    guard.remove(0x9002).unwrap();
    guard.remove(0x9000).unwrap();
    assert_eq!(ranges(&guard), [(0x8fff, 1), (0x9003, 1)]);
    guard.remove(0x8fff).unwrap();
    guard.remove(0x8fff).unwrap();
    assert_eq!(ranges(&guard), [(0x9003, 1)]);
    check(&guard);
}

#[test]
fn the_bound() {
    let mut guard = Guard::new();
    for n in 0..RANGES as u64 {
        guard.add(4 * n).unwrap();
    }
    let full = ranges(&guard);
    assert_eq!(guard.add(2), Err(Full));
    assert_eq!(guard.add(1 << 35), Err(Full));
    assert_eq!(ranges(&guard), full);
    // What touches a range needs none of its own, and what is there is there.
    assert_eq!(
        (guard.add(4), guard.add(1), guard.add(3)),
        (Ok(()), Ok(()), Ok(()))
    );
    check(&guard);
    assert_eq!(ranges(&guard)[..2], [(0, 2), (3, 2)]);
    guard.add(5).unwrap();
    // To take the middle out of a range needs one more: nothing changes.
    assert_eq!(guard.remove(4), Err(Full));
    assert!(guard.contains(4));
    guard.add(2).unwrap();
    assert_eq!(ranges(&guard)[0], (0, 6));
    guard.remove(4).unwrap();
    check(&guard);
}

#[test]
fn the_last_page() {
    let mut guard = Guard::new();
    let last = (1 << PAGE_BITS) - 1;
    guard.add(last).unwrap();
    guard.add(last - 1).unwrap();
    assert_eq!(ranges(&guard), [(last - 1, 2)]);
    assert!(guard.contains(last) && !guard.contains(0));
    assert_eq!(guard.add(last + 1), Err(Full));
    // A range as long as can be does not grow into the bits of the page number.
    guard.ranges[0] = Range::new(0, MAX_PAGES);
    guard.add(MAX_PAGES).unwrap();
    assert_eq!(ranges(&guard), [(0, MAX_PAGES), (MAX_PAGES, 1)]);
    assert!(guard.contains(MAX_PAGES - 1) && guard.contains(MAX_PAGES));
}

proptest! {
    #[test]
    fn behaves_as_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..200), 0..600)) {
        let (mut guard, mut set) = (Guard::new(), BTreeSet::new());
        for (add, page) in steps {
            let before = ranges(&guard);
            let done = if add { guard.add(page) } else { guard.remove(page) };
            match done {
                Ok(()) if add => { set.insert(page); }
                Ok(()) => { set.remove(&page); }
                Err(Full) => {
                    prop_assert_eq!(before.len(), RANGES);
                    prop_assert_eq!(ranges(&guard), before);
                }
            }
            check(&guard);
        }
        for page in 0..201 {
            prop_assert_eq!(guard.contains(page), set.contains(&page));
        }
    }
}
