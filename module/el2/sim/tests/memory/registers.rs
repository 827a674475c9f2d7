// SPDX-License-Identifier: GPL-2.0
//! Descriptors and translation control registers, bit for bit as the Arm ARM has them.

use mvirt_abi::Error;
use mvirt_hyp::addr::{Granule, Ipa, Level, Linear, Phys, Va, K16, K4};
use mvirt_hyp::pgtable::stage1::{self, root_level, tcr_el2, Access, Regime};
use mvirt_hyp::pgtable::stage2::{self, guest_attrs, pa_bits, GuestRegime, Rights, Shape};
use mvirt_hyp::pgtable::{Attrs, Desc, View};

#[test]
fn parange_gives_bits() {
    let bits: Vec<_> = (0..9).map(pa_bits).collect();
    let known = [32, 36, 40, 42, 44, 48, 48, 48].map(Ok);
    assert_eq!(bits[..8], known);
    assert_eq!(bits[8], Err(Error::NotSupported));
}

/// (bits, start level, root tables, T0SZ, SL0, PS), from table D8-22 and its neighbours ("Stage 2
/// start level and concatenation") and the field descriptions of VTCR_EL2.
fn shapes<G: Granule>(rows: [(u32, Level, u64, u64, u64, u64); 6], tg0: u64) {
    for (bits, start, root_tables, t0sz, sl0, ps) in rows {
        let shape = Shape::new::<G>(bits).expect("a size of PARange");
        assert_eq!(
            (shape.start, shape.root_tables),
            (start, root_tables),
            "{bits}"
        );
        assert_eq!(shape.vtcr & 0x3f, t0sz, "T0SZ for {bits}");
        assert_eq!(shape.vtcr >> 6 & 3, sl0, "SL0 for {bits}");
        assert_eq!(shape.vtcr >> 14 & 3, tg0, "TG0");
        assert_eq!(shape.vtcr >> 16 & 7, ps, "PS for {bits}");
        // IRGN0 and ORGN0 0b01, SH0 0b11, RES1; nothing else.
        assert_eq!(shape.vtcr & !0x7_c0ff, 0x8000_3500, "{bits}");
        // The concatenated tables cover the addresses exactly, or one table does and more.
        let covered = G::level_shift(start) + G::BITS;
        assert!(root_tables == 1 || root_tables << covered == 1 << bits);
        assert!(root_tables <= 16 && root_tables << covered >= 1 << bits);
    }
    for bits in [0, 31, 33, 39, 41, 47, 49, 52, 64, u32::MAX] {
        assert_eq!(Shape::new::<G>(bits), Err(Error::Invalid), "{bits}");
    }
}

#[test]
fn stage_2_shapes_4k() {
    shapes::<K4>(
        [
            (32, Level::L2, 4, 32, 0, 0),
            (36, Level::L1, 1, 28, 1, 1),
            (40, Level::L1, 2, 24, 1, 2),
            (42, Level::L1, 8, 22, 1, 3),
            (44, Level::L0, 1, 20, 2, 4),
            (48, Level::L0, 1, 16, 2, 5),
        ],
        0b00,
    );
}

#[test]
fn stage_2_shapes_16k() {
    shapes::<K16>(
        [
            (32, Level::L2, 1, 32, 1, 0),
            (36, Level::L2, 1, 28, 1, 1),
            (40, Level::L2, 16, 24, 1, 2),
            (42, Level::L1, 1, 22, 2, 3),
            (44, Level::L1, 1, 20, 2, 4),
            (48, Level::L1, 2, 16, 2, 5),
        ],
        0b10,
    );
}

/// (guest's bits, CPUs' bits, start level, root tables, SL0, PS).
fn guest_shapes<G: Granule>(rows: &[(u32, u32, Level, u64, u64, u64)]) {
    for &(bits, pa, start, root_tables, sl0, ps) in rows {
        let shape = Shape::guest::<G>(bits, pa).expect("the architecture has it");
        let got = (shape.ipa_bits, shape.start, shape.root_tables);
        assert_eq!(got, (bits, start, root_tables), "{bits} of {pa}");
        assert_eq!(shape.vtcr & 0x3f, 64 - u64::from(bits), "{bits} of {pa}");
        assert_eq!(shape.vtcr >> 6 & 3, sl0, "{bits} of {pa}");
        assert_eq!(shape.vtcr >> 16 & 7, ps, "{bits} of {pa}");
    }
}

#[test]
fn guest_shapes_4k() {
    guest_shapes::<K4>(&[
        (32, 32, Level::L1, 1, 1, 0),
        (33, 36, Level::L1, 1, 1, 1),
        (39, 40, Level::L1, 1, 1, 2),
        (40, 40, Level::L1, 2, 1, 2),
        (41, 42, Level::L1, 4, 1, 3),
        (42, 42, Level::L1, 8, 1, 3),
        // From 44 bits of physical address on, level 0 has a code.
        (39, 44, Level::L1, 1, 1, 4),
        (40, 44, Level::L0, 1, 2, 4),
        (43, 48, Level::L0, 1, 2, 5),
        (48, 48, Level::L0, 1, 2, 5),
    ]);
}

#[test]
fn guest_shapes_16k() {
    guest_shapes::<K16>(&[
        (32, 32, Level::L2, 1, 1, 0),
        (36, 48, Level::L2, 1, 1, 5),
        (37, 40, Level::L2, 2, 1, 2),
        (40, 40, Level::L2, 16, 1, 2),
        // From 42 bits of physical address on, level 1 has a code.
        (37, 42, Level::L1, 1, 2, 3),
        (40, 44, Level::L1, 1, 2, 4),
        (47, 48, Level::L1, 1, 2, 5),
        (48, 48, Level::L1, 2, 2, 5),
    ]);
}

/// Every size of the contract has a shape on every CPU that has as many bits, and no other has; and
/// the shape is one that AArch64.S2InvalidSL and AArch64.S2InconsistentSL let through.
fn guest_sizes<G: Granule>() {
    for pa in [32, 36, 40, 42, 44, 48] {
        for bits in 0..=64 {
            let shape = Shape::guest::<G>(bits, pa);
            if !(32..=pa).contains(&bits) {
                assert_eq!(shape, Err(Error::Invalid), "{bits} of {pa}");
                continue;
            }
            let shape = shape.expect("the size is allowed");
            let below = 3 - shape.start.number();
            let least = below * G::BITS + G::SHIFT + 1;
            assert!((least..=least + G::BITS - 1 + 4).contains(&bits));
            let needs = match (G::SHIFT, shape.start) {
                (12, Level::L0) => 44,
                (14, Level::L1) => 42,
                (14, Level::L0) => u32::MAX,
                _ => 0,
            };
            assert!(pa >= needs, "{bits} of {pa}");
            let covered = G::level_shift(shape.start) + G::BITS;
            let exact = shape.root_tables << covered == 1 << bits;
            assert!(exact || shape.root_tables == 1 && bits <= covered);
        }
    }
    for pa in [0, 31, 39, 41, 47, 49, 52] {
        assert_eq!(Shape::guest::<G>(32, pa), Err(Error::Invalid), "{pa}");
    }
}

#[test]
fn guest_sizes_4k_and_16k() {
    guest_sizes::<K4>();
    guest_sizes::<K16>();
}

#[test]
fn guest_attributes() {
    let rights = |write, execute| Rights { write, execute };
    // AF, SH inner, S2AP read (and write), MemAttr 0b1111; XN[1:0] 0b10 in 54:53.
    let rows = [
        (rights(true, true), 0x7fc),
        (rights(false, true), 0x77c),
        (rights(true, false), 0x0040_0000_0000_07fc),
        (rights(false, false), 0x0040_0000_0000_077c),
    ];
    for (rights, bits) in rows {
        let attrs = guest_attrs(rights, false);
        assert_eq!(attrs.bits(), bits);
        assert_eq!(guest_attrs(rights, true).bits(), bits & !0x20);
        assert_eq!(Rights::of(attrs), rights);
    }
    assert_eq!(Rights::ALL, rights(true, true));
}

#[test]
fn guest_registers() {
    let shape = Shape::guest::<K4>(40, 48).expect("it has a shape");
    let regime = GuestRegime::new(&shape, Phys::new(0x1234_5678_9000), 32);
    assert_eq!((regime.vtcr, regime.ipa_bits), (shape.vtcr, 40));
    assert_eq!((regime.vttbr, regime.vmid()), (0x0020_1234_5678_9000, 32));
}

#[test]
fn tcr_el2_by_regime() {
    assert_eq!(tcr_el2::<K4>(Regime::El2, 48, 40), Ok(0x8082_3510));
    assert_eq!(tcr_el2::<K16>(Regime::El2, 47, 48), Ok(0x8085_b511));
    assert_eq!(tcr_el2::<K4>(Regime::El2And0, 48, 44), Ok(0x4_8080_3510));
    assert_eq!(tcr_el2::<K16>(Regime::El2And0, 39, 36), Ok(0x1_8080_b519));
    for bits in [0, 31, 49, 64, u32::MAX] {
        assert_eq!(tcr_el2::<K4>(Regime::El2, bits, 40), Err(Error::Invalid));
    }
    assert_eq!(tcr_el2::<K4>(Regime::El2, 48, 41), Err(Error::Invalid));
}

#[test]
fn stage_1_root_levels() {
    let k4 = [
        (32, Level::L1),
        (39, Level::L1),
        (40, Level::L0),
        (48, Level::L0),
    ];
    let k16 = [
        (32, Level::L2),
        (36, Level::L2),
        (37, Level::L1),
        (47, Level::L1),
        (48, Level::L0),
    ];
    for (bits, level) in k4 {
        assert_eq!(root_level::<K4>(bits), Ok(level), "{bits}");
    }
    for (bits, level) in k16 {
        assert_eq!(root_level::<K16>(bits), Ok(level), "{bits}");
    }
}

#[test]
fn stage_2_attributes() {
    use stage2::Memory::{Mmio, Ram};
    // AF, SH inner, S2AP read and write, MemAttr 0b1111.
    assert_eq!(stage2::attrs(Ram, false).bits(), 0x7fc);
    // What is not RAM has the same rights, XN clear, and bit 56, which is software's.
    assert_eq!(stage2::attrs(Mmio, false).bits(), 0x0100_0000_0000_07fc);
    // With FWB, MemAttr 0b0111: what stage 1 says.
    assert_eq!(stage2::attrs(Ram, true).bits(), 0x7dc);
    assert_eq!(stage2::attrs(Mmio, true).bits(), 0x0100_0000_0000_07dc);
}

#[test]
fn stage_1_attributes() {
    use stage1::Memory::{Device, Normal};
    let rows = [
        // One privilege: AP[1] is RES1, XN is bit 54.
        (Regime::El2, Access::Read, Normal, 0x0040_0000_0000_07c0),
        (
            Regime::El2,
            Access::ReadWrite,
            Normal,
            0x0040_0000_0000_0740,
        ),
        (Regime::El2, Access::ReadExecute, Normal, 0x7c0),
        (
            Regime::El2,
            Access::ReadWrite,
            Device,
            0x0040_0000_0000_0444,
        ),
        // With EL0 under it: AP[1] clear, UXN always, PXN where EL2 may not execute.
        (Regime::El2And0, Access::Read, Normal, 0x0060_0000_0000_0780),
        (
            Regime::El2And0,
            Access::ReadWrite,
            Normal,
            0x0060_0000_0000_0700,
        ),
        (
            Regime::El2And0,
            Access::ReadExecute,
            Normal,
            0x0040_0000_0000_0780,
        ),
        (
            Regime::El2And0,
            Access::ReadWrite,
            Device,
            0x0060_0000_0000_0404,
        ),
    ];
    for (regime, access, memory, bits) in rows {
        let attrs = stage1::attrs(regime, access, memory);
        assert_eq!(attrs.bits(), bits, "{regime:?} {access:?} {memory:?}");
        assert_eq!(stage1::is_writable(attrs), access == Access::ReadWrite);
        assert_eq!(
            stage1::is_executable(regime, attrs),
            access == Access::ReadExecute
        );
    }
}

const ALL: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

/// Each level and granule, each value of the two low bits.
fn views<G: Granule>(blocks: [bool; 4]) {
    let attrs = Attrs::new(u64::MAX);
    for (level, block) in ALL.into_iter().zip(blocks) {
        let shift = G::level_shift(level);
        let oa = Phys::new((u64::MAX >> 16) & !((1 << shift) - 1));
        let bits = oa.raw() | attrs.bits();
        let leaf = View::Leaf { oa, attrs };
        let table = View::Table(Phys::new((u64::MAX >> 16) & !(G::BYTES - 1)));
        let view = |raw| Desc::<G>::from_raw(raw).view(level);
        assert_eq!(view(0), View::Invalid);
        assert_eq!(view(!1), View::Invalid);
        assert_eq!(view(!3), View::Invalid);
        if level == Level::L3 {
            assert_eq!(view(bits | 0b11), leaf);
            assert_eq!(view(bits | 0b01), View::Invalid, "reserved at level 3");
        } else {
            assert_eq!(view(u64::MAX), table);
            let expected = if block { leaf } else { View::Invalid };
            assert_eq!(view(bits | 0b01), expected, "{level:?}");
        }
        let made = Desc::<G>::leaf(level, oa, attrs);
        assert_eq!(made.is_some(), block, "{level:?}");
        if let Some(made) = made {
            assert_eq!(made.view(level), leaf);
        }
    }
    let table = Phys::new(5 << G::SHIFT);
    assert_eq!(Desc::<G>::table(table).raw(), 5 << G::SHIFT | 0b11);
    assert_eq!(Desc::<G>::table(table).view(Level::L1), View::Table(table));
}

#[test]
fn descriptors_4k() {
    views::<K4>([false, true, true, true]);
}

#[test]
fn descriptors_16k() {
    views::<K16>([false, false, true, true]);
}

#[test]
fn level_sizes() {
    let sizes = |f: fn(Level) -> u64| ALL.map(f);
    assert_eq!(
        sizes(K4::level_size),
        [512 << 30, 1 << 30, 2 << 20, 4 << 10]
    );
    assert_eq!(
        sizes(K16::level_size),
        [128 << 40, 64 << 30, 32 << 20, 16 << 10]
    );
}

#[test]
fn addresses_do_not_wrap() {
    assert_eq!(
        Phys::from_pfn::<K4>(u64::MAX >> 12),
        Some(Phys::new(!0xfff))
    );
    assert_eq!(Phys::from_pfn::<K4>((u64::MAX >> 12) + 1), None);
    assert_eq!(Ipa::from_pfn::<K16>(u64::MAX), None);
    assert_eq!(Va::new(u64::MAX).checked_add(1), None);
    assert_eq!(Linear::new(Va::new(1 << 63)).va(Phys::new(1 << 63)), None);
    assert_eq!(Phys::new(0x12345).page::<K4>(), Phys::new(0x12000));
    assert_eq!(Phys::new(0x12345).pfn::<K16>(), 4);
    assert!(!Phys::new(0x1000).is_page::<K16>() && Phys::new(0x4000).is_page::<K16>());
    assert_eq!(Phys::new(7).host_ipa().host_phys(), Phys::new(7));
}
