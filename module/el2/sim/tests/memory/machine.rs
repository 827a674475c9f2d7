// SPDX-License-Identifier: GPL-2.0
//! The fake machine itself: each fault that it can report, provoked by hand. A model that lets a
//! mistake pass would make every other test here worthless.

use mvirt_hyp::addr::{Granule, Ipa, Level, Linear, Phys, Va, K4};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::pgtable::stage1::{self, Access, Regime};
use mvirt_hyp::pgtable::stage2::{attrs, Memory};
use mvirt_hyp::pgtable::{Attrs, Desc};
use mvirt_sim::machine::{FakeMachine, Fault, SECRET};

const ROOT: Phys = Phys::new(0x10_0000);
const L2: Phys = Phys::new(0x10_1000);
const L3: Phys = Phys::new(0x10_2000);
const PAGE: u64 = 0x4000_0000;

fn ram() -> Attrs {
    attrs(Memory::Ram, false)
}

fn leaf(level: Level, oa: u64) -> u64 {
    Desc::<K4>::leaf(level, Phys::new(oa), ram()).map_or(0, Desc::raw)
}

fn table(table: Phys) -> u64 {
    Desc::<K4>::table(table).raw()
}

/// A host under a stage 2 that maps one page at `PAGE` by a table of each level.
fn machine() -> FakeMachine<K4> {
    let mut m = FakeMachine::new(2);
    for page in [ROOT, L2, L3] {
        m.clear_table(page);
    }
    m.publish();
    m.enable_host(ROOT, 1, Level::L1, 39);
    m.write_desc(L3, 0, leaf(Level::L3, PAGE));
    m.write_desc(L2, 0, table(L3));
    m.publish();
    m.write_desc(ROOT, 1, table(L2));
    m.publish();
    m.settle();
    assert_eq!(m.take_faults(), []);
    m
}

fn touch(m: &mut FakeMachine<K4>, cpu: usize) -> Option<u64> {
    m.host_translate(cpu, Ipa::new(PAGE))
        .map(|(phys, _)| phys.raw())
}

#[test]
fn a_tlb_forgets_nothing_by_itself() {
    let mut m = machine();
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    m.write_desc(L3, 0, 0);
    m.publish();
    assert_eq!((touch(&mut m, 0), touch(&mut m, 1)), (Some(PAGE), None));
    m.settle();
    assert!(matches!(m.take_faults()[..], [Fault::Stale(_)]));
    m.tlb_flush_host_page(Ipa::new(PAGE), Level::L3);
    assert_eq!(touch(&mut m, 0), None);
    m.settle();
    assert_eq!(m.take_faults(), []);
}

/// An invalidation with the wrong level or address invalidates nothing.
#[test]
fn a_flush_must_fit() {
    let mut m = machine();
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    m.write_desc(L3, 0, 0);
    m.publish();
    m.tlb_flush_host_page(Ipa::new(PAGE), Level::L2);
    m.tlb_flush_host_page(Ipa::new(PAGE + K4::BYTES), Level::L3);
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    m.tlb_flush_host_all();
    assert_eq!(touch(&mut m, 0), None);
}

#[test]
fn valid_over_valid() {
    let mut m = machine();
    m.write_desc(L3, 0, leaf(Level::L3, PAGE + K4::BYTES));
    assert_eq!(m.take_faults(), [Fault::Overwritten(L3, 0)]);
    m.write_desc(L2, 0, leaf(Level::L2, PAGE));
    assert_eq!(m.take_faults(), [Fault::Overwritten(L2, 0)]);
}

#[test]
fn make_without_invalidation() {
    let mut m = machine();
    assert_eq!(touch(&mut m, 1), Some(PAGE));
    m.write_desc(L2, 0, 0);
    m.publish();
    m.write_desc(L2, 0, leaf(Level::L2, PAGE));
    assert_eq!(m.take_faults(), [Fault::NotInvalidated(L2, 0)]);
}

#[test]
fn a_table_is_published_before_it_is_linked() {
    let mut m = machine();
    let next = Phys::new(0x10_3000);
    m.clear_table(next);
    m.write_desc(L2, 1, table(next));
    assert_eq!(m.take_faults(), [Fault::LinkedUnpublished(next)]);
}

#[test]
fn a_store_may_be_seen_late() {
    let mut m = machine();
    m.watch(vec![PAGE]);
    m.write_desc(L3, 0, 0);
    m.tlb_flush_host_page(Ipa::new(PAGE), Level::L3);
    assert_eq!(m.take_faults(), [Fault::FlushedUnpublished(L3)]);
    // One of the CPUs still saw the old entry, and keeps it.
    assert_eq!((touch(&mut m, 0), touch(&mut m, 1)), (Some(PAGE), None));
    assert_eq!(m.take_missed(), [PAGE]);
    m.settle();
    let faults = m.take_faults();
    assert!(
        matches!(faults[..], [Fault::LeftUnpublished(L3), Fault::Stale(_)]),
        "{faults:?}"
    );
}

#[test]
fn el2_writes_only_to_what_the_host_lost() {
    let mut m = machine();
    let page = Phys::new(PAGE);
    m.clear_table(page);
    assert_eq!(m.take_faults(), [Fault::WrittenWhileMapped(page)]);
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    m.write_desc(L3, 0, 0);
    m.publish();
    m.scrub(page);
    assert_eq!(m.take_faults(), [Fault::WrittenWhileReachable(page)]);
}

#[test]
fn a_table_is_not_reused_while_it_is_cached() {
    let mut m = machine();
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    m.write_desc(L2, 0, 0);
    m.publish();
    m.write_desc(L3, 1, leaf(Level::L3, 0x5000));
    assert_eq!(m.take_faults(), [Fault::ReusedWhileCached(L3)]);
    m.settle();
    let faults = m.take_faults();
    assert!(
        faults
            .iter()
            .any(|fault| matches!(fault, Fault::StalePointer(_))),
        "{faults:?}"
    );
    m.tlb_flush_host_page(Ipa::new(PAGE), Level::L3);
    m.settle();
    assert_eq!(m.take_faults(), []);
}

#[test]
fn entries_that_contradict_are_seen() {
    let mut m = machine();
    m.write_desc(L3, 1, leaf(Level::L3, PAGE + K4::BYTES));
    m.publish();
    let second = Ipa::new(PAGE + K4::BYTES);
    assert!(m.host_translate(0, second).is_some());
    m.write_desc(L2, 0, 0);
    m.publish();
    // The wrong address: the pointers go, the second page's leaf stays.
    m.tlb_flush_host_page(Ipa::new(PAGE), Level::L3);
    m.write_desc(L2, 0, leaf(Level::L2, PAGE));
    m.publish();
    assert_eq!(m.take_faults(), [Fault::NotInvalidated(L2, 0)]);
    assert_eq!(touch(&mut m, 0), Some(PAGE));
    assert!(matches!(m.take_faults()[..], [Fault::Conflict(..)]));
}

#[test]
fn dirty_lines_hide_and_show() {
    let mut m = FakeMachine::<K4>::new(1);
    let page = Phys::new(PAGE);
    m.host_store(page, 1, false);
    m.host_store(page, 2, true);
    assert_eq!((m.host_load(page, true), m.host_load(page, false)), (2, 1));
    m.write_desc(page, 0, 0);
    m.clear_table(page);
    // Zeroing by stores leaves in memory what was evicted before.
    assert_eq!(
        (m.host_load(page, true), m.host_load(page, false)),
        (0, SECRET)
    );
    m.scrub(page);
    assert_eq!((m.host_load(page, true), m.host_load(page, false)), (0, 0));
}

#[test]
fn el2_needs_its_own_map() {
    let mut m = FakeMachine::<K4>::new(1);
    let (root, l2, l3) = (ROOT, L2, L3);
    for page in [root, l2, l3] {
        m.clear_table(page);
    }
    let rw = stage1::attrs(Regime::El2, Access::ReadWrite, stage1::Memory::Normal);
    let own = |oa: Phys| Desc::<K4>::leaf(Level::L3, oa, rw).map_or(0, Desc::raw);
    for (n, page) in [(0x100, root), (0x101, l2), (0x102, l3)] {
        m.write_desc(l3, n, own(page));
    }
    m.write_desc(l2, 0, table(l3));
    m.write_desc(root, 0, table(l2));
    m.publish();
    m.enable_el2(root, Level::L1, 39, Linear::new(Va::new(0)));
    m.write_desc(l3, 3, 0);
    assert_eq!(m.take_faults(), []);
    let other = Phys::new(0x10_3000);
    m.clear_table(other);
    assert_eq!(m.take_faults(), [Fault::El2Unmapped(other)]);
    // Read-only does not do.
    let ro = stage1::attrs(Regime::El2, Access::Read, stage1::Memory::Normal);
    m.write_desc(
        l3,
        0x103,
        Desc::<K4>::leaf(Level::L3, other, ro).map_or(0, Desc::raw),
    );
    m.publish();
    m.clear_table(other);
    assert_eq!(m.take_faults(), [Fault::El2Unmapped(other)]);
    // A mapping that goes must be invalidated in EL2's TLB as well.
    m.write_desc(l3, 0x103, 0);
    m.publish();
    m.write_desc(l3, 0x103, own(other));
    assert_eq!(m.take_faults(), [Fault::NotInvalidated(l3, 0x103)]);
}
