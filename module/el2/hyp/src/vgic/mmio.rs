// SPDX-License-Identifier: GPL-2.0
//! The registers in the guest's address space: GICD, and for each vCPU GICR's two frames.
//!
//! GICD_CTLR.ARE and DS are one: affinity routing, one Security state. What is of interrupts has the
//! same offsets in GICD and in GICR's SGI frame; GICD has the SPIs of it and GICR the private ones, and
//! the rest reads as zero. Accesses are of 32 bits, of 8 bits too to priorities, of 64 bits too to
//! `GICD_IROUTER<n>` and GICR_TYPER; any other reads as zero and writes nothing (IHI 0069, 12.1.3).

use mvirt_abi::Error;

use super::irq::flag;
use super::{Irq, Vgic, PRIVATE};

/// An access, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A read.
    Read {
        /// Bytes: 1, 2, 4 or 8.
        size: u64,
    },
    /// A write.
    Write {
        /// Bytes: 1, 2, 4 or 8.
        size: u64,
        /// What is written. Bits above the size do not count.
        value: u64,
    },
}

/// What came of an access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmioResult {
    /// What a read answers.
    pub value: u64,
    /// The wake mask of a write.
    pub wake: u64,
}

/// A frame of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// GICD.
    Distributor,
    /// GICR's RD_base of a vCPU.
    Control(usize),
    /// GICR's SGI_base of a vCPU.
    Private(usize),
}

/// Who accesses: a few registers show user space, which saves and restores, something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Guest,
    User,
}

/// The registers with one bit an interrupt: 128 bytes each, numbered by bits 9:7 of the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
}

impl Bits {
    const fn of(offset: u32) -> Option<Bits> {
        Some(match offset >> 7 {
            1 => Bits::Group,
            2 => Bits::SetEnable,
            3 => Bits::ClearEnable,
            4 => Bits::SetPending,
            5 => Bits::ClearPending,
            6 => Bits::SetActive,
            7 => Bits::ClearActive,
            _ => return None,
        })
    }

    const fn read(self, irq: Irq, by: By) -> bool {
        match (self, by) {
            (Bits::Group, _) => irq.has(flag::GROUP1),
            (Bits::SetEnable | Bits::ClearEnable, _) => irq.has(flag::ENABLED),
            (Bits::SetPending | Bits::ClearPending, By::Guest) => irq.shows_pending(),
            (Bits::SetPending, By::User) => irq.latched(),
            (Bits::ClearPending, By::User) => false,
            (Bits::SetActive | Bits::ClearActive, _) => irq.has(flag::ACTIVE),
        }
    }

    const fn write(self, irq: Irq, set: bool, by: By) -> Irq {
        match (self, by, set) {
            (Bits::Group, ..) => irq.with(flag::GROUP1, set),
            (Bits::SetEnable, _, true) => irq.with(flag::ENABLED, true),
            (Bits::ClearEnable, _, true) => irq.with(flag::ENABLED, false),
            (Bits::SetPending, _, true) => irq.with(flag::LATCH, true),
            (Bits::SetPending, By::User, false) => irq.unlatched(),
            (Bits::ClearPending, By::Guest, true) => irq.unlatched(),
            (Bits::SetActive, _, true) => irq.activated(true),
            (Bits::ClearActive, _, true) => irq.activated(false),
            _ => irq,
        }
    }
}

/// GICD_CTLR and GICD_TYPER.
mod gicd {
    /// CTLR: the enables of groups 0 and 1.
    pub const ENABLES: u32 = 3;
    /// CTLR: affinity routing.
    pub const ARE: u32 = 1 << 4;
    /// CTLR: one Security state.
    pub const DS: u32 = 1 << 6;
    /// TYPER.IDbits: INTIDs of 10 bits.
    pub const ID_BITS: u32 = 9 << 19;
    /// TYPER.No1N: an SPI has one target.
    pub const NO1N: u32 = 1 << 25;
}

/// GICD_IIDR and GICR_IIDR: Arm, product K, which is KVM's. Its revision says which of its behaviours
/// to expect; what it means for 2 and 3 holds here.
const IIDR: u32 = 0x4b << 24 | 0x43b;
const IIDR_REVISION_SHIFT: u32 = 12;
/// GICD_PIDR2 and GICR_PIDR2: GICv3.
const PIDR2: u32 = 0x3b;
/// GICR_CTLR.IR and CES: with revision 3, as KVM has it. They are of LPIs, of which there are none.
const GICR_CTLR: u32 = 0b110;

impl Vgic<'_> {
    /// Whether an address is the GIC's.
    pub fn covers(&self, ipa: u64) -> bool {
        self.map.frame(ipa).is_some()
    }

    /// A guest's access to `ipa`. `None` if no register of the GIC is there: it is somebody else's.
    ///
    /// The vCPU that accesses has been [synced](Self::sync), and its timers' lines are set.
    pub fn mmio(&mut self, ipa: u64, access: Access) -> Option<MmioResult> {
        let (frame, offset) = self.map.frame(ipa)?;
        let (size, write) = match access {
            Access::Read { size } => (size, None),
            Access::Write { size, value } => (size, Some(value)),
        };
        // What is more than 8 is no register's size either.
        let size = u32::try_from(size).unwrap_or(0);
        self.wake = 0;
        let value = if offset & size.wrapping_sub(1) == 0 {
            // What there is not reads as zero.
            self.register(frame, offset, size, write, By::Guest)
                .unwrap_or(0)
        } else {
            0
        };
        Some(MmioResult {
            value,
            wake: self.take_wake(),
        })
    }

    /// A guest's read of a register that does not tell of interrupts, such as an identification: the
    /// vCPU that reads need not be synced for it. `None` if it must be.
    pub fn read_fixed(&mut self, ipa: u64, size: u64) -> Option<u64> {
        let (frame, offset) = self.map.frame(ipa)?;
        match frame {
            Frame::Control(_) => {}
            Frame::Distributor if !matches!(offset, 0x80..ID) => {}
            Frame::Distributor | Frame::Private(_) => return None,
        }
        let result = self.mmio(ipa, Access::Read { size })?;
        Some(result.value)
    }

    /// Accesses a register. [`Error::NoAddress`] if there is none of this size.
    pub(super) fn register(
        &mut self,
        frame: Frame,
        offset: u32,
        size: u32,
        write: Option<u64>,
        by: By,
    ) -> Result<u64, Error> {
        let known = match frame {
            Frame::Control(vcpu) => return self.control(vcpu, offset, size),
            Frame::Distributor if offset < 0x80 && size == 4 => {
                return self.distributor(offset, write, by).map(u64::from);
            }
            Frame::Distributor if matches!(offset, 0x6100..0x7fe0) && size >= 4 => {
                return Ok(self.route((offset - 0x6000) / 8, offset & 4 != 0, write));
            }
            Frame::Distributor => id(offset),
            Frame::Private(_) => None,
        };
        if let (Some(value), 4) = (known, size) {
            return Ok(u64::from(value));
        }
        match (offset, size) {
            (0x80..0x400, 4) => {
                let bits = Bits::of(offset).ok_or(Error::NoAddress)?;
                let first = (offset & 0x7f) * 8;
                Ok(self.bits(frame, bits, first, write, by))
            }
            (0x400..0x800, 1 | 4) => Ok(self.priorities(frame, offset - 0x400, size, write)),
            (0xc00..0xd00, 4) => Ok(self.config(frame, (offset - 0xc00) * 4, write)),
            // GICD_ITARGETSR<n>, GICD_IGRPMODR<n>, GICD_NSACR<n>: RES0 with ARE and DS.
            (0x800..0xc00, 1 | 4) | (0xd00..0xd80 | 0xe00..0xf00, 4) => Ok(0),
            _ => Err(Error::NoAddress),
        }
    }

    /// GICD's registers of the whole.
    fn distributor(&mut self, offset: u32, write: Option<u64>, by: By) -> Result<u32, Error> {
        let iidr = IIDR | self.map.revision() << IIDR_REVISION_SHIFT;
        let value = match offset {
            0x00 => self.enables | gicd::ARE | gicd::DS,
            0x04 => (self.map.nr_lines() / 32 - 1) | gicd::ID_BITS | gicd::NO1N,
            0x08 => iidr,
            // TYPER2, STATUSR.
            0x0c | 0x10 => 0,
            _ => return Err(Error::NoAddress),
        };
        // Lossless: an access of 32 bits.
        let Some(new) = write.map(|value| value as u32) else {
            return Ok(value);
        };
        match (offset, by) {
            (0x00, _) => {
                let enables = new & gicd::ENABLES;
                if enables != self.enables {
                    self.enables = enables;
                    // Each vCPU has another set of deliverable interrupts.
                    self.wake = self.map.present();
                }
            }
            (0x08, By::User) => self.map.set_revision(new ^ IIDR, IIDR_REVISION_SHIFT)?,
            (0x0c, By::User) if new != 0 => return Err(Error::Invalid),
            _ => {}
        }
        Ok(0)
    }

    /// GICR's registers of the whole.
    fn control(&self, vcpu: usize, offset: u32, size: u32) -> Result<u64, Error> {
        let typer = self.map.typer(vcpu);
        Ok(match (offset, size) {
            (0x00, 4) if self.map.revision() >= 3 => GICR_CTLR.into(),
            (0x04, 4) => IIDR.into(),
            (0x08, 8) => typer,
            (0x08, 4) => typer & 0xffff_ffff,
            (0x0c, 4) => typer >> 32,
            // CTLR, STATUSR, WAKER (awake), SYNCR.
            (0x00 | 0x10 | 0x14 | 0xc0, 4) => 0,
            // PROPBASER, PENDBASER, INVLPIR, INVALLR: there are no LPIs.
            (0x70..0x80 | 0xa0..0xa8 | 0xb0..0xb8, 4 | 8) => 0,
            (_, 4) => id(offset).ok_or(Error::NoAddress)?.into(),
            _ => return Err(Error::NoAddress),
        })
    }

    /// The interrupt of this number if the frame has it, as the vCPU that the frame is of sees it.
    fn of_frame(&self, frame: Frame, intid: u32) -> Option<(usize, Irq)> {
        let vcpu = match frame {
            Frame::Private(vcpu) if intid < PRIVATE => vcpu,
            Frame::Distributor if intid >= PRIVATE && intid < self.map.nr_irqs() => 0,
            _ => return None,
        };
        Some((vcpu, self.irq(vcpu, intid)?))
    }

    fn bits(&mut self, frame: Frame, bits: Bits, first: u32, write: Option<u64>, by: By) -> u64 {
        let mut value = 0;
        for n in 0..32 {
            let Some((vcpu, irq)) = self.of_frame(frame, first + n) else {
                continue;
            };
            match write {
                None => value |= u64::from(bits.read(irq, by)) << n,
                // Only what is active ends by it.
                Some(new) if bits == Bits::ClearActive && by == By::Guest && new >> n & 1 == 1 => {
                    self.inactivate(vcpu, first + n, irq);
                }
                Some(new) => {
                    let new = bits.write(irq, new >> n & 1 == 1, by);
                    self.put(vcpu, first + n, new);
                }
            }
        }
        value
    }

    fn priorities(&mut self, frame: Frame, first: u32, size: u32, write: Option<u64>) -> u64 {
        let mut value = 0;
        for n in 0..size {
            let Some((vcpu, irq)) = self.of_frame(frame, first + n) else {
                continue;
            };
            match write {
                None => value |= u64::from(irq.priority()) << (8 * n),
                Some(new) => {
                    // Its byte.
                    let priority = (new >> (8 * n)) as u8;
                    self.put(vcpu, first + n, irq.with_priority(priority));
                }
            }
        }
        value
    }

    /// Two bits an interrupt, of which the upper one counts. SGIs are edges and PPIs level-sensitive
    /// for good.
    fn config(&mut self, frame: Frame, first: u32, write: Option<u64>) -> u64 {
        let mut value = 0;
        for n in 0..16 {
            let Some((vcpu, irq)) = self.of_frame(frame, first + n) else {
                continue;
            };
            match write {
                None => value |= u64::from(irq.has(flag::EDGE)) << (2 * n + 1),
                Some(new) if frame == Frame::Distributor => {
                    let edge = new >> (2 * n + 1) & 1 == 1;
                    self.put(vcpu, first + n, irq.with(flag::EDGE, edge));
                }
                Some(_) => {}
            }
        }
        value
    }

    /// `GICD_IROUTER<n>`. The upper word, Aff3, is RES0 (GICD_TYPER.A3V); so is Interrupt_Routing_Mode.
    /// The rest reads back as it was written, also where there is no such CPU, as in KVM.
    fn route(&mut self, intid: u32, upper: bool, write: Option<u64>) -> u64 {
        let found = self.of_frame(Frame::Distributor, intid);
        let (Some((vcpu, irq)), false) = (found, upper) else {
            return 0;
        };
        // An SPI: `found` says so.
        let Some(route) = self.routes.get_mut((intid - PRIVATE) as usize) else {
            return 0;
        };
        let Some(new) = write else {
            return u64::from(*route);
        };
        // Lossless: Aff2, Aff1, Aff0.
        *route = (new & 0xff_ffff) as u32;
        let target = u8::try_from(*route).unwrap_or(0xff);
        if target != irq.target() {
            self.put(vcpu, intid, irq.with_target(target));
        }
        0
    }
}

/// Where the identification registers begin, at the end of GICD and GICR.
const ID: u32 = 0xffd0;

const fn id(offset: u32) -> Option<u32> {
    match offset {
        0xffe8 => Some(PIDR2),
        ID..0x1_0000 => Some(0),
        _ => None,
    }
}
