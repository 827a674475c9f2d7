// SPDX-License-Identifier: GPL-2.0
//! The invariant checks: each violation, made by hand behind the back of the logic.

use mvirt_hyp::addr::{Granule, GuestIpa, Ipa, Level, Phys, K4};
use mvirt_hyp::machine::Machine;
use mvirt_hyp::memory::{Accessor, Outcome, Violation};
use mvirt_hyp::page::Use;
use mvirt_hyp::pgtable::stage1::{self, Regime};
use mvirt_hyp::pgtable::{stage2, Attrs, Desc, Entry};
use mvirt_hyp::trap::Access;
use mvirt_sim::rig::{Config, Rig};

use crate::common::small;

const RAM: fn() -> Attrs = || stage2::attrs(stage2::Memory::Ram, false);
const MMIO: fn() -> Attrs = || stage2::attrs(stage2::Memory::Mmio, false);

struct Damaged<'m> {
    rig: Rig<'m, K4>,
    config: Config,
    /// A page of the host, mapped as a page.
    host: Phys,
    /// A donated page, its neighbour.
    donated: Phys,
}

impl Damaged<'_> {
    fn host_entry(&self, page: Phys) -> Entry {
        let walk = self
            .rig
            .memory
            .host_tree()
            .walk(&self.rig.m, page.host_ipa());
        walk.expect("within the input size")
    }

    fn el2_entry(&self, page: Phys) -> Entry {
        let el2 = self.rig.memory.el2_map();
        let va = el2.linear().va(page).expect("it is RAM");
        el2.tree()
            .walk(&self.rig.m, va)
            .expect("within the input size")
    }

    fn write(&mut self, entry: Entry, desc: u64) {
        self.rig.m.write_desc(entry.table, entry.index, desc);
        self.rig.m.publish();
    }

    fn set_host(&mut self, at: Phys, oa: Phys, attrs: Attrs) {
        let entry = self.host_entry(at);
        self.write(entry, leaf(entry.level, oa, attrs));
    }

    fn set_el2(&mut self, at: Phys, oa: Phys, access: stage1::Access) {
        let entry = self.el2_entry(at);
        let attrs = stage1::attrs(Regime::El2, access, stage1::Memory::Normal);
        self.write(entry, leaf(entry.level, oa, attrs));
    }
}

fn leaf(level: Level, oa: Phys, attrs: Attrs) -> u64 {
    Desc::<K4>::leaf(level, oa, attrs).map_or(0, Desc::raw)
}

/// What the damage is reported as: by the check of the tables, and by the whole one.
fn reported(damage: impl FnOnce(&mut Damaged<'_>)) -> [Result<(), Violation>; 2] {
    let config = small::<K4>()[0].config::<K4>();
    let donated = Phys::new(config.ram[0].base + (64 << 20));
    let host = Phys::new(donated.raw() + K4::BYTES);
    let booted = config.boot::<K4, _>(|mut rig| {
        rig.memory
            .pool_donate(&mut rig.m, donated.pfn::<K4>(), 1)
            .expect("there is room");
        rig.access(0, 0x0900_0000, Access::Read)
            .expect("it is MMIO");
        rig.check();
        let mut damaged = Damaged {
            rig,
            config: config.clone(),
            host,
            donated,
        };
        damage(&mut damaged);
        let memory = &damaged.rig.memory;
        [
            memory.check_tables(&damaged.rig.m),
            memory.check(&damaged.rig.m),
        ]
    });
    booted.expect("it boots")
}

fn both(violation: Violation) -> [Result<(), Violation>; 2] {
    [Err(violation); 2]
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn no_damage_is_reported_as_none() {
    assert_eq!(reported(|_| ()), [Ok(()); 2]);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_host_reaches_what_it_must_not() {
    // A leaf more than the table's count: each check meets one of the two first.
    let mut pfn = 0;
    let got = reported(|d| {
        pfn = d.donated.pfn::<K4>();
        d.set_host(d.donated, d.donated, RAM());
        let page = d.rig.memory.check_page(&d.rig.m, pfn);
        assert_eq!(page, Err(Violation::HostReaches(pfn)));
    });
    assert!(matches!(got[0], Err(Violation::Table(_))), "{got:?}");
    assert_eq!(got[1], Err(Violation::HostReaches(pfn)));
    // In a table whose count stays right.
    let got = reported(|d| {
        d.set_host(d.donated, d.donated, RAM());
        d.write(d.host_entry(d.host), 0);
    });
    assert_eq!(got, both(Violation::HostReaches(pfn)));
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_host_is_mapped_wrongly() {
    let mut pfn = 0;
    let got = reported(|d| {
        pfn = d.host.pfn::<K4>();
        d.set_host(d.host, d.donated, RAM());
    });
    assert_eq!(got, both(Violation::HostLeaf(pfn)));
    let got = reported(|d| d.set_host(d.host, d.host, MMIO()));
    assert_eq!(got, both(Violation::HostLeaf(pfn)));
    let mmio = Phys::new(0x0900_0000);
    let got = reported(|d| d.set_host(mmio, Phys::new(0), RAM()));
    assert_eq!(got, both(Violation::HostLeaf(0)));
    let got = reported(|d| d.write(d.host_entry(d.host), 0));
    assert!(
        matches!(got, [Err(Violation::Table(a)), Err(Violation::Table(b))] if a == b),
        "{got:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn el2_reaches_what_it_must_not() {
    let mut pfn = 0;
    let got = reported(|d| {
        pfn = d.host.pfn::<K4>();
        d.set_el2(d.donated, d.host, stage1::Access::ReadWrite);
    });
    assert_eq!(got, both(Violation::El2Reaches(pfn)));
    // The image, writable; a page of data, executable; a device, executable.
    let got = reported(|d| {
        pfn = d.config.carveout >> 12;
        d.set_el2(
            d.donated,
            Phys::new(d.config.carveout),
            stage1::Access::ReadWrite,
        );
    });
    assert_eq!(got, both(Violation::El2Rights(pfn)));
    let got = reported(|d| {
        pfn = d.donated.pfn::<K4>();
        d.set_el2(d.donated, d.donated, stage1::Access::ReadExecute);
    });
    assert_eq!(got, both(Violation::El2Rights(pfn)));
    let got = reported(|d| d.set_el2(d.donated, Phys::new(0x1000), stage1::Access::ReadExecute));
    assert_eq!(got, both(Violation::El2Rights(1)));
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_linear_map_is_wrong() {
    let mut pfn = 0;
    let got = reported(|d| {
        pfn = d.donated.pfn::<K4>();
        d.set_el2(d.donated, d.donated, stage1::Access::Read);
    });
    assert_eq!(got, both(Violation::El2Linear(pfn)));
    let got = reported(|d| d.set_el2(d.host, d.donated, stage1::Access::ReadWrite));
    assert_eq!(got, both(Violation::El2Linear(pfn)));
    let got = reported(|d| {
        d.write(d.el2_entry(d.donated), 0);
        let page = d.rig.memory.check_page(&d.rig.m, pfn);
        assert_eq!(page, Err(Violation::El2Lacks(pfn)));
    });
    assert!(matches!(got[0], Err(Violation::Table(_))), "{got:?}");
    // A device in its place: the table's count is right, a page is missing.
    let got = reported(|d| d.set_el2(d.donated, Phys::new(0x1000), stage1::Access::ReadWrite));
    assert_eq!(got, [Ok(()), Err(Violation::El2Lacks(1))]);
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_pool_is_damaged() {
    // The donated page is alone in its list: a link to itself, one to a page of the host.
    let got = reported(|d| d.rig.m.write_desc(d.donated, 0, d.donated.raw() | 2));
    assert_eq!(got, both(Violation::Pool(0)));
    let got = reported(|d| {
        let pfn = d.donated.pfn::<K4>() + 512;
        d.rig
            .memory
            .pool_donate(&mut d.rig.m, pfn, 1)
            .expect("there is room");
        d.rig
            .m
            .write_desc(Phys::new(pfn << 12), 0, d.host.raw() | 2);
    });
    assert!(
        matches!(got, [Err(Violation::Pool(_)), Err(Violation::Pool(_))]),
        "{got:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_table_is_lost() {
    let got = reported(|d| {
        // The entry of the level-2 table that leads to the split block.
        let entry = d
            .rig
            .memory
            .host_tree()
            .walk(&d.rig.m, Ipa::new(d.config.ram[0].base));
        let entry = entry.expect("within the input size");
        assert_eq!(entry.level, Level::L2);
        let index = (d.donated.raw() >> 21) as usize % 512;
        d.rig
            .m
            .write_desc(entry.table, index, leaf(Level::L2, d.donated, RAM()));
        d.rig.m.publish();
    });
    assert_eq!(got[0], Err(Violation::Sum(Use::HostTable)));
    assert!(matches!(got[1], Err(Violation::HostReaches(_))), "{got:?}");
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_decoy_is_not_as_it_was_noted() {
    // Mapped at the donated page.
    let stray = |d: &mut Damaged<'_>| {
        let ipa = d.donated.host_ipa();
        let by = Accessor {
            kernel: Some(0),
            fetch: false,
        };
        let outcome = d.rig.memory.host_fault(&mut d.rig.m, ipa, by);
        assert_eq!(outcome, Outcome::Decoy);
        d.rig.check();
        d.rig.m.host_translate(0, ipa).expect("it was mapped").0
    };
    let attrs = stage2::decoy_attrs(false);
    let mut pfn = 0;
    // In the place of a page that is the host's.
    let got = reported(|d| {
        let page = stray(d);
        pfn = d.host.pfn::<K4>();
        d.set_host(d.host, page, attrs);
    });
    assert_eq!(got, both(Violation::HostLeaf(pfn)));
    // The page itself, looking like a decoy; and a decoy that may be executed.
    let got = reported(|d| {
        stray(d);
        pfn = d.donated.pfn::<K4>();
        d.set_host(d.donated, d.donated, attrs);
    });
    assert_eq!(got, both(Violation::HostLeaf(pfn)));
    let got = reported(|d| {
        let page = stray(d);
        d.set_host(d.donated, page, RAM());
    });
    assert_eq!(got, both(Violation::HostLeaf(pfn)));
    // One that is not there, though its place in the table is in use.
    let got = reported(|d| {
        stray(d);
        d.set_host(d.donated, d.donated, RAM());
    });
    assert_eq!(got[0], Err(Violation::Sum(Use::Decoy)));
    assert_eq!(got[1], Err(Violation::HostReaches(pfn)));
}

/// Damage to a guest that has one page, which is passed with its entry.
fn guest_reported(
    protected: bool,
    damage: impl FnOnce(&mut Damaged<'_>, Entry, Phys),
) -> [Result<(), Violation>; 2] {
    reported(|d| {
        let page = Phys::new(d.host.raw() + K4::BYTES);
        d.rig.guest_create(5, protected, 36).expect("there is room");
        let (memory, m) = (&mut d.rig.memory, &mut d.rig.m);
        let map = memory.guest_map(m, 5, 7, page.pfn::<K4>(), 1, 3);
        map.expect("it is the host's");
        d.rig.check();
        let tree = d.rig.memory.guest_tree(5).expect("it was made");
        let entry = tree.walk(&d.rig.m, GuestIpa::new(7 << 12));
        damage(d, entry.expect("within the input size"), page);
    })
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn a_guest_reaches_what_it_must_not() {
    let all = stage2::guest_attrs(stage2::Rights::ALL, false);
    for protected in [true, false] {
        // The host's page, which is not lent; EL2's.
        let mut pfn = 0;
        let got = guest_reported(protected, |d, entry, _| {
            pfn = d.host.pfn::<K4>();
            d.write(entry, leaf(entry.level, d.host, all));
        });
        assert_eq!(got, both(Violation::GuestReaches(pfn)));
        let got = guest_reported(protected, |d, entry, _| {
            pfn = d.donated.pfn::<K4>();
            d.write(entry, leaf(entry.level, d.donated, all));
        });
        assert_eq!(got, both(Violation::GuestReaches(pfn)));
        // Attributes that no guest has: those of what is not RAM to the host.
        let got = guest_reported(protected, |d, entry, page| {
            pfn = page.pfn::<K4>();
            d.write(entry, leaf(entry.level, page, MMIO()));
        });
        assert_eq!(got, both(Violation::GuestLeaf(pfn)));
        let got = guest_reported(protected, |d, entry, _| d.write(entry, 0));
        assert!(
            matches!(got, [Err(Violation::Table(a)), Err(Violation::Table(b))] if a == b),
            "{got:?}"
        );
        // A page that is the guest's, and in its tables nowhere; or there twice.
        let got = guest_reported(protected, |d, mut entry, page| {
            entry.index += 1;
            d.write(entry, leaf(entry.level, page, all));
        });
        assert!(matches!(got[0], Err(Violation::Table(_))), "{got:?}");
    }
    // A protected guest has every right to its own.
    let read = stage2::Rights {
        write: false,
        execute: true,
    };
    let mut pfn = 0;
    let got = guest_reported(true, |d, entry, page| {
        pfn = page.pfn::<K4>();
        let attrs = stage2::guest_attrs(read, false);
        d.write(entry, leaf(entry.level, page, attrs));
    });
    assert_eq!(got, both(Violation::GuestLeaf(pfn)));
}

#[test]
#[cfg_attr(miri, ignore = "boots a machine: too slow")]
fn the_host_reaches_a_guests_page() {
    let mut pfn = 0;
    let got = guest_reported(true, |d, _, page| {
        pfn = page.pfn::<K4>();
        d.set_host(page, page, RAM());
        // In a table whose count stays right.
        d.write(d.host_entry(d.host), 0);
    });
    assert_eq!(got, both(Violation::HostReaches(pfn)));
}
