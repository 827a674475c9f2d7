// SPDX-License-Identifier: GPL-2.0
//! Random stray accesses of the host's kernel and programs, on all CPUs, among the calls that change
//! whose a page is, against a plain model of what they find.

use std::collections::BTreeMap;

use crate::common::{donate, small};
use crate::decoy::{by_kernel, far, kernel, maps, CPUS};
use crate::sequences::{cases, el2_pages, on_layout, sequences};
use mvirt_abi::{Error, DECOYS_PER_CPU};
use mvirt_hyp::addr::{Granule, GuestIpa, Ipa, Phys, K16, K4};
use mvirt_hyp::memory::{Denied, Outcome};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::pgtable::View;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Rig;
use proptest::prelude::*;

/// An instruction on each CPU that touches up to as many pages as a CPU has decoys: it is done after
/// as many faults of its CPU, whatever the others do in between, who want the same pages and others.
fn progress<G: Granule>(turns: &[usize], wants: &[[u64; DECOYS_PER_CPU]]) {
    let layout = small::<G>().swap_remove(0);
    let booted = layout.config::<G>().boot::<G, _>(|mut rig| {
        let pfn = far(&rig);
        donate(&mut rig, pfn, 40);
        let mut next = wants.iter().cycle();
        let mut doing = [[0; DECOYS_PER_CPU]; CPUS].map(|_| *next.next().expect("cycle"));
        let mut faults = [0; CPUS];
        let mut done = 0;
        for &cpu in turns {
            let missing = doing[cpu]
                .into_iter()
                .find(|n| !maps(&mut rig, cpu, pfn + n));
            let Some(n) = missing else {
                doing[cpu] = *next.next().expect("cycle");
                faults[cpu] = 0;
                done += 1;
                continue;
            };
            assert!(kernel(&mut rig, cpu, pfn + n).1);
            faults[cpu] += 1;
            assert!(faults[cpu] <= DECOYS_PER_CPU, "CPU {cpu} does not get on");
        }
        rig.check();
        assert!(done >= turns.len().saturating_sub(CPUS * DECOYS_PER_CPU) / (DECOYS_PER_CPU + 1));
    });
    assert_eq!(booted, Ok(()));
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    #[cfg_attr(miri, ignore = "boots a machine: too slow")]
    fn every_cpu_gets_on(
        turns in prop::collection::vec(0..CPUS, 1..200),
        wants in prop::collection::vec(prop::array::uniform(0u64..40), 1..20),
        big: bool,
    ) {
        if big {
            progress::<K16>(&turns, &wants);
        } else {
            progress::<K4>(&turns, &wants);
        }
    }
}

/// What may happen to pages that decoys stand for.
#[derive(Clone, Debug)]
enum Step {
    /// The kernel on a CPU writes, or reads.
    Kernel(usize, u64, Option<u64>),
    /// A program on a CPU.
    Program(usize, u64, Access),
    /// The kernel on a CPU jumps there.
    Jump(usize, u64),
    Map(u64, u64),
    Share(u64),
    Unshare(u64),
    Relinquish(u64),
    Donate(u64, u64),
    Reclaim,
    Destroy(u64),
    Take,
    Give,
    Watch(Vec<u64>),
}

/// Pages around the end of a block.
const HOT: u64 = 24;

fn step() -> impl Strategy<Value = Step> {
    let cpu = || 0..CPUS;
    let page = || 0..HOT;
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Fetch)];
    prop_oneof![
        12 => (cpu(), page(), any::<Option<u64>>()).prop_map(|(c, at, v)| Step::Kernel(c, at, v)),
        4 => (cpu(), page(), access).prop_map(|(c, at, access)| Step::Program(c, at, access)),
        1 => (cpu(), page()).prop_map(|(c, at)| Step::Jump(c, at)),
        6 => (page(), 1u64..6).prop_map(|(at, nr)| Step::Map(at, nr)),
        1 => Just(Step::Map(HOT / 2, 512)),
        2 => page().prop_map(Step::Share),
        2 => page().prop_map(Step::Unshare),
        2 => page().prop_map(Step::Relinquish),
        3 => (page(), 1u64..10).prop_map(|(at, nr)| Step::Donate(at, nr)),
        3 => Just(Step::Reclaim),
        1 => (1u64..6).prop_map(Step::Destroy),
        2 => Just(Step::Take),
        1 => Just(Step::Give),
        1 => prop::collection::vec(page(), 0..4).prop_map(Step::Watch),
    ]
}

/// The plain model: which page is whose, what was last written where a decoy is, and which pages lost
/// theirs.
struct Run<'m, G> {
    rig: Rig<'m, G>,
    first: u64,
    /// What the host finds at a page where a decoy is.
    decoys: BTreeMap<u64, u64>,
    taken: Vec<Phys>,
    /// Times that the guest got pages.
    maps: u64,
    /// Pages that EL2 has, without those that were donated.
    pages: u64,
}

impl<G: Granule> Run<'_, G> {
    fn is_hosts(&self, pfn: u64) -> bool {
        let state = self.rig.memory.page(pfn).expect("it is RAM");
        state.host_may_access()
    }

    /// A guest page for each of the host's: they lie alike in their blocks.
    fn gfn(pfn: u64) -> u64 {
        pfn % (1 << 20)
    }

    fn kernel(&mut self, cpu: usize, pfn: u64, store: Option<u64>) {
        let own = Phys::new(pfn << G::SHIFT);
        if self.is_hosts(pfn) {
            assert_eq!(self.rig.access(cpu, own.raw(), Access::Write), Ok(own));
            return;
        }
        let (page, fault) = kernel(&mut self.rig, cpu, pfn);
        assert_ne!(page, own);
        if fault {
            // It stood for another page before, perhaps.
            let moved = |other: u64, rig: &Rig<'_, G>| {
                let entry = rig
                    .memory
                    .host_tree()
                    .walk(&rig.m, Ipa::new(other << G::SHIFT));
                !entry.is_some_and(|e| matches!(e.view, View::Leaf { .. }))
            };
            let gone: Vec<u64> = self
                .decoys
                .keys()
                .copied()
                .filter(|&other| moved(other, &self.rig))
                .collect();
            assert!(gone.len() <= 1, "one moves: {gone:x?}");
            gone.iter().for_each(|pfn| {
                self.decoys.remove(pfn);
            });
            assert_eq!(self.decoys.insert(pfn, 0), None);
        }
        let expected = self.decoys[&pfn];
        assert_eq!(self.rig.m.host_load(page, true), expected);
        if let Some(value) = store {
            self.rig.m.host_store(page, value, true);
            self.decoys.insert(pfn, value);
        }
    }

    fn program(&mut self, cpu: usize, pfn: u64, access: Access) {
        let own = Phys::new(pfn << G::SHIFT);
        let got = self.rig.access(cpu, own.raw(), access);
        if self.is_hosts(pfn) {
            assert_eq!(got, Ok(own));
        } else if access == Access::Fetch || !self.decoys.contains_key(&pfn) {
            assert_eq!(got, Err(Denied::Owned));
        } else {
            assert!(got.is_ok() && got != Ok(own));
            let page = got.expect("a decoy");
            assert_eq!(self.rig.m.host_load(page, true), self.decoys[&pfn]);
        }
    }

    fn run(&mut self, step: &Step) {
        let at = |n: &u64| self.first + n;
        let (memory, m) = (&mut self.rig.memory, &mut self.rig.m);
        match step {
            Step::Kernel(cpu, n, store) => self.kernel(*cpu, at(n), *store),
            Step::Program(cpu, n, access) => self.program(*cpu, at(n), *access),
            Step::Jump(cpu, n) => {
                let pfn = at(n);
                let by = by_kernel(*cpu, Access::Fetch);
                let ipa = Ipa::new(pfn << G::SHIFT);
                let got = self.rig.memory.host_fault(&mut self.rig.m, ipa, by);
                let denied = got == Outcome::Denied(Denied::Owned);
                assert_eq!(denied, !self.is_hosts(pfn));
            }
            Step::Map(n, nr) => {
                let pfn = at(n);
                let gfn = Self::gfn(pfn);
                let dying = self.rig.memory.guest_walk(&self.rig.m, 0, GuestIpa::new(0));
                let free = (pfn..pfn + nr).all(|p| self.rig.memory.page(p) == Ok(PageState::HOST));
                match memory_map(&mut self.rig, gfn, pfn, *nr) {
                    Ok(()) => self.maps += 1,
                    Err(Error::NoEntry) => assert_eq!(dying, Err(Error::NoEntry)),
                    Err(Error::NoMemory) => assert!(self.rig.memory.pool_pages() < 20),
                    Err(_) => assert!(!free),
                }
            }
            Step::Share(n) => {
                let (pfn, gfn) = (at(n), Self::gfn(at(n)));
                let got = self.rig.memory.guest_share_host(&mut self.rig.m, 0, gfn);
                assert!(got.is_err() || got == Ok(pfn));
            }
            Step::Unshare(n) => {
                let (pfn, gfn) = (at(n), Self::gfn(at(n)));
                let got = self.rig.memory.guest_unshare_host(&mut self.rig.m, 0, gfn);
                assert!(got.is_err() || got == Ok(pfn));
            }
            Step::Relinquish(n) => {
                let (pfn, gfn) = (at(n), Self::gfn(at(n)));
                let got = self.rig.memory.guest_relinquish(&mut self.rig.m, 0, gfn);
                assert!(got.is_err() || got == Ok(pfn));
            }
            Step::Donate(n, nr) => {
                let _ = memory.pool_donate(m, at(n), *nr);
            }
            Step::Reclaim => {
                let _ = memory.pool_reclaim(m);
            }
            Step::Destroy(steps) => {
                for _ in 0..*steps {
                    if !self.rig.guest_destroy_step(0).expect("there is one") {
                        self.rig.guest_create(0, true, 40).expect("there was room");
                        break;
                    }
                }
            }
            Step::Take => {
                let taken = memory.page_take(m, Use::Vm).ok();
                self.taken.extend(taken);
            }
            Step::Give => {
                if let Some(page) = self.taken.pop() {
                    memory.page_give(m, page).expect("it is EL2's");
                }
            }
            Step::Watch(list) => {
                let list = list.iter().map(|n| at(n) << G::SHIFT).collect();
                m.watch(list);
            }
        }
        self.after();
    }

    fn after(&mut self) {
        self.rig.settle();
        self.rig.check();
        // Pages that came home took theirs along; no other went.
        let state = |pfn: &u64| self.rig.memory.page(*pfn).expect("it is RAM");
        let home: Vec<u64> = self
            .decoys
            .keys()
            .copied()
            .filter(|pfn| state(pfn).host_may_access())
            .collect();
        home.iter().for_each(|pfn| {
            self.decoys.remove(pfn);
        });
        let mut seen = Vec::new();
        for (&pfn, &value) in &self.decoys {
            let ipa = Ipa::new(pfn << G::SHIFT);
            for cpu in 0..CPUS {
                let (page, _) = self.rig.m.host_translate(cpu, ipa).expect("it is mapped");
                assert_eq!(self.rig.m.host_load(page, true), value, "CPU {cpu}");
                if cpu == 0 {
                    seen.push(page);
                }
            }
        }
        seen.sort();
        let all = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), all, "a decoy is at two addresses");
        assert_eq!(self.rig.m.host_decoys() as usize, all);
        let donated = self.rig.memory.donated_pages();
        assert_eq!(el2_pages(&self.rig), self.pages + donated);
    }
}

fn memory_map<G: Granule>(rig: &mut Rig<'_, G>, gfn: u64, pfn: u64, nr: u64) -> Result<(), Error> {
    rig.memory.guest_map(&mut rig.m, 0, gfn, pfn, nr, 0)
}

fn sequence<G: Granule>(layout: usize, fwb: bool, steps: &[Step]) {
    on_layout::<G>(layout, fwb, |_, mut rig| {
        let pfn = far(&rig);
        let block = G::ENTRIES as u64;
        let first = (pfn - 512).next_multiple_of(block.min(512)) - HOT / 2;
        donate(&mut rig, (first - 64) & !15, 32);
        rig.guest_create(0, true, 40).expect("room");
        let mut run = Run {
            rig,
            first,
            decoys: BTreeMap::new(),
            taken: Vec::new(),
            maps: 0,
            pages: 0,
        };
        run.pages = el2_pages(&run.rig) - run.rig.memory.donated_pages();
        // A guest with a page or two, so that there is always something to stray to.
        run.run(&Step::Map(HOT / 2 - 1, 2));
        assert_eq!(run.maps, 1);
        for step in steps {
            run.run(step);
        }
        while run.rig.guest_destroy_step(0).expect("there is one") {}
        while let Some(page) = run.taken.pop() {
            let given = run.rig.memory.page_give(&mut run.rig.m, page);
            given.expect("it is EL2's");
        }
        while run.rig.memory.pool_reclaim(&mut run.rig.m).is_ok() {
            run.rig.settle();
        }
        run.after();
        assert_eq!(run.rig.memory.donated_pages(), 0);
        assert_eq!((run.decoys.len(), run.rig.m.host_decoys()), (0, 0));
    });
}

sequences!(
    decoys_among_other_calls_4k,
    decoys_among_other_calls_16k,
    200,
    1..60
);
