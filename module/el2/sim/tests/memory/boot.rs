// SPDX-License-Identifier: GPL-2.0
//! Booting: layouts of RAM, wrong parameters, and what EL2 costs.

use crate::common::{el2_ranges, large, small, Layout, GIB, MIB};
use mvirt_abi::{BootParams, Error, PhysRange, Stat, MAX_META_CHUNKS, MAX_RAM_RANGES, META_CHUNK};
use mvirt_hyp::addr::{Granule, Level, Phys, K16, K4};
use mvirt_hyp::memory::{Denied, Ram};
use mvirt_hyp::page::{Owner, Use};
use mvirt_hyp::pgtable::stage1::Regime;
use mvirt_hyp::pool::{BootPool, RESERVE};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::Config;

/// The host reaches both ends and the middle of each range, and nothing of EL2's.
fn boots<G: Granule>(layout: &Layout) {
    for (regime, pa_bits) in [(Regime::El2, 40), (Regime::El2And0, 44), (Regime::El2, 48)] {
        let config = Config {
            regime,
            pa_bits,
            ..layout.config::<G>()
        };
        let booted = config.boot::<G, ()>(|mut rig| {
            rig.check();
            assert!(rig.memory.pool_pages() >= RESERVE);
            let el2 = el2_ranges(&config);
            for range in &config.ram {
                for at in [
                    range.base,
                    range.base + range.size / 2,
                    range.base + range.size - 1,
                ] {
                    let owned = el2.iter().any(|e| at >= e.base && at - e.base < e.size);
                    let got = rig.access(0, at, Access::Fetch).map(|phys| phys.raw());
                    assert_eq!(got, if owned { Err(Denied::Owned) } else { Ok(at) });
                }
            }
            for range in &el2 {
                for at in (range.base..range.base + range.size).step_by(G::BYTES as usize) {
                    let word = rig.memory.page(at >> G::SHIFT).expect("it is RAM");
                    assert_eq!(word.owner, Owner::El2);
                }
                for at in [range.base, range.base + range.size - 1] {
                    assert_eq!(rig.access(1, at, Access::Read), Err(Denied::Owned));
                }
            }
            assert_eq!(
                rig.access(2, 1 << pa_bits, Access::Read),
                Err(Denied::Beyond)
            );
            assert_eq!(rig.access(2, u64::MAX, Access::Read), Err(Denied::Beyond));
            rig.check();
        });
        assert_eq!(booted, Ok(()), "{} {regime:?} {pa_bits}", layout.name);
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn small_layouts_boot() {
    small::<K4>().iter().for_each(boots::<K4>);
    small::<K16>().iter().for_each(boots::<K16>);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn large_layouts_boot() {
    large::<K4>().iter().for_each(boots::<K4>);
    large::<K16>().iter().for_each(boots::<K16>);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_carve_out_is_marked() {
    let layouts = small::<K4>();
    let config = layouts[0].config::<K4>();
    let check = config.boot::<K4, ()>(|rig| {
        let usage = |offset: u64| {
            rig.memory
                .page((config.carveout + offset) >> 12)
                .map(|p| p.usage)
        };
        assert_eq!(usage(0), Ok(Use::Image));
        assert_eq!(usage(config.read_only_end - 1), Ok(Use::Image));
        assert_eq!(usage(config.read_only_end), Ok(Use::Data));
        assert_eq!(usage(config.layout.params), Ok(Use::Data));
        assert_eq!(usage(config.layout.stacks), Ok(Use::Stack));
        assert_eq!(usage(config.layout.pool), Ok(Use::El2Table));
        assert_eq!(usage(config.layout.size - 1), Ok(Use::Free));
        assert_eq!(
            rig.memory.page(config.meta[0].base >> 12).map(|p| p.usage),
            Ok(Use::Meta)
        );
    });
    assert_eq!(check, Ok(()));
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn ram_is_mapped_in_the_largest_blocks() {
    let layout = Layout {
        name: "4 GiB",
        ram: vec![PhysRange {
            base: GIB,
            size: 4 * GIB,
        }],
        offset: 64 * MIB,
    };
    let check = layout.config::<K4>().boot::<K4, ()>(|rig| {
        assert_eq!(rig.leaf_level(GIB), Some(Level::L2));
        assert_eq!(rig.leaf_level(GIB + 64 * MIB), None);
        for far in 2..5 {
            assert_eq!(rig.leaf_level(far * GIB + 12345), Some(Level::L1));
        }
        assert_eq!(rig.leaf_level(5 * GIB), None);
    });
    assert_eq!(check, Ok(()));
}

/// A change that makes the parameters wrong, and the answer to it.
type Wrong = (&'static str, fn(&mut BootParams), Error);

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn wrong_parameters_are_refused() {
    let rows: &[Wrong] = &[
        ("no RAM", |p| p.nr_ram = 0, Error::Invalid),
        (
            "too many ranges",
            |p| p.nr_ram = MAX_RAM_RANGES as u32 + 1,
            Error::Invalid,
        ),
        (
            "a count of ranges that overflows",
            |p| p.nr_ram = u32::MAX,
            Error::Invalid,
        ),
        ("unused ranges", |p| p.nr_ram = 2, Error::Invalid),
        (
            "RAM not aligned",
            |p| p.ram[0].base += 0x800,
            Error::Invalid,
        ),
        (
            "size of RAM not aligned",
            |p| p.ram[0].size -= 1,
            Error::Invalid,
        ),
        (
            "RAM that wraps",
            |p| p.ram[0].base = 0u64.wrapping_sub(4096),
            Error::Invalid,
        ),
        (
            "RAM beyond PARange",
            |p| p.ram[0].size = 1 << 41,
            Error::NotSupported,
        ),
        (
            "ranges that overlap",
            |p| {
                p.ram[1] = p.ram[0];
                p.nr_ram = 2
            },
            Error::Invalid,
        ),
        (
            "ranges that descend",
            |p| {
                p.ram[1] = PhysRange {
                    base: 1 << 20,
                    size: 1 << 20,
                };
                p.nr_ram = 2
            },
            Error::Invalid,
        ),
        (
            "a carve-out outside RAM",
            |p| p.carveout.base = 1 << 20,
            Error::Invalid,
        ),
        (
            "a carve-out past the end",
            |p| p.carveout.base = p.ram[0].base + p.ram[0].size - 4096,
            Error::Invalid,
        ),
        (
            "a carve-out that wraps",
            |p| p.carveout.base = 0u64.wrapping_sub(4096),
            Error::Invalid,
        ),
        (
            "a carve-out of another size",
            |p| p.carveout.size += 4096,
            Error::Invalid,
        ),
        (
            "another carve-out",
            |p| p.carveout.base += 4096,
            Error::Invalid,
        ),
        ("no metadata", |p| p.nr_meta = 0, Error::Invalid),
        (
            "too many chunks",
            |p| p.nr_meta = MAX_META_CHUNKS as u32 + 1,
            Error::Invalid,
        ),
        (
            "a chunk not aligned",
            |p| p.meta[0].base += 4,
            Error::Invalid,
        ),
        (
            "a chunk outside RAM",
            |p| p.meta[0].base = 1 << 20,
            Error::Invalid,
        ),
        (
            "a chunk in the carve-out",
            |p| p.meta[0].base = p.carveout.base,
            Error::Invalid,
        ),
        (
            "a chunk too short",
            |p| p.meta[0].size -= 4096,
            Error::Invalid,
        ),
        (
            "a chunk too long",
            |p| p.meta[0].size = META_CHUNK + 4096,
            Error::Invalid,
        ),
        (
            "a first chunk that is not full",
            |p| {
                p.meta[1] = PhysRange {
                    base: p.meta[0].base + (8 << 20),
                    size: 4096,
                };
                p.nr_meta = 2
            },
            Error::Invalid,
        ),
    ];
    let layouts = small::<K4>();
    let config = layouts[0].config::<K4>();
    assert_eq!(config.boot::<K4, ()>(|_| ()), Ok(()));
    for (what, change, error) in rows {
        let mut params = config.params();
        change(&mut params);
        assert_eq!(
            config.boot_params::<K4, ()>(&params, |_| ()),
            Err(*error),
            "{what}"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn wrong_layouts_are_refused() {
    let layouts = small::<K4>();
    let config = layouts[0].config::<K4>();
    let rows = [
        Config {
            pa_bits: 41,
            ..config.clone()
        },
        Config {
            read_only_end: config.layout.stacks,
            ..config.clone()
        },
        Config {
            read_only_end: config.read_only_end + 1,
            ..config.clone()
        },
    ];
    for config in rows {
        assert_eq!(config.boot::<K4, ()>(|_| ()), Err(Error::Invalid));
    }
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn chunks_that_overlap_are_refused() {
    let ram = [PhysRange {
        base: GIB,
        size: 8 * GIB,
    }];
    let mut config = Config::new::<K4>(&ram, 64 * MIB).expect("there is room");
    assert_eq!(config.meta.len(), 2);
    config.meta[1].base = config.meta[0].base + (2 << 20);
    let mut params = config.params();
    // EL2's own map would refuse the overlap first: let it map the right ones.
    let meta = config.meta[0].base + META_CHUNK;
    config.meta[1].base = meta;
    assert_eq!(
        config.boot_params::<K4, ()>(&params, |_| ()),
        Err(Error::Invalid)
    );
    params.meta[1].base = meta;
    assert_eq!(config.boot_params::<K4, ()>(&params, |_| ()), Ok(()));
}

/// Decision 5's budget: all that EL2 takes, with the largest image that it is for, and what the
/// host needs mapped in ordinary use, without a donation.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn memory_stays_in_the_budget() {
    for (gib, limit) in [(1, 5 * MIB / 2), (2, 4 * MIB), (4, 7 * MIB)] {
        let ram = [PhysRange {
            base: GIB,
            size: gib * GIB,
        }];
        let config = Config::new::<K4>(&ram, 64 * MIB).expect("there is room");
        let meta: u64 = config.meta.iter().map(|chunk| chunk.size).sum();
        let taken = config.layout.size + meta;
        assert!(taken < limit, "{taken} bytes at {gib} GiB");
        let booted = config.boot::<K4, ()>(|mut rig| {
            // MMIO below RAM and above, as QEMU's virt machine has it.
            for at in [
                0x0800_0000,
                0x0900_0000,
                0x0a00_0000,
                0x3eff_0000,
                0x40_1000_0000,
            ] {
                assert!(rig.access(0, at, Access::Write).is_ok());
            }
            rig.check();
            assert!(
                rig.memory.pool_pages() > 2 * RESERVE,
                "{}",
                rig.memory.pool_pages()
            );
            assert_eq!(rig.memory.stat(Stat::MetaBytes), Some(meta));
        });
        assert_eq!(booted, Ok(()));
    }
}

/// The most metadata that there may be, each chunk in another GiB, and then some more.
#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn scattered_metadata_finds_its_tables() {
    let ram = [PhysRange {
        base: GIB,
        size: 64 * GIB,
    }];
    let mut config = Config::new::<K4>(&ram, 64 * MIB).expect("there is room");
    assert_eq!(config.meta.len(), MAX_META_CHUNKS);
    for (n, chunk) in config.meta.iter_mut().enumerate() {
        chunk.base = (4 * n as u64 + 2) * GIB;
    }
    let booted = config.boot::<K4, ()>(|mut rig| {
        assert!(rig.memory.pool_pages() >= RESERVE);
        for chunk in &config.meta {
            assert_eq!(rig.access(0, chunk.base, Access::Read), Err(Denied::Owned));
            assert!(rig.access(0, chunk.base - 1, Access::Fetch).is_ok());
            assert!(rig
                .access(0, chunk.base + chunk.size, Access::Fetch)
                .is_ok());
        }
        rig.check();
    });
    assert_eq!(booted, Ok(()));
    // With 48 bits and less luck there are too few: an error, and nothing else.
    for chunk in &mut config.meta {
        chunk.base += 2 * MIB - 4096;
    }
    let booted = config.boot::<K4, ()>(|_| ());
    assert_eq!(booted, Err(Error::NoMemory));
}

/// The pool of the boot code: in order, around the window, and from its end at last.
#[test]
fn the_boot_pool_keeps_the_window() {
    let base = 0x5_3000;
    let mut pool = BootPool::new::<K4>(Phys::new(base), 40).expect("there is room");
    let window = 0x6_0000;
    assert_eq!(pool.window(), Phys::new(window));
    let page = |n: u64| Phys::new(base + (n << 12));
    let outside = (0..13).chain(29..40).map(page);
    for expected in outside {
        assert!(pool.is_free(expected));
        assert_eq!(pool.take::<K4>(), Some(expected));
        assert!(!pool.is_free(expected));
    }
    for n in (13..29).rev() {
        assert!(pool.is_free(page(13)));
        assert_eq!(pool.take::<K4>(), Some(page(n)));
        assert!(!pool.is_free(page(n)));
    }
    assert_eq!((pool.take::<K4>(), pool.is_free(page(13))), (None, false));
    assert!(
        BootPool::new::<K4>(Phys::new(base), 28).is_none(),
        "no room for the window"
    );
    assert!(BootPool::new::<K4>(Phys::new(base + 8), 40).is_none());
    assert!(BootPool::new::<K4>(Phys::new(u64::MAX << 12), 40).is_none());
    assert!(BootPool::new::<K4>(Phys::new(base), u64::MAX).is_none());
}

/// RAM's ranges alone, where nothing else would notice.
#[test]
fn ranges_of_ram_are_checked() {
    let ram = |list: &[(u64, u64)]| {
        let range = |&(base, size): &(u64, u64)| PhysRange { base, size };
        Ram::<K4>::new(&list.iter().map(range).collect::<Vec<_>>(), 40)
    };
    let refused: [(&[(u64, u64)], Error); 9] = [
        (&[], Error::Invalid),
        (&[(0x1000, 0x3000), (0x3000, 0x1000)], Error::Invalid),
        (&[(0x1000, 0x3000), (0x1000, 0x3000)], Error::Invalid),
        (&[(0x3000, 0x1000), (0x1000, 0x1000)], Error::Invalid),
        (&[(0x1000, 0)], Error::Invalid),
        (&[(0x1800, 0x1000)], Error::Invalid),
        (&[(0x1000, 0x1800)], Error::Invalid),
        (&[(u64::MAX - 0xfff, 0x1000)], Error::Invalid),
        (&[(1 << 40, 0x1000)], Error::NotSupported),
    ];
    for (list, error) in refused {
        assert_eq!(ram(list).map(|_| ()), Err(error), "{list:x?}");
    }
    // The first two touch and are one; numbers are dense.
    let ram = ram(&[(0x1000, 0x1000), (0x2000, 0x2000), (0x8000, 0x1000)]).expect("it is right");
    assert_eq!((ram.nr(), ram.pages()), (2, 4));
    let numbers: Vec<_> = (0..10).map(|pfn| ram.index(pfn)).collect();
    let (some, none) = (Some, None);
    let expected = [
        none,
        some(0),
        some(1),
        some(2),
        none,
        none,
        none,
        none,
        some(3),
        none,
    ];
    assert_eq!(numbers, expected);
    let gaps: Vec<_> = (0..4)
        .filter_map(|n| ram.gap(n, 16))
        .map(|g| (g.start, g.end))
        .collect();
    assert_eq!(gaps, [(0, 1), (4, 8), (9, 16)]);
    assert_eq!(ram.index(u64::MAX), None);
}
