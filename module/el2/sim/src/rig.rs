// SPDX-License-Identifier: GPL-2.0
//! The EL2 logic, booted on the fake machine as `arch` boots it on a real one.

use mvirt_abi::{
    BootParams, Carveout, Error, PhysRange, MAX_CPUS, MAX_META_CHUNKS, MAX_RAM_RANGES,
    META_BYTES_PER_PAGE, META_CHUNK, STACK_SIZE,
};
use mvirt_hyp::addr::{Granule, GuestIpa, Ipa, Level, Linear, Phys, Va};
use mvirt_hyp::memory::{Accessor, Boot, Decoys, Denied, GuestTable, Memory, Outcome};
use mvirt_hyp::page::PageWord;
use mvirt_hyp::pgtable::stage1::{Access as El2Access, El2Map, Memory as El2Memory, Regime};
use mvirt_hyp::pgtable::stage2::{GuestRegime, Shape};
use mvirt_hyp::pgtable::{Attrs, BootFrames};
use mvirt_hyp::pool::BootPool;
use mvirt_hyp::trap::Access;

use crate::machine::{FakeMachine, Fault};

/// Where the linear map starts.
pub const LINEAR_BASE: u64 = 1 << 47;
/// Where the image is linked.
pub const LINK_BASE: u64 = 1 << 46;
/// Where stacks are, each above a guard page.
pub const STACK_BASE: u64 = LINK_BASE + (1 << 30);
/// Bits of EL2's virtual addresses.
pub const VA_BITS: u32 = 48;

/// What to boot on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's RAM.
    pub ram: Vec<PhysRange>,
    /// Where the carve-out is.
    pub carveout: u64,
    /// Where the chunks of metadata are, each `META_CHUNK` but the last.
    pub meta: Vec<PhysRange>,
    /// How the carve-out is divided.
    pub layout: Carveout,
    /// End of the image's read-only part.
    pub read_only_end: u64,
    /// Bits of physical address.
    pub pa_bits: u32,
    /// EL2's translation regime.
    pub regime: Regime,
    /// HCR_EL2.FWB.
    pub fwb: bool,
    /// CPUs.
    pub cpus: u32,
}

impl Config {
    /// A plain machine: the carve-out `offset` bytes into the first range that has room for it and
    /// for the metadata, which follows. `None` if there is no room.
    pub fn new<G: Granule>(ram: &[PhysRange], offset: u64) -> Option<Config> {
        let cpus = 4;
        let image = 256 << 10;
        let layout = Carveout::new(image, cpus, G::SHIFT)?;
        let bytes: u64 = ram.iter().map(|range| range.size).sum();
        let words = (bytes >> G::SHIFT) * META_BYTES_PER_PAGE;
        let need = words.next_multiple_of(G::BYTES);
        let room = |range: &&PhysRange| range.size >= offset + layout.size + need;
        let carveout = ram.iter().find(room)?.base + offset;
        let mut meta = Vec::new();
        let mut at = carveout + layout.size;
        let mut left = need;
        while left > 0 {
            let size = left.min(META_CHUNK);
            meta.push(PhysRange { base: at, size });
            (at, left) = (at + size, left - size);
        }
        Some(Config {
            ram: ram.to_vec(),
            carveout,
            meta,
            layout,
            read_only_end: u64::from(image) / 2,
            pa_bits: 40,
            regime: Regime::El2,
            fwb: false,
            cpus,
        })
    }

    /// The boot parameters that EL1 would pass.
    pub fn params(&self) -> BootParams {
        let mut params = BootParams {
            carveout: PhysRange {
                base: self.carveout,
                size: self.layout.size,
            },
            nr_cpus: self.cpus,
            nr_ram: self.ram.len() as u32,
            nr_meta: self.meta.len() as u32,
            flags: 0,
            // `arch` alone reads it.
            report: 0,
            cpus: std::array::from_fn(|n| if n < MAX_CPUS { n as u64 } else { 0 }),
            gicr: [0; MAX_CPUS],
            ram: [PhysRange::default(); MAX_RAM_RANGES],
            meta: [PhysRange::default(); MAX_META_CHUNKS],
        };
        for (to, from) in params.ram.iter_mut().zip(&self.ram) {
            *to = *from;
        }
        for (to, from) in params.meta.iter_mut().zip(&self.meta) {
            *to = *from;
        }
        params
    }

    /// Boots, and calls `with` if that succeeds.
    pub fn boot<G: Granule, R>(&self, with: impl FnOnce(Rig<'_, G>) -> R) -> Result<R, Error> {
        self.boot_params(&self.params(), with)
    }

    /// As [`boot`](Self::boot), with boot parameters that may be wrong.
    pub fn boot_params<G: Granule, R>(
        &self,
        params: &BootParams,
        with: impl FnOnce(Rig<'_, G>) -> R,
    ) -> Result<R, Error> {
        // EL1 need not clear the metadata: EL2 does.
        let junk = PageWord::from_raw(0xffff_ffff);
        let mut chunks: Vec<Vec<PageWord>> = self
            .meta
            .iter()
            .map(|range| vec![junk; (range.size / META_BYTES_PER_PAGE) as usize])
            .collect();
        let mut slices = chunks.iter_mut();
        let meta = std::array::from_fn(|_| slices.next().map_or(&mut [][..], |c| &mut c[..]));

        let mut m = FakeMachine::<G>::new(self.cpus as usize);
        let base = self.carveout;
        let pages = (self.layout.size - self.layout.pool) >> G::SHIFT;
        let mut pool =
            BootPool::new::<G>(Phys::new(base + self.layout.pool), pages).ok_or(Error::Invalid)?;
        let el2 = self.boot_el2(&mut m, &mut pool)?;
        let tree = el2.tree();
        m.enable_el2(tree.root(), tree.start(), tree.bits(), el2.linear());
        let mut guests = GuestTable::new();
        let mut decoys = Decoys::new();
        let boot = Boot {
            params,
            layout: self.layout,
            image_read_only_end: self.read_only_end,
            el2,
            pool,
            meta,
            guests: &mut guests,
            decoys: &mut decoys,
            pa_bits: self.pa_bits,
            fwb: self.fwb,
        };
        let memory = Memory::new(&mut m, boot)?;
        let shape = Shape::new::<G>(self.pa_bits)?;
        m.enable_host(
            memory.host_root(),
            shape.root_tables,
            shape.start,
            shape.ipa_bits,
        );
        let mut rig = Rig { m, memory };
        rig.settle();
        Ok(with(rig))
    }

    /// What the boot code does with the MMU off.
    fn boot_el2<G: Granule>(
        &self,
        m: &mut FakeMachine<G>,
        pool: &mut BootPool,
    ) -> Result<El2Map<G>, Error> {
        let mut frames = BootFrames::<G>::new(pool);
        let linear = Linear::new(Va::new(LINEAR_BASE));
        let el2 = El2Map::new(m, &mut frames, self.regime, VA_BITS, linear)?;
        let ro = self.read_only_end;
        let end = self.layout.params.max(ro);
        let text = (ro / 2) & !(G::BYTES - 1);
        for (start, end, access) in [
            (0, text, El2Access::ReadExecute),
            (text, ro, El2Access::Read),
            (ro, end, El2Access::ReadWrite),
        ] {
            if start == end {
                continue;
            }
            let (va, pa) = (Va::new(LINK_BASE + start), Phys::new(self.carveout + start));
            el2.map(
                m,
                &mut frames,
                va,
                pa,
                end - start,
                access,
                El2Memory::Normal,
            )?;
        }
        // The identity page.
        let (va, pa) = (Va::new(self.carveout), Phys::new(self.carveout));
        el2.map(
            m,
            &mut frames,
            va,
            pa,
            G::BYTES,
            El2Access::ReadExecute,
            El2Memory::Normal,
        )?;
        for cpu in 0..u64::from(self.cpus) {
            let va = Va::new(STACK_BASE + cpu * (STACK_SIZE + G::BYTES) + G::BYTES);
            let pa = Phys::new(self.carveout + self.layout.stacks + cpu * STACK_SIZE);
            el2.map(
                m,
                &mut frames,
                va,
                pa,
                STACK_SIZE,
                El2Access::ReadWrite,
                El2Memory::Normal,
            )?;
        }
        let pool_pa = Phys::new(self.carveout + self.layout.pool);
        el2.map_linear(m, &mut frames, pool_pa, self.layout.size - self.layout.pool)?;
        for meta in &self.meta {
            el2.map_linear(m, &mut frames, Phys::new(meta.base), meta.size)?;
        }
        Ok(el2)
    }
}

/// A booted EL2 with a host on top.
#[derive(Debug)]
pub struct Rig<'m, G> {
    /// The machine.
    pub m: FakeMachine<G>,
    /// What is under test.
    pub memory: Memory<'m, G>,
}

impl<G: Granule> Rig<'_, G> {
    /// Ends a call: no fault was seen, and none is left. Answers watched addresses that a CPU
    /// found unmapped meanwhile: it waits for the lock with a stage-2 fault.
    ///
    /// # Panics
    ///
    /// If the machine saw a fault of the code under test.
    pub fn settle(&mut self) -> Vec<u64> {
        self.m.settle();
        let faults = self.m.take_faults();
        assert_eq!(faults, Vec::<Fault>::new());
        self.m.take_missed()
    }

    /// A host CPU accesses `ipa`, with as many faults as that takes.
    ///
    /// # Panics
    ///
    /// If a mended fault happens again.
    pub fn access(&mut self, cpu: usize, ipa: u64, access: Access) -> Result<Phys, Denied> {
        for _ in 0..2 {
            match self.m.host_translate(cpu, Ipa::new(ipa)) {
                Some((phys, attrs)) if grants(attrs, access) => return Ok(phys),
                _ => (),
            }
            let by = program(access);
            let outcome = self.memory.host_fault(&mut self.m, Ipa::new(ipa), by);
            self.settle();
            if let Outcome::Denied(why) = outcome {
                return Err(why);
            }
        }
        panic!("the fault at {ipa:#x} was mended and came again");
    }

    /// Makes the memory of a guest, known to the machine.
    pub fn guest_create(
        &mut self,
        slot: usize,
        protected: bool,
        ipa_bits: u32,
    ) -> Result<GuestRegime, Error> {
        let regime = self
            .memory
            .guest_create(&mut self.m, slot, protected, ipa_bits)?;
        let shape = Shape::guest::<G>(ipa_bits, self.memory.host_tree().bits())?;
        let tree = self.memory.guest_tree(slot).ok_or(Error::NoEntry)?;
        self.m.enable_guest(tree, shape.root_tables, protected);
        self.settle();
        Ok(regime)
    }

    /// Takes a step in taking a guest apart; answers whether more are to come.
    pub fn guest_destroy_step(&mut self, slot: usize) -> Result<bool, Error> {
        let more = self.memory.guest_destroy_step(&mut self.m, slot)?;
        if !more {
            self.m.disable_guest(slot as u64 + 1);
        }
        self.settle();
        Ok(more)
    }

    /// Takes a guest apart; answers in how many steps.
    ///
    /// # Panics
    ///
    /// If there is no such guest.
    pub fn guest_destroy(&mut self, slot: usize) -> u64 {
        let mut steps = 1;
        while self.guest_destroy_step(slot).expect("there is a guest") {
            steps += 1;
        }
        steps
    }

    /// The page that a guest has at `gfn`, as EL2 tells.
    pub fn has(&self, slot: usize, gfn: u64) -> Option<u64> {
        let ipa = GuestIpa::from_pfn::<G>(gfn)?;
        let found = self.memory.guest_walk(&self.m, slot, ipa).ok()??;
        Some(found.phys.pfn::<G>())
    }

    /// A vCPU accesses `ipa` on a CPU; `None` if it takes a stage-2 fault.
    pub fn guest_access(
        &mut self,
        cpu: usize,
        slot: usize,
        ipa: u64,
        access: Access,
    ) -> Option<Phys> {
        let found = self
            .m
            .guest_translate(cpu, slot as u64 + 1, GuestIpa::new(ipa));
        let (phys, attrs) = found?;
        grants(attrs, access).then_some(phys)
    }

    /// The level of the leaf that the host's tables have for `ipa`.
    pub fn leaf_level(&self, ipa: u64) -> Option<Level> {
        let entry = self.memory.host_tree().walk(&self.m, Ipa::new(ipa))?;
        matches!(entry.view, mvirt_hyp::pgtable::View::Leaf { .. }).then_some(entry.level)
    }

    /// Checks the invariants.
    ///
    /// # Panics
    ///
    /// If one is broken.
    pub fn check(&self) {
        assert_eq!(self.memory.check_tables(&self.m), Ok(()));
        assert_eq!(self.memory.check(&self.m), Ok(()));
    }
}

/// A program's access.
pub fn program(access: Access) -> Accessor {
    Accessor {
        kernel: None,
        fetch: access == Access::Fetch,
    }
}

/// Whether hardware lets an access through a leaf of stage 2: S2AP in 7:6, XN\[1:0\] in 54:53, of
/// which only 0b00 lets both EL1 and EL0 fetch (Arm ARM D8.4).
fn grants(attrs: Attrs, access: Access) -> bool {
    let (readable, writable) = (attrs.bits() & 0b01 << 6 != 0, attrs.bits() & 0b10 << 6 != 0);
    match access {
        Access::Read => readable,
        Access::Write => writable,
        Access::Fetch => readable && attrs.bits() & 0b11 << 53 == 0,
    }
}
