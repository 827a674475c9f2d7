// SPDX-License-Identifier: GPL-2.0
//! Stage-2 faults: blocks, splits and their windows, several CPUs, exhaustion.

use crate::common::{GIB, MIB};
use mvirt_abi::{Error, PhysRange, Stat};
use mvirt_hyp::addr::{Granule, Ipa, Level, Phys, K16, K4};
use mvirt_hyp::memory::{Denied, Outcome};
use mvirt_hyp::pool::RESERVE;
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{program, Config, Rig};

fn with_rig<G: Granule, R>(
    ram: &[PhysRange],
    pa_bits: u32,
    with: impl FnOnce(Rig<'_, G>) -> R,
) -> R {
    let config = Config {
        pa_bits,
        ..Config::new::<G>(ram, MIB).expect("there is room")
    };
    config.boot::<G, R>(with).expect("it boots")
}

const RAM: [PhysRange; 1] = [PhysRange {
    base: GIB,
    size: 128 * MIB,
}];

/// One CPU has the block split; the others run into the window between break and make. They fault,
/// wait, and go on: no access that is the host's is ever denied.
fn window<G: Granule>() {
    with_rig::<G, ()>(&RAM, 40, |mut rig| {
        let block = G::level_size(Level::L2);
        let at = GIB + 2 * block;
        let pfn = (at + block / 2) >> G::SHIFT;
        let others = [
            at,
            at + block - 1,
            at + block / 2 - 1,
            at + block / 2 + G::BYTES,
        ];
        for cpu in 0..4 {
            for ipa in others {
                assert!(rig.access(cpu, ipa, Access::Write).is_ok());
            }
        }
        rig.m.watch(others.to_vec());
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 1).is_ok());
        let missed = rig.settle();
        assert_eq!(missed.len(), others.len(), "the window was seen by all");
        for ipa in missed {
            for cpu in 0..4 {
                // The lock is free: the entry is there.
                let outcome =
                    rig.memory
                        .host_fault(&mut rig.m, Ipa::new(ipa), program(Access::Read));
                assert_eq!(outcome, Outcome::Retry);
                assert!(rig.access(cpu, ipa, Access::Read).is_ok());
            }
        }
        assert_eq!(rig.leaf_level(at), Some(Level::L3));
        // Back again: the join has a window too.
        assert_eq!(rig.memory.pool_reclaim(&mut rig.m).map(|(n, _)| n), Ok(pfn));
        let missed = rig.settle();
        assert_eq!(missed.len(), others.len());
        assert!(rig.leaf_level(at) < Some(Level::L3));
        for ipa in missed {
            let outcome = rig
                .memory
                .host_fault(&mut rig.m, Ipa::new(ipa), program(Access::Read));
            assert_eq!(outcome, Outcome::Retry);
        }
        rig.check();
    });
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn cpus_wait_in_the_window_4k() {
    window::<K4>();
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn cpus_wait_in_the_window_16k() {
    window::<K16>();
}

/// Two CPUs fault on one unmapped block: the first maps it, the second finds it mapped.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn two_cpus_fault_on_one_block() {
    with_rig::<K4, ()>(&RAM, 40, |mut rig| {
        let ipa = 0x0900_0000;
        let both = [Ipa::new(ipa), Ipa::new(ipa + 64)];
        for (cpu, ipa) in both.into_iter().enumerate() {
            assert_eq!(rig.m.host_translate(cpu, ipa), None);
        }
        let mut fault = |n: usize| {
            rig.memory
                .host_fault(&mut rig.m, both[n], program(Access::Read))
        };
        assert_eq!((fault(0), fault(1)), (Outcome::Mapped, Outcome::Retry));
        rig.settle();
        rig.check();
    });
}

/// Each neighbour of a donated page stays the host's while the page itself is out of reach from the
/// very moment that the call returns, from every CPU's TLB.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn no_tlb_keeps_a_donated_page() {
    with_rig::<K4, ()>(&RAM, 40, |mut rig| {
        let base = (GIB + 64 * MIB) >> 12;
        for (n, nr) in [(0, 1), (5, 3), (510, 4), (1024, 512), (1535, 2)] {
            let pages: Vec<u64> = (base + n - 1..base + n + nr + 1)
                .map(|pfn| pfn << 12)
                .collect();
            for cpu in 0..4 {
                for &ipa in &pages {
                    // Some are another donation's by now.
                    let _ = rig.m.host_translate(cpu, Ipa::new(ipa));
                }
            }
            rig.m.watch(pages);
            if rig.memory.pool_donate(&mut rig.m, base + n, nr).is_ok() {
                for cpu in 0..4 {
                    for pfn in base + n..base + n + nr {
                        assert_eq!(rig.m.host_translate(cpu, Ipa::new(pfn << 12)), None);
                        assert!(!rig.m.tlb(cpu).reaches(Phys::new(pfn << 12)));
                    }
                }
            }
            rig.settle();
            rig.check();
        }
    });
}

/// What is not RAM comes in the largest block that touches no RAM, and may be fetched from: it may be
/// EFI's runtime code, or memory that was hot-added.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn mmio_is_mapped_in_the_largest_block() {
    let ram = [
        PhysRange {
            base: GIB + 4 * MIB,
            size: 60 * MIB,
        },
        PhysRange {
            base: 3 * GIB + 0x5000,
            size: 96 * MIB,
        },
    ];
    with_rig::<K4, ()>(&ram, 40, |mut rig| {
        let rows = [
            (0x0900_0000, Level::L1),
            (GIB + 2 * MIB + 5, Level::L2),
            (GIB + 64 * MIB, Level::L2),
            (2 * GIB + 7, Level::L1),
            (3 * GIB + 0x4fff, Level::L3),
            (3 * GIB + 0x5000 + 96 * MIB, Level::L3),
            (3 * GIB + 98 * MIB, Level::L2),
            ((1 << 40) - 1, Level::L1),
        ];
        for (ipa, level) in rows {
            for access in [Access::Fetch, Access::Write, Access::Read] {
                let got = rig.access(0, ipa, access);
                assert_eq!(got, Ok(Phys::new(ipa)), "{ipa:#x} {access:?}");
            }
            assert_eq!(rig.leaf_level(ipa), Some(level), "{ipa:#x}");
            rig.check();
        }
    });
}

/// With 16 KiB pages there are no blocks at level 1.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn mmio_blocks_16k() {
    with_rig::<K16, ()>(&RAM, 40, |mut rig| {
        assert!(rig.access(0, 0x0900_0000, Access::Read).is_ok());
        assert_eq!(rig.leaf_level(0x0900_0000), Some(Level::L2));
        assert!(rig.access(0, (1 << 40) - 1, Access::Read).is_ok());
        rig.check();
    });
}

/// A host that touches MMIO all over the place takes all tables: then the MMIO that was mapped
/// before goes, and every access is served in the end.
fn mmio_exhaustion<G: Granule>(ram: &[PhysRange], pa_bits: u32, spots: &[u64]) {
    with_rig::<G, ()>(ram, pa_bits, |mut rig| {
        let mut least = u64::MAX;
        for round in 0..2 {
            for &ipa in spots {
                assert_eq!(
                    rig.access(round, ipa, Access::Write),
                    Ok(Phys::new(ipa)),
                    "{ipa:#x}"
                );
                least = least.min(rig.memory.pool_pages());
            }
            rig.check();
        }
        assert!(least < RESERVE, "the pool was never short: {least}");
        // The host's RAM is there as before.
        for at in [ram[0].base, ram[0].base + ram[0].size - 1] {
            assert!(rig.access(0, at, Access::Fetch).is_ok());
        }
        rig.check();
    });
}

/// Ranges with ragged ends, far apart: the MMIO beside each needs tables of its own.
fn ragged(n: u64, apart: u64, page: u64) -> Vec<PhysRange> {
    let first = PhysRange {
        base: GIB,
        size: 64 * MIB,
    };
    let more = (1..n).map(|n| PhysRange {
        base: GIB + n * apart + page,
        size: 2 * page,
    });
    std::iter::once(first).chain(more).collect()
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn mmio_exhaustion_4k() {
    let ram = ragged(60, GIB, 4096);
    let spots: Vec<u64> = ram.iter().skip(1).map(|range| range.base - 1).collect();
    mmio_exhaustion::<K4>(&ram, 48, &spots);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn mmio_exhaustion_16k() {
    let ram = ragged(40, 64 * MIB, 16384);
    let spots: Vec<u64> = ram.iter().skip(1).map(|range| range.base - 1).collect();
    mmio_exhaustion::<K16>(&ram, 40, &spots);
}

/// As above with no MMIO to give up: RAM itself is unmapped, and comes back.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn ram_exhaustion() {
    let ram = ragged(60, GIB, 4096);
    with_rig::<K4, ()>(&ram, 48, |mut rig| {
        for _ in 0..3 {
            for range in &ram {
                assert!(rig.access(0, range.base, Access::Read).is_ok());
                assert!(rig
                    .access(1, range.base + range.size - 1, Access::Fetch)
                    .is_ok());
            }
            rig.check();
        }
        // A donation finds its tables even so.
        let pfn = (GIB + 32 * MIB) >> 12;
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 16).is_ok());
        rig.settle();
        rig.check();
    });
}

/// After everything was unmapped RAM comes back in level-2 blocks, which join to level-1 blocks.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn blocks_join_up_to_level_1() {
    let ram = [PhysRange {
        base: GIB,
        size: 2 * GIB,
    }];
    with_rig::<K4, ()>(&ram, 40, |mut rig| {
        let at = 2 * GIB;
        assert_eq!(rig.leaf_level(at), Some(Level::L1));
        let tables = rig.memory.stat(Stat::HostTableBytes);
        let pfn = (at + 77 * MIB) >> 12;
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 1).is_ok());
        assert_eq!(rig.leaf_level(at), Some(Level::L2));
        assert_eq!(rig.leaf_level(at + 77 * MIB + 4096), Some(Level::L3));
        assert_eq!(
            rig.memory.stat(Stat::HostTableBytes),
            tables.map(|t| t + 2 * 4096)
        );
        assert!(rig.memory.pool_reclaim(&mut rig.m).is_ok());
        rig.settle();
        assert_eq!(rig.leaf_level(at), Some(Level::L1));
        assert_eq!(rig.memory.stat(Stat::HostTableBytes), tables);
        rig.check();
    });
}

/// A share changes nothing of the host's mapping: it stays a block.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn shares_split_nothing() {
    with_rig::<K4, ()>(&RAM, 40, |mut rig| {
        let at = GIB + 64 * MIB;
        let level = rig.leaf_level(at);
        let flushes = rig.m.flushes();
        assert!(rig.memory.host_share_el2(&mut rig.m, at >> 12).is_ok());
        assert_eq!(rig.leaf_level(at), level);
        assert_eq!(rig.m.flushes(), flushes, "nothing was valid before");
        rig.settle();
        rig.check();
    });
}

/// Donated pages that have become tables come back too: those of the host's stage 2 at once, those
/// of EL2's stage 1 when what they map is no longer shared.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn tables_of_donated_pages_come_back() {
    let ram = ragged(60, GIB, 4096);
    with_rig::<K4, ()>(&ram, 48, |mut rig| {
        // Each share far away takes tables of EL2's, until none of its home pages are left.
        let mut shared = Vec::new();
        let mut share = |rig: &mut Rig<'_, K4>, n: usize| {
            let pfn = ram[n].base >> 12;
            let got = rig.memory.host_share_el2(&mut rig.m, pfn);
            if got.is_ok() {
                shared.push(pfn);
            }
            got
        };
        let last = (1..20).find(|&n| share(&mut rig, n).is_err());
        let last = last.expect("home pages run out");
        let pfn = (GIB + 32 * MIB) >> 12;
        assert!(rig.memory.pool_donate(&mut rig.m, pfn, 40).is_ok());
        for n in last..last + 14 {
            assert_eq!(share(&mut rig, n), Ok(()));
        }
        for range in &ram[30..] {
            assert!(rig.access(0, range.base - 1, Access::Write).is_ok());
        }
        let reclaim = |rig: &mut Rig<'_, K4>| {
            while rig.memory.pool_reclaim(&mut rig.m).is_ok() {
                rig.settle();
            }
            rig.check();
            rig.memory.pool_reclaim(&mut rig.m)
        };
        let got = reclaim(&mut rig);
        assert!(matches!(got, Err(Error::NoMemory | Error::Busy)), "{got:?}");
        let left = rig.memory.donated_pages();
        assert!(left > 0 && left < 40, "{left}");
        for pfn in shared {
            assert_eq!(rig.memory.host_unshare_el2(&mut rig.m, pfn), Ok(()));
            rig.settle();
        }
        assert_eq!(reclaim(&mut rig), Err(Error::NoEntry));
        assert_eq!(rig.memory.donated_pages(), 0);
        for range in &ram {
            assert!(rig.access(1, range.base, Access::Fetch).is_ok());
        }
        rig.check();
    });
}

/// A whole block was donated, and its table went with it. Its pages come home one by one: each fault
/// maps what is the host's and no more, until the last makes a block of them.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_block_comes_home_page_by_page() {
    with_rig::<K4, ()>(&RAM, 40, |mut rig| {
        let base = (GIB + 64 * MIB) >> 12;
        let level = rig.leaf_level(base << 12);
        assert!(rig.memory.pool_donate(&mut rig.m, base, 512).is_ok());
        let mut home = vec![false; 512];
        for round in 0..512 {
            let pfn = rig.memory.pool_reclaim(&mut rig.m).map(|(pfn, _)| pfn);
            let n = pfn.expect("there are more") - base;
            home[n as usize] = true;
            if round % 100 != 0 {
                continue;
            }
            for (n, &home) in (base..).zip(&home) {
                let got = rig.access(0, n << 12, Access::Read).map(|phys| phys.raw());
                assert_eq!(
                    got,
                    if home {
                        Ok(n << 12)
                    } else {
                        Err(Denied::Owned)
                    }
                );
            }
            rig.check();
        }
        rig.settle();
        for n in base..base + 512 {
            assert!(rig.access(0, n << 12, Access::Read).is_ok());
        }
        assert_eq!(rig.leaf_level(base << 12), level);
        rig.check();
    });
}

/// One donation takes the last pages of one block, whose table is free then, and splits the next,
/// which wants a table: not the same one, for TLBs still point at it.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_freed_table_waits_for_the_invalidation() {
    with_rig::<K4, ()>(&RAM, 40, |mut rig| {
        let base = (GIB + 64 * MIB) >> 12;
        assert!(rig.memory.pool_donate(&mut rig.m, base, 1).is_ok());
        rig.settle();
        for cpu in 0..4 {
            assert!(rig.access(cpu, (base + 7) << 12, Access::Read).is_ok());
        }
        assert!(rig.memory.pool_donate(&mut rig.m, base + 1, 512).is_ok());
        rig.settle();
        rig.check();
    });
}
