// SPDX-License-Identifier: GPL-2.0
//! What the host's kernel meets where it has no right to look.

use crate::common::{small, GIB};
use mvirt_abi::{Error, PhysRange, Stat, DECOYS_PER_CPU};
use mvirt_hyp::addr::{Granule, Ipa, Level, Phys, K16, K4};
use mvirt_hyp::memory::{Accessor, Denied, Outcome};
use mvirt_hyp::page::{PageState, Use};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{program, Config, Rig};

pub const CPUS: usize = 4;

pub fn by_kernel(cpu: usize, access: Access) -> Accessor {
    Accessor {
        kernel: Some(cpu),
        fetch: access == Access::Fetch,
    }
}

/// The first of 600 pages of the host's that are not near anything: the 512 from it on are a
/// block's with 4 KiB pages.
pub fn far<G: Granule>(rig: &Rig<'_, G>) -> u64 {
    let ram = rig.memory.ram();
    let range = (0..ram.nr())
        .filter_map(|n| ram.range(n))
        .max_by_key(|range| range.len())
        .expect("there is RAM");
    (range.end - 600) & !511
}

pub fn donate<G: Granule>(rig: &mut Rig<'_, G>, pfn: u64, nr: u64) {
    rig.memory
        .pool_donate(&mut rig.m, pfn, nr)
        .expect("it is the host's alone");
    rig.settle();
}

/// The kernel on `cpu` reads or writes a page: where it ends up, and whether that took a fault.
pub fn kernel<G: Granule>(rig: &mut Rig<'_, G>, cpu: usize, pfn: u64) -> (Phys, bool) {
    let ipa = Ipa::new(pfn << G::SHIFT);
    if let Some((phys, _)) = rig.m.host_translate(cpu, ipa) {
        return (phys, false);
    }
    let by = by_kernel(cpu, Access::Read);
    let outcome = rig.memory.host_fault(&mut rig.m, ipa, by);
    assert_eq!(outcome, Outcome::Decoy);
    rig.settle();
    let found = rig.m.host_translate(cpu, ipa).expect("it was mapped");
    let state = rig.memory.page(found.0.pfn::<G>());
    assert_eq!(state, Ok(PageState::el2(Use::Decoy)));
    (found.0, true)
}

pub fn maps<G: Granule>(rig: &mut Rig<'_, G>, cpu: usize, pfn: u64) -> bool {
    rig.m
        .host_translate(cpu, Ipa::new(pfn << G::SHIFT))
        .is_some()
}

fn on_each(test: impl Fn(&mut Rig<'_, K4>), test_16k: impl Fn(&mut Rig<'_, K16>)) {
    let layout = small::<K4>().swap_remove(0);
    layout
        .config::<K4>()
        .boot::<K4, _>(|mut rig| test(&mut rig))
        .expect("boots");
    let layout = small::<K16>().swap_remove(0);
    layout
        .config::<K16>()
        .boot::<K16, _>(|mut rig| test_16k(&mut rig))
        .expect("boots");
}

fn zeros<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 512);
    let own = Phys::new(pfn << G::SHIFT);
    assert!(rig.access(0, own.raw(), Access::Read).is_err(), "a program");
    let (decoy, _) = kernel(rig, 0, pfn);
    assert_ne!(decoy, own);
    assert_eq!(rig.m.host_load(decoy, true), 0);
    // What it writes stays there until the decoy is somewhere else.
    rig.m.host_store(decoy, 77, true);
    assert_eq!(kernel(rig, 1, pfn), (decoy, false), "the other CPU's too");
    let mut seen = vec![decoy];
    for n in 1..20 {
        let (other, _) = kernel(rig, 0, pfn + n);
        assert_ne!(other, Phys::new((pfn + n) << G::SHIFT));
        for cacheable in [true, false] {
            assert_eq!(rig.m.host_load(other, cacheable), 0, "page {n}");
        }
        rig.m.host_store(other, n, n % 2 == 0);
        if !seen.contains(&other) {
            seen.push(other);
        }
        rig.check();
    }
    assert_eq!(seen.len(), DECOYS_PER_CPU, "its own");
    // It moved on: the first page has none now.
    assert!(!maps(rig, 0, pfn));
    assert!(rig.access(0, own.raw(), Access::Read).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_kernel_reads_zeros_each_time() {
    on_each(zeros::<K4>, zeros::<K16>);
}

/// One decoy, and what moves it.
fn moves<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 64);
    let (decoy, _) = kernel(rig, 2, pfn);
    // Other CPUs' faults leave it where it is, be they as many as they are.
    for n in 1..40 {
        kernel(rig, [0, 1, 3][n as usize % 3], pfn + n);
    }
    assert_eq!(kernel(rig, 2, pfn), (decoy, false));
    // Nor do those of its own CPU, as long as others are idle or were mapped before.
    for n in 41..40 + DECOYS_PER_CPU as u64 {
        assert!(kernel(rig, 2, pfn + n).1);
        assert!(maps(rig, 2, pfn), "{n}");
    }
    assert_eq!(
        kernel(rig, 2, pfn + 40),
        (decoy, true),
        "the longest mapped"
    );
    assert!(!maps(rig, 2, pfn));
    let ipa = Ipa::new((pfn + 40) << G::SHIFT);
    // A program reads it, when it is there.
    assert_eq!(rig.access(0, ipa.raw(), Access::Read), Ok(decoy));
    assert_eq!(rig.access(0, ipa.raw(), Access::Write), Ok(decoy));
    // Nobody executes it, and asks for ever.
    for at in [ipa, Ipa::new(pfn << G::SHIFT)] {
        let fetches = [program(Access::Fetch), by_kernel(1, Access::Fetch)];
        for by in fetches {
            let got = rig.memory.host_fault(&mut rig.m, at, by);
            assert_eq!(got, Outcome::Denied(Denied::Owned), "{by:?}");
        }
        let got = rig.access(3, at.raw(), Access::Fetch);
        assert_eq!(got, Err(Denied::Owned));
    }
    // Two CPUs that met at the page: the second finds it mapped.
    for by in [by_kernel(3, Access::Read), program(Access::Read)] {
        let got = rig.memory.host_fault(&mut rig.m, ipa, by);
        assert_eq!(got, Outcome::Retry);
    }
    rig.check();
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_decoy_moves_for_its_own_cpu_alone() {
    on_each(moves::<K4>, moves::<K16>);
}

fn home<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, pfn, 32);
    for n in 0..8 {
        kernel(rig, n as usize % CPUS, pfn + 4 * n);
    }
    loop {
        match rig.memory.pool_reclaim(&mut rig.m) {
            Ok((back, _)) => {
                rig.settle();
                rig.check();
                let ipa = back << G::SHIFT;
                for cpu in 0..CPUS {
                    let at = rig
                        .access(cpu, ipa, Access::Write)
                        .expect("the host's again");
                    assert_eq!(at, Phys::new(ipa), "CPU {cpu}");
                }
            }
            Err(Error::NoEntry) => break,
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(rig.m.host_decoys(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_page_comes_home_without_one() {
    on_each(home::<K4>, home::<K16>);
}

/// Guests' pages: shared, relinquished, and when the guest is taken apart.
fn guests<G: Granule>(rig: &mut Rig<'_, G>) {
    let pfn = far(rig);
    donate(rig, (pfn - 64) & !15, 32);
    rig.guest_create(0, true, 36).expect("room");
    for n in 0..3 {
        rig.memory
            .guest_map(&mut rig.m, 0, 16 + n, pfn + n, 1, 0)
            .expect("the host's alone");
    }
    rig.settle();
    for n in 0..3 {
        assert_ne!(kernel(rig, 0, pfn + n).0, Phys::new((pfn + n) << G::SHIFT));
    }
    let at = pfn << G::SHIFT;
    let own = Ok(Phys::new(at));
    for _ in 0..2 {
        rig.memory
            .guest_share_host(&mut rig.m, 0, 16)
            .expect("its own");
        rig.settle();
        assert_eq!(rig.access(1, at, Access::Write), own);
        rig.memory
            .guest_unshare_host(&mut rig.m, 0, 16)
            .expect("its own");
        rig.settle();
        assert_eq!(rig.access(1, at, Access::Write), Err(Denied::Owned));
        assert_ne!(Ok(kernel(rig, 1, pfn).0), own);
    }
    rig.memory
        .guest_relinquish(&mut rig.m, 0, 17)
        .expect("its own");
    rig.settle();
    rig.guest_destroy(0);
    rig.check();
    assert_eq!(rig.m.host_decoys(), 0);
    for n in 0..3 {
        let ipa = (pfn + n) << G::SHIFT;
        assert_eq!(rig.access(1, ipa, Access::Read), Ok(Phys::new(ipa)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_guests_page_comes_home_without_one() {
    on_each(guests::<K4>, guests::<K16>);
}

/// Where the host's stage 2 has no table, as in the blocks of a guest's memory, a decoy finds one, with
/// the pool used up: nothing else of the host's is unmapped. The tables are there again for the next.
fn dry<G: Granule>(rig: &mut Rig<'_, G>, blocks: &[u64]) {
    let block = G::ENTRIES as u64;
    let spare = blocks[0] - block;
    donate(rig, spare, 64);
    rig.guest_create(0, true, 36).expect("room");
    for (n, &pfn) in blocks.iter().enumerate() {
        let mut done = 0;
        while done < block {
            let (gfn, nr) = (block * (n as u64 + 1) + done, 512.min(block - done));
            rig.memory
                .guest_map(&mut rig.m, 0, gfn, pfn + done, nr, 0)
                .expect("the host's alone");
            done += nr;
        }
        rig.settle();
        let entry = rig
            .memory
            .host_tree()
            .walk(&rig.m, Ipa::new(pfn << G::SHIFT));
        assert_eq!(entry.map(|entry| entry.level), Some(Level::L2));
    }
    let mut taken = Vec::new();
    while let Ok(page) = rig.memory.page_take(&mut rig.m, Use::Vm) {
        taken.push(page);
    }
    let tables = |rig: &Rig<'_, G>| {
        let stat = |stat| rig.memory.stat(stat).expect("it is kept") >> G::SHIFT;
        (stat(Stat::HostTableBytes), stat(Stat::DecoyBytes))
    };
    let (host, kept) = tables(rig);
    let free = rig.memory.pool_pages();
    let host_page = (spare - block) << G::SHIFT;
    assert!(rig.access(0, host_page, Access::Write).is_ok());
    let flushes = rig.m.flushes();
    // Every CPU, each of its decoys in a block of its own.
    let spot =
        |cpu: usize, n: usize| blocks[(cpu * DECOYS_PER_CPU + n) % blocks.len()] + cpu as u64;
    for cpu in 0..CPUS {
        for n in 0..DECOYS_PER_CPU {
            assert!(kernel(rig, cpu, spot(cpu, n)).1);
            rig.check();
        }
    }
    assert_eq!(rig.m.flushes(), flushes, "nothing was unmapped");
    for cpu in 0..CPUS {
        for n in 0..DECOYS_PER_CPU {
            assert!(!kernel(rig, cpu, spot(cpu, n)).1, "they are all there");
        }
    }
    let used = blocks.len().min(CPUS * DECOYS_PER_CPU) as u64;
    assert_eq!(tables(rig), (host + used, kept - used));
    assert_eq!(rig.memory.pool_pages(), free);
    // They move on, one by one: no table is lost.
    for round in 0..40 {
        let (cpu, n) = (round % CPUS, round / CPUS);
        kernel(rig, cpu, spot(cpu + n, n) + 17 + round as u64);
        rig.check();
        assert_eq!(tables(rig).0 + tables(rig).1, host + kept);
    }
    for page in taken {
        rig.memory.page_give(&mut rig.m, page).expect("it is EL2's");
    }
    rig.guest_destroy(0);
    rig.check();
    assert_eq!(rig.m.host_decoys(), 0);
    let stat = rig.memory.stat(Stat::DecoyBytes);
    assert_eq!(stat, Some(kept << G::SHIFT), "all are kept again");
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_decoy_finds_its_table() {
    fn run<G: Granule>() {
        let block = G::level_size(Level::L2);
        let ram = [PhysRange {
            base: GIB,
            size: 24 * block,
        }];
        let config = Config::new::<G>(&ram, 0).expect("there is room");
        let booted = config.boot::<G, _>(|mut rig| {
            let blocks = (7..23).map(|n| (GIB + n * block) >> G::SHIFT);
            dry(&mut rig, &blocks.collect::<Vec<_>>());
        });
        assert_eq!(booted, Ok(()));
    }
    run::<K4>();
    run::<K16>();
}

/// The pages that the host uses in a table that was a decoy's keep it: the decoys find another, and in
/// the end one that is free again.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_table_that_the_host_took_over() {
    let layout = small::<K4>().swap_remove(0);
    let check = layout.config::<K4>().boot::<K4, _>(|mut rig| {
        let pfn = far(&rig) & !511;
        donate(&mut rig, pfn - 1024, 16);
        rig.guest_create(0, true, 36).expect("room");
        let got = rig.memory.guest_map(&mut rig.m, 0, 512, pfn - 512, 512, 0);
        assert_eq!(got, Ok(()));
        rig.settle();
        let bytes = |rig: &Rig<'_, K4>| rig.memory.stat(Stat::DecoyBytes).expect("it is kept");
        let all = bytes(&rig);
        kernel(&mut rig, 0, pfn - 512);
        kernel(&mut rig, 1, pfn - 511);
        assert_eq!(bytes(&rig), all - 4096, "one table, for both");
        rig.memory
            .guest_relinquish(&mut rig.m, 0, 512 + 7)
            .expect("its own");
        rig.settle();
        let ipa = (pfn - 512 + 7) << 12;
        assert!(rig.access(2, ipa, Access::Write).is_ok());
        // The first decoy moves away, then the second: the table is the host's.
        for cpu in 0..2 {
            for n in 0..DECOYS_PER_CPU as u64 {
                kernel(&mut rig, cpu, pfn - 1024 + n + 4 * cpu as u64);
            }
            rig.check();
        }
        assert_eq!(bytes(&rig), all);
        assert_eq!(rig.access(3, ipa, Access::Write), Ok(Phys::new(ipa)));
        rig.guest_destroy(0);
        rig.check();
        while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
            rig.settle();
        }
        rig.check();
        assert_eq!((bytes(&rig), rig.m.host_decoys()), (all, 0));
    });
    assert_eq!(check, Ok(()));
}

/// A machine on which tables run short: ranges of RAM with ragged ends, and MMIO beside each.
fn ragged<R>(test: impl FnOnce(&mut Rig<'_, K4>, &[PhysRange]) -> R) -> R {
    let mut ram = small::<K4>().swap_remove(0).ram;
    let start = ram[0].base;
    ram.extend((1..60).map(|n| PhysRange {
        base: start + (n << 30) + 4096,
        size: 2 * 4096,
    }));
    let config = Config {
        pa_bits: 48,
        ..Config::new::<K4>(&ram, 1 << 20).expect("there is room")
    };
    let booted = config.boot::<K4, _>(|mut rig| test(&mut rig, &ram));
    booted.expect("it boots")
}

/// Uses up all tables.
fn run_short(rig: &mut Rig<'_, K4>, ram: &[PhysRange]) {
    for range in ram.iter().skip(1) {
        for at in [range.base - 1, range.base, range.base + range.size] {
            assert_eq!(rig.access(1, at, Access::Write), Ok(Phys::new(at)));
            rig.check();
        }
    }
}

/// When tables run short everything is unmapped, decoys too, and what they had is kept again.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn decoys_go_when_tables_run_short() {
    ragged(|rig, ram| {
        let pfn = far(rig);
        donate(rig, pfn, 16);
        for n in 0..16 {
            kernel(rig, n as usize % CPUS, pfn + n);
        }
        assert_eq!(rig.m.host_decoys(), 16);
        let bytes = rig.memory.stat(Stat::DecoyBytes);
        run_short(rig, ram);
        assert_eq!(rig.m.host_decoys(), 0, "all of RAM was unmapped");
        assert_eq!(rig.memory.stat(Stat::DecoyBytes), bytes);
        for n in 0..16 {
            let (page, _) = kernel(rig, n as usize % CPUS, pfn + n);
            assert_eq!(rig.m.host_load(page, true), 0);
            rig.check();
        }
    });
}

/// The table of accesses in Documentation/page-states.rst.
pub fn accesses() -> Vec<Vec<String>> {
    let rows = [
        ("EL1, data", Some(0), false),
        ("EL1, fetch", Some(0), true),
        ("EL0, data", None, false),
        ("EL0, fetch", None, true),
    ];
    let outcome = |by: Accessor, there: bool| {
        let mut seen = None;
        let layout = small::<K4>().swap_remove(0);
        let booted = layout.config::<K4>().boot::<K4, _>(|mut rig| {
            let pfn = far(&rig);
            donate(&mut rig, pfn, 16);
            if there {
                kernel(&mut rig, 1, pfn);
            }
            let ipa = Ipa::new(pfn << 12);
            seen = Some(rig.memory.host_fault(&mut rig.m, ipa, by));
        });
        booted.expect("it boots");
        match seen {
            Some(Outcome::Denied(Denied::Owned)) => "Denied".into(),
            Some(outcome) => format!("{outcome:?}"),
            None => panic!("no outcome"),
        }
    };
    let row = |(name, kernel, fetch): (&str, Option<usize>, bool)| {
        let by = Accessor { kernel, fetch };
        vec![name.into(), outcome(by, false), outcome(by, true)]
    };
    rows.map(row).to_vec()
}

/// The table of states there.
pub fn states() -> Vec<Vec<String>> {
    let state = |name: &str, event: usize| {
        ragged(|rig, ram| {
            // The guest's pages 0 and up are these of the host's.
            let pfn = far(rig);
            donate(rig, pfn - 64, 32);
            rig.guest_create(0, true, 36).expect("room");
            let map = rig.memory.guest_map(&mut rig.m, 0, 0, pfn, 64, 0);
            map.expect("the host's alone");
            rig.settle();
            let (decoy, _) = kernel(rig, 0, pfn);
            match name {
                "Idle" => {
                    rig.memory.guest_relinquish(&mut rig.m, 0, 0).expect("own");
                    rig.settle();
                }
                "Mapped" => (),
                _ => (1..4).for_each(|n| {
                    kernel(rig, 0, pfn + n);
                }),
            }
            match event {
                // Until it is this one's turn, if it is idle.
                0 if name == "Idle" => (4..8).for_each(|n| {
                    kernel(rig, 0, pfn + n);
                }),
                0 => {
                    kernel(rig, 0, pfn + 8);
                }
                1 => (9..40).for_each(|n| {
                    kernel(rig, 1 + n as usize % (CPUS - 1), pfn + n);
                }),
                2 => {
                    // It is home already, if it is idle.
                    let _home = rig.memory.guest_relinquish(&mut rig.m, 0, 0);
                    rig.settle();
                }
                _ => run_short(rig, ram),
            }
            rig.check();
            let mut at = None;
            let tree = rig.memory.host_tree();
            let found = tree.leaves(&rig.m, Ipa::new(pfn << 12), 64 << 12, |ipa, _, oa, _| {
                at = at.or((oa == decoy).then(|| ipa.pfn::<K4>()));
                true
            });
            found.expect("it is RAM");
            match at {
                None => "Idle".into(),
                Some(at) if at == pfn || name == "Idle" => "Mapped".into(),
                Some(_) => "Moved".into(),
            }
        })
    };
    let row = |name: &str| {
        let mut row = vec![name.to_string()];
        row.extend((0..4).map(|event| state(name, event)));
        row
    };
    ["Idle", "Mapped", "Longest"].map(row).to_vec()
}
