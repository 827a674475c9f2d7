// SPDX-License-Identifier: GPL-2.0
//! The GIC's size and addresses, and which vCPU has which redistributor, by KVM's rules.
//!
//! Redistributors fill the regions in the order in which the vCPUs were made: the n-th vCPU has the n-th
//! place of all regions together. So nothing has to be kept for each vCPU but that order.

use mvirt_abi::{Error, MAX_IRQS, MAX_VCPUS};

use super::mmio::Frame;
use super::PRIVATE;

/// GICD's size, and what all addresses are aligned to.
pub(super) const FRAME: u64 = 0x1_0000;
/// A redistributor: RD_base and SGI_base.
const REDIST: u64 = 2 * FRAME;
/// Nowhere.
const UNDEFINED: u64 = u64::MAX;
/// Interrupts if nobody says how many, as in KVM.
const DEFAULT_IRQS: u32 = 256;

/// [`REDIST_REGION`](mvirt_abi::vgic::REDIST_REGION)'s value.
pub(super) mod region {
    pub const INDEX: u64 = 0xfff;
    pub const FLAGS: u64 = 0xf << 12;
    pub const BASE: u64 = 0xf_ffff_ffff << 16;
    pub const COUNT_SHIFT: u32 = 52;
}

/// Redistributors side by side.
#[derive(Clone, Copy, Debug)]
struct Region {
    base: u64,
    /// How many have room; 0 is the one region of [`REDIST`](mvirt_abi::vgic::REDIST), which grows with the VM.
    count: u32,
}

impl Region {
    /// How many redistributors it is to have room for, with so many vCPUs.
    const fn room(self, vcpus: u32) -> u32 {
        if self.count == 0 {
            vcpus
        } else {
            self.count
        }
    }

    /// How many of `left` vCPUs find a place here.
    const fn takes(self, left: u32) -> u32 {
        if self.count == 0 || left < self.count {
            left
        } else {
            self.count
        }
    }
}

/// Addresses and sizes.
#[derive(Debug)]
pub(super) struct Map {
    dist: u64,
    regions: [Region; MAX_VCPUS],
    nr_regions: u32,
    /// The vCPUs in the order of their making.
    made: [u8; MAX_VCPUS],
    nr_vcpus: u32,
    present: u32,
    /// Interrupts, private ones included; 0 until it is known.
    nr_irqs: u32,
    revision: u32,
    ready: bool,
}

impl Map {
    pub const EMPTY: Map = Map {
        dist: UNDEFINED,
        regions: [Region {
            base: UNDEFINED,
            count: 0,
        }; MAX_VCPUS],
        nr_regions: 0,
        made: [0; MAX_VCPUS],
        nr_vcpus: 0,
        present: 0,
        nr_irqs: 0,
        revision: 3,
        ready: false,
    };

    /// The vCPUs that there are, one bit each.
    pub const fn present(&self) -> u32 {
        self.present
    }

    /// The interrupts that there are: the last four of 1024 have special meanings.
    pub const fn nr_irqs(&self) -> u32 {
        if self.nr_irqs > MAX_IRQS {
            MAX_IRQS
        } else {
            self.nr_irqs
        }
    }

    /// As GICD_TYPER tells them, in steps of 32.
    pub const fn nr_lines(&self) -> u32 {
        if self.nr_irqs == 0 {
            PRIVATE
        } else {
            self.nr_irqs
        }
    }

    /// KVM's revision of GICD_IIDR.
    pub const fn revision(&self) -> u32 {
        self.revision
    }

    /// User space asks for another revision, `value` with nothing else than that in it.
    pub fn set_revision(&mut self, value: u32, shift: u32) -> Result<(), Error> {
        match (value >> shift, value & ((1 << shift) - 1)) {
            (revision @ 2..=3, 0) => {
                self.revision = revision;
                Ok(())
            }
            _ => Err(Error::Invalid),
        }
    }

    pub fn expect_ready(&self) -> Result<(), Error> {
        if self.ready {
            Ok(())
        } else {
            Err(Error::Busy)
        }
    }

    /// A vCPU that there is.
    pub fn expect_vcpu(&self, n: u64) -> Result<usize, Error> {
        match usize::try_from(n) {
            Ok(n) if n < MAX_VCPUS && self.present >> n & 1 == 1 => Ok(n),
            _ => Err(Error::Invalid),
        }
    }

    fn regions(&self) -> &[Region] {
        &self.regions[..self.nr_regions as usize]
    }

    /// Which frame an address is in, and where in it. None before the GIC is initialised.
    pub fn frame(&self, ipa: u64) -> Option<(Frame, u32)> {
        if !self.ready {
            return None;
        }
        // Lossless, here and below: 16 bits.
        let offset = (ipa % FRAME) as u32;
        if ipa.wrapping_sub(self.dist) < FRAME {
            return Some((Frame::Distributor, offset));
        }
        let mut first = 0;
        for region in self.regions() {
            let here = region.takes(self.nr_vcpus - first);
            let n = ipa.wrapping_sub(region.base) / REDIST;
            if n < u64::from(here) {
                let vcpu = usize::from(self.made[first as usize + n as usize]);
                let private = (ipa - region.base) % REDIST >= FRAME;
                let frame = if private {
                    Frame::Private(vcpu)
                } else {
                    Frame::Control(vcpu)
                };
                return Some((frame, offset));
            }
            first += here;
        }
        None
    }

    /// GICR_TYPER: the affinity, the number, and whether it is the last of adjacent redistributors.
    pub fn typer(&self, vcpu: usize) -> u64 {
        let n = vcpu as u64;
        n << 32 | n << 8 | u64::from(self.is_last(vcpu)) << 4
    }

    fn is_last(&self, vcpu: usize) -> bool {
        let made = &self.made[..self.nr_vcpus as usize];
        let Some(place) = made.iter().position(|m| usize::from(*m) == vcpu) else {
            return false;
        };
        let mut first = 0;
        let mut end = UNDEFINED;
        let mut found = false;
        for region in self.regions() {
            let here = region.takes(self.nr_vcpus - first);
            if (first..first + here).contains(&(place as u32)) {
                if place as u32 != first + here - 1 {
                    return false;
                }
                found = true;
                if here == region.count {
                    end = region.base + u64::from(here) * REDIST;
                }
            }
            first += here;
        }
        found && !self.is_filled_at(end)
    }

    /// Whether a region with redistributors in it starts here.
    fn is_filled_at(&self, base: u64) -> bool {
        let mut left = self.nr_vcpus;
        self.regions().iter().any(|region| {
            let here = region.takes(left);
            left -= here;
            here > 0 && region.base == base
        })
    }

    /// Whether a range of guest addresses may be used: [`Error::Invalid`] if it is not aligned or
    /// wraps, [`Error::TooBig`] past the VM's physical addresses.
    fn expect_range(base: u64, bytes: u64, ipa_bits: u32) -> Result<(), Error> {
        let end = base.checked_add(bytes).ok_or(Error::Invalid)?;
        if base % FRAME != 0 {
            return Err(Error::Invalid);
        }
        if base >> ipa_bits != 0 || end > 1 << ipa_bits {
            return Err(Error::TooBig);
        }
        Ok(())
    }

    fn meets_regions(&self, base: u64, bytes: u64) -> bool {
        self.regions().iter().any(|region| {
            let size = u64::from(region.room(self.nr_vcpus)) * REDIST;
            base < region.base + size && region.base < base + bytes
        })
    }

    fn meets_dist(&self, base: u64, bytes: u64) -> bool {
        self.dist != UNDEFINED && base < self.dist + FRAME && self.dist < base + bytes
    }

    /// See [`Vgic::add_vcpu`](super::Vgic::add_vcpu).
    pub fn add_vcpu(&mut self, vcpu: usize) -> Result<(), Error> {
        if self.ready {
            return Err(Error::Busy);
        }
        if vcpu >= MAX_VCPUS || self.present >> vcpu & 1 == 1 {
            return Err(Error::Invalid);
        }
        // Lossless: below MAX_VCPUS.
        self.made[self.nr_vcpus as usize] = vcpu as u8;
        self.nr_vcpus += 1;
        self.present |= 1 << vcpu;
        Ok(())
    }

    /// See [`Vgic::is_begun`](super::Vgic::is_begun).
    pub const fn is_begun(&self) -> bool {
        self.ready || self.nr_irqs != 0 || self.nr_regions != 0 || self.dist != UNDEFINED
    }

    /// The number of interrupts as it was asked for, 0 if it was not.
    pub const fn nr_asked(&self) -> u32 {
        self.nr_irqs
    }

    /// IPA of the distributor, all ones before it has one.
    pub const fn dist(&self) -> u64 {
        self.dist
    }

    /// IPA of the first region, all ones before there is one.
    pub fn first_region(&self) -> u64 {
        self.regions()
            .first()
            .map_or(UNDEFINED, |region| region.base)
    }

    pub fn set_dist(&mut self, base: u64, ipa_bits: u32) -> Result<(), Error> {
        if self.dist != UNDEFINED {
            return Err(Error::Exists);
        }
        Map::expect_range(base, FRAME, ipa_bits)?;
        self.dist = base;
        Ok(())
    }

    /// Adds a region of `count`, as the `index`-th one; or with `count` 0 the only one.
    pub fn add_region(
        &mut self,
        index: u64,
        base: u64,
        count: u32,
        bits: u32,
    ) -> Result<(), Error> {
        if let Some(last) = self.regions().last() {
            return match (count, last.count) {
                (0, 0) => Err(Error::Exists),
                (0, _) | (_, 0) => Err(Error::Invalid),
                _ => self.push_region(index, base, count, bits),
            };
        }
        self.push_region(index, base, count, bits)
    }

    fn push_region(&mut self, index: u64, base: u64, count: u32, bits: u32) -> Result<(), Error> {
        let region = Region { base, count };
        let bytes = u64::from(region.room(self.nr_vcpus)) * REDIST;
        let n = self.nr_regions as usize;
        if index != n as u64 || n == self.regions.len() {
            return Err(Error::Invalid);
        }
        if base.checked_add(bytes).is_none()
            || self.meets_regions(base, bytes)
            || self.meets_dist(base, bytes)
        {
            return Err(Error::Invalid);
        }
        Map::expect_range(base, bytes, bits)?;
        self.regions[n] = region;
        self.nr_regions += 1;
        Ok(())
    }

    /// What a region is, in [`REDIST_REGION`](mvirt_abi::vgic::REDIST_REGION)'s format.
    pub fn region(&self, index: u64) -> Result<u64, Error> {
        let n = usize::try_from(index).map_err(|_| Error::NoEntry)?;
        let region = self.regions().get(n).ok_or(Error::NoEntry)?;
        Ok(u64::from(region.count) << region::COUNT_SHIFT | region.base | index)
    }

    pub fn set_nr_irqs(&mut self, value: u64) -> Result<(), Error> {
        let nr = u32::try_from(value).map_err(|_| Error::Invalid)?;
        if !(64..=1024).contains(&nr) || nr % 32 != 0 {
            return Err(Error::Invalid);
        }
        if self.ready || self.nr_irqs != 0 {
            return Err(Error::Busy);
        }
        self.nr_irqs = nr;
        Ok(())
    }

    pub fn init(&mut self) -> Result<(), Error> {
        if self.nr_vcpus == 0 {
            return Err(Error::NoEntry);
        }
        if self.nr_irqs == 0 {
            self.nr_irqs = DEFAULT_IRQS;
        }
        self.ready = true;
        Ok(())
    }

    /// See [`Vgic::expect_complete`](super::Vgic::expect_complete).
    pub fn expect_complete(&self, ipa_bits: u32) -> Result<(), Error> {
        let mut left = self.nr_vcpus;
        for region in self.regions() {
            left -= region.takes(left);
        }
        if left != 0 || self.dist == UNDEFINED {
            return Err(Error::NoAddress);
        }
        for region in self.regions() {
            let bytes = u64::from(region.room(self.nr_vcpus)) * REDIST;
            Map::expect_range(region.base, bytes, ipa_bits).map_err(|_| Error::Invalid)?;
        }
        if self.meets_regions(self.dist, FRAME) {
            return Err(Error::Invalid);
        }
        self.expect_ready()
    }
}
