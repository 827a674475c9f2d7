// SPDX-License-Identifier: GPL-2.0
//! The state at the start, from the boot parameters.
//!
//! The host is still trusted here, but what it says is checked all the same: a wrong number must be
//! an error that EL1 can print, not a machine that dies later.

use mvirt_abi::{BootParams, Carveout, Error, PhysRange, META_BYTES_PER_PAGE, META_CHUNK};

use super::decoy::Decoys;
use super::guest::GuestTable;
use super::pages::{Chunks, PageMap};
use super::ram::{Pages, Ram};
use super::{must, Memory};
use crate::addr::{Granule, Ipa, Level, Phys, Va};
use crate::machine::Machine;
use crate::page::{PageState, Use};
use crate::pgtable::stage1::El2Map;
use crate::pgtable::stage2::{attrs, HostStage, Memory as Kind, Shape};
use crate::pgtable::{Attrs, Tree, Visitor};
use crate::pool::{BootPool, Pool, RESERVE};

/// What the boot code hands over.
#[derive(Debug)]
pub struct Boot<'a, 'm, G> {
    /// EL2's copy of the boot parameters.
    pub params: &'a BootParams,
    /// How the carve-out is divided.
    pub layout: Carveout,
    /// End of the image's text and read-only data, as an offset into the carve-out.
    pub image_read_only_end: u64,
    /// EL2's stage 1. Its linear map holds the metadata and the carve-out from `layout.params`
    /// (or at least the pool) on.
    pub el2: El2Map<G>,
    /// The pool, from which the tables of `el2` were taken.
    pub pool: BootPool,
    /// The chunks of `params.meta`, as EL2 sees them.
    pub meta: Chunks<'m>,
    /// Where guests are kept, empty.
    pub guests: &'m mut GuestTable<G>,
    /// Where decoys are kept: none yet.
    pub decoys: &'m mut Decoys,
    /// Bits of physical address: the least PARange of the CPUs.
    pub pa_bits: u32,
    /// HCR_EL2.FWB.
    pub fwb: bool,
}

/// Marks the tables of EL2's stage 1, which were made before there was metadata.
struct Adopt<'a, 'm, G> {
    pages: &'a mut PageMap<'m, G>,
    area: Pages,
    taken_from: BootPool,
    tables: u64,
}

impl<G: Granule> Visitor for Adopt<'_, '_, G> {
    type Stop = Error;

    fn table(&mut self, table: Phys, _level: Level, valid: usize) -> Result<(), Error> {
        let pfn = table.pfn::<G>();
        if !self.area.has(pfn) || self.taken_from.is_free(table) {
            return Err(Error::Invalid);
        }
        let count = u16::try_from(valid).map_err(|_| Error::Invalid)?;
        self.tables += 1;
        self.pages.set(
            pfn,
            PageState {
                count,
                ..PageState::el2(Use::El2Table)
            },
        )
    }

    fn leaf(&mut self, _: u64, _: Level, _: Phys, _: Attrs) -> Result<(), Error> {
        Ok(())
    }
}

impl<'m, G: Granule> Memory<'m, G> {
    /// Checks the boot parameters, gives each page its owner, and builds the host's stage 2: all
    /// RAM but what is EL2's, in the largest blocks, as far as the pool's tables go without the
    /// reserve (the rest is mapped when it is used).
    ///
    /// [`Error::Invalid`] if a parameter is malformed; [`Error::NotSupported`] if RAM is beyond
    /// what the CPUs or the linear map can address; [`Error::NoMemory`] if the pool has no room
    /// for the root of the host's stage 2 and the reserve.
    pub fn new<M: Machine>(m: &mut M, boot: Boot<'_, 'm, G>) -> Result<Self, Error> {
        let shape = Shape::new::<G>(boot.pa_bits)?;
        let bits = boot.pa_bits;
        let ram = Ram::<G>::new(used(&boot.params.ram, boot.params.nr_ram)?, bits)?;
        let top = ram.range(ram.nr() - 1).ok_or(Error::Invalid)?.end;
        check_linear(&boot.el2, top)?;

        let carveout = Pages::new::<G>(boot.params.carveout, bits)?;
        if boot.params.carveout.size != boot.layout.size {
            return Err(Error::Invalid);
        }
        in_ram(&ram, carveout)?;
        let metas = used(&boot.params.meta, boot.params.nr_meta)?;
        check_meta(&ram, metas, carveout, bits)?;

        let areas = Areas::new::<G>(&boot, carveout)?;
        let mut pages = PageMap::new(ram, boot.meta)?;
        for (area, usage) in [
            (areas.read_only, Use::Image),
            (areas.data, Use::Data),
            (areas.stacks, Use::Stack),
            (areas.pool, Use::Data),
        ] {
            pages.set_all(area, PageState::el2(usage))?;
        }
        for &meta in metas {
            pages.set_all(Pages::new::<G>(meta, bits)?, PageState::el2(Use::Meta))?;
        }
        let mut adopt = Adopt {
            pages: &mut pages,
            area: areas.pool,
            taken_from: boot.pool,
            tables: 0,
        };
        boot.el2.tree().visit(m, &mut adopt)?;
        let el2_tables = adopt.tables;

        let mut pool = Pool::new(boot.params.carveout);
        // The window is aligned for the longest root, and so for any.
        let root_page = boot.pool.window();
        let start = root_page.pfn::<G>();
        let end = start + shape.root_tables;
        let root = Pages { start, end };
        if !Phys::from_pfn::<G>(end - 1).is_some_and(|last| boot.pool.is_free(last)) {
            return Err(Error::NoMemory);
        }
        for pfn in (areas.pool.start..areas.pool.end).rev() {
            let page = Phys::from_pfn::<G>(pfn).ok_or(Error::Invalid)?;
            if root.has(pfn) {
                m.clear_table(page);
                pages.set(pfn, PageState::el2(Use::HostTable))?;
            } else if boot.pool.is_free(page) {
                pages.set(pfn, PageState::el2(Use::Free))?;
                pool.put(m, page);
            }
        }
        let mut memory = Memory {
            host: Tree::new(root_page, shape.start, shape.ipa_bits, HostStage),
            shape,
            el2: boot.el2,
            pages,
            pool,
            ram_attrs: attrs(Kind::Ram, boot.fwb),
            mmio_attrs: attrs(Kind::Mmio, boot.fwb),
            host_tables: root.len(),
            el2_tables,
            shared: 0,
            donated: 0,
            meta_bytes: metas.iter().map(|meta| meta.size).sum(),
            fwb: boot.fwb,
            guests: boot.guests,
            guest_tables: 0,
            guest_pages: 0,
            guest_shares: 0,
            objects: 0,
            decoys: boot.decoys,
        };
        memory.make_decoys(m, boot.params.nr_cpus as usize)?;
        if memory.pool.free() < RESERVE {
            return Err(Error::NoMemory);
        }
        memory.map_ram(m, carveout, metas);
        Ok(memory)
    }

    /// Maps the host's RAM around the holes: the carve-out and the metadata.
    fn map_ram<M: Machine>(&mut self, m: &mut M, carveout: Pages, metas: &[PhysRange]) {
        let mut n = 0;
        while let Some(range) = self.ram().range(n) {
            let mut at = range.start;
            while at < range.end {
                let hole = next_hole::<G>(at, carveout, metas);
                let end = hole.map_or(range.end, |hole| hole.start.min(range.end));
                if at < end {
                    self.map_run(m, Pages { start: at, end });
                }
                at = hole.map_or(range.end, |hole| hole.end);
            }
            n += 1;
        }
    }

    /// Maps a run of the host's pages, if the tables for it are there.
    fn map_run<M: Machine>(&mut self, m: &mut M, run: Pages) {
        let (ipa, size) = (Ipa::new(run.start << G::SHIFT), run.len() << G::SHIFT);
        let pa = ipa.host_phys();
        let cost = must(self.host.map_cost(m, ipa, size, pa, G::FIRST_BLOCK));
        if cost > self.pool.spare() {
            return;
        }
        let attrs = self.ram_attrs;
        let (host, mut frames) = self.host_parts();
        must(host.map(m, &mut frames, ipa, size, pa, attrs, G::FIRST_BLOCK));
    }
}

/// The used part of an array of the boot parameters.
fn used(all: &[PhysRange], nr: u32) -> Result<&[PhysRange], Error> {
    usize::try_from(nr)
        .ok()
        .and_then(|nr| all.get(..nr))
        .ok_or(Error::Invalid)
}

fn in_ram<G: Granule>(ram: &Ram<G>, pages: Pages) -> Result<(), Error> {
    let range = ram.range_of(pages.start).ok_or(Error::Invalid)?;
    range.contains(pages).then_some(()).ok_or(Error::Invalid)
}

/// All RAM, up to page `top`, must have its place in the linear map.
fn check_linear<G: Granule>(el2: &El2Map<G>, top: u64) -> Result<(), Error> {
    let end = Phys::from_pfn::<G>(top).and_then(|end| el2.linear().va(end));
    let limit = Va::new(1 << el2.tree().bits());
    if end.is_some_and(|end| end <= limit) {
        Ok(())
    } else {
        Err(Error::NotSupported)
    }
}

/// Chunks are in RAM, apart from each other and from the carve-out, of the agreed size, and enough.
fn check_meta<G: Granule>(
    ram: &Ram<G>,
    metas: &[PhysRange],
    carveout: Pages,
    bits: u32,
) -> Result<(), Error> {
    let mut left = ram.pages() * META_BYTES_PER_PAGE;
    for (n, &meta) in metas.iter().enumerate() {
        let pages = Pages::new::<G>(meta, bits)?;
        in_ram(ram, pages)?;
        let last = n + 1 == metas.len();
        if pages.overlaps(carveout) || meta.size > META_CHUNK || (!last && meta.size != META_CHUNK)
        {
            return Err(Error::Invalid);
        }
        for &other in metas.get(..n).unwrap_or(&[]) {
            if pages.overlaps(Pages::new::<G>(other, bits)?) {
                return Err(Error::Invalid);
            }
        }
        left = left.saturating_sub(meta.size);
    }
    if left == 0 {
        Ok(())
    } else {
        Err(Error::Invalid)
    }
}

/// The first hole that ends above page `at`.
fn next_hole<G: Granule>(at: u64, carveout: Pages, metas: &[PhysRange]) -> Option<Pages> {
    let meta = |range: &PhysRange| Pages {
        start: range.base >> G::SHIFT,
        end: (range.base + range.size) >> G::SHIFT,
    };
    let holes = core::iter::once(carveout).chain(metas.iter().map(meta));
    holes
        .filter(|hole| hole.end > at)
        .min_by_key(|hole| hole.start)
}

/// The parts of the carve-out, as pages.
struct Areas {
    read_only: Pages,
    data: Pages,
    stacks: Pages,
    pool: Pages,
}

impl Areas {
    fn new<G: Granule>(boot: &Boot<'_, '_, G>, carveout: Pages) -> Result<Areas, Error> {
        let layout = &boot.layout;
        let at = |offset: u64| {
            let whole = offset & (G::BYTES - 1) == 0 && offset <= layout.size;
            whole
                .then_some(carveout.start + (offset >> G::SHIFT))
                .ok_or(Error::Invalid)
        };
        let ro = at(boot.image_read_only_end)?;
        let stacks = at(layout.stacks)?;
        let pool = at(layout.pool)?;
        let params = at(layout.params)?;
        if ro > params || params > stacks || stacks > pool {
            return Err(Error::Invalid);
        }
        let areas = Areas {
            read_only: Pages {
                start: carveout.start,
                end: ro,
            },
            data: Pages {
                start: ro,
                end: stacks,
            },
            stacks: Pages {
                start: stacks,
                end: pool,
            },
            pool: Pages {
                start: pool,
                end: carveout.end,
            },
        };
        let window = boot.pool.window().pfn::<G>();
        if !areas.pool.has(window) || boot.pool.end().pfn::<G>() != areas.pool.end {
            return Err(Error::Invalid);
        }
        Ok(areas)
    }
}
