// SPDX-License-Identifier: GPL-2.0
//! The tables that decoys need: kept for them, taken over by the host, and when they run short.

use mvirt_abi::{PhysRange, Stat, DECOYS_PER_CPU};
use mvirt_hyp::addr::{Granule, Ipa, Level, Phys, K16, K4};
use mvirt_hyp::page::Use;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{Config, Rig};

use super::{far, kernel, CPUS};
use crate::common::{donate, small, GIB};

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
pub(super) fn ragged<R>(test: impl FnOnce(&mut Rig<'_, K4>, &[PhysRange]) -> R) -> R {
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
pub(super) fn run_short(rig: &mut Rig<'_, K4>, ram: &[PhysRange]) {
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
