// SPDX-License-Identifier: GPL-2.0
//! A VM of several vCPUs: the GIC under test with modelled interfaces, beside the naive one. Each
//! operation is done to both; then whoever the wake mask names comes out and goes in again, and so
//! does whoever has a maintenance interrupt, as `arch` does it; then both must agree.

use mvirt_abi::{vgic, WAKE_ENDED};
use mvirt_hyp::guest::sysreg::Sgi;
use mvirt_hyp::vgic::{Access, CpuInterface, Hardware, Irq, Listed, Vgic, MAX_SPIS, VTIMER};

use crate::hardware::{Ended, Interface};
use crate::naive::{Naive, NR_IRQS};

pub const DIST: u64 = 0x800_0000;
pub const REDIST: u64 = 0x80a_0000;
pub const SGI_BASE: u64 = 0x1_0000;

pub struct Rig<'m> {
    pub vgic: Vgic<'m>,
    pub ifaces: Vec<CpuInterface>,
    pub cpus: Vec<Interface>,
    pub inside: Vec<bool>,
    pub naive: Naive,
    pub hw: Hardware,
    /// EOImode of all vCPUs.
    pub split: bool,
    /// What each vCPU acknowledged and did not end yet, and with `split` did not deactivate yet.
    pub handled: Vec<Vec<u32>>,
    pub dropped: Vec<Vec<u32>>,
    /// The virtual timer: its line, and whether it is active in the machine's GIC.
    timer: Vec<bool>,
    active: Vec<bool>,
    /// As `arch` believes it to be.
    noted: Vec<bool>,
    /// Times that somebody came out.
    pub exits: usize,
    /// An answer said that something ended.
    flagged: bool,
}

/// ICH_VTR_EL2 with so many list registers, 5 bits of priority, TDS.
pub fn vtr(nr_lrs: u64) -> u64 {
    4 << 29 | 4 << 26 | 1 << 23 | 1 << 19 | (nr_lrs - 1)
}

/// A table of SPIs that lives as long as the test.
pub fn table() -> &'static mut [Irq] {
    Box::leak(Box::new([Irq::RESET; MAX_SPIS]))
}

/// And one of their routes.
pub fn routes() -> &'static mut [u32] {
    Box::leak(Box::new([0; MAX_SPIS]))
}

/// A GIC with `vcpus`, initialised, of [`NR_IRQS`].
pub fn ready(vcpus: usize, nr_irqs: u32) -> Vgic<'static> {
    let mut vgic = Vgic::new(table(), routes());
    for n in 0..vcpus {
        vgic.add_vcpu(n).unwrap();
    }
    for (attr, value) in [
        (vgic::NR_IRQS, u64::from(nr_irqs)),
        (vgic::DIST, DIST),
        (vgic::REDIST, REDIST),
        (vgic::INIT, 0),
    ] {
        vgic.set(attr, 0, value, 40).unwrap();
    }
    vgic.expect_complete(40).unwrap();
    vgic
}

impl Rig<'static> {
    pub fn new(vcpus: usize, nr_lrs: usize, split: bool) -> Rig<'static> {
        let mut iface = CpuInterface::RESET;
        iface.vmcr |= u64::from(split) << 9;
        Rig {
            vgic: ready(vcpus, NR_IRQS),
            ifaces: vec![iface; vcpus],
            cpus: vec![Interface::new(nr_lrs); vcpus],
            inside: vec![false; vcpus],
            naive: Naive::new(),
            hw: Hardware::from_vtr(vtr(nr_lrs as u64)),
            split,
            handled: vec![Vec::new(); vcpus],
            dropped: vec![Vec::new(); vcpus],
            timer: vec![false; vcpus],
            active: vec![false; vcpus],
            noted: vec![false; vcpus],
            exits: 0,
            flagged: false,
        }
    }

    pub fn enter(&mut self, cpu: usize) {
        if !self.inside[cpu] {
            self.inside[cpu] = true;
            self.cpus[cpu].vmcr = self.ifaces[cpu].vmcr;
            self.go_in(cpu);
        }
    }

    fn go_in(&mut self, cpu: usize) {
        self.lines(cpu);
        self.vgic.flush(cpu, &mut self.ifaces[cpu], &self.hw);
        self.cpus[cpu].load(&self.ifaces[cpu]);
    }

    fn lines(&mut self, cpu: usize) {
        let level = self.timer[cpu];
        self.vgic.set_timer_line(cpu, VTIMER, level, Some(VTIMER));
        let active = level || self.vgic.hw_active(cpu);
        if std::mem::take(&mut self.ifaces[cpu].hw_ended) {
            self.noted[cpu] = false;
        }
        if active != self.noted[cpu] {
            self.active[cpu] = active;
            self.noted[cpu] = active;
        }
        assert_eq!(self.active[cpu], active, "the machine's timer interrupt");
    }

    /// The vCPU comes out: answers whom it wakes.
    fn come_out(&mut self, cpu: usize) -> u64 {
        self.exits += 1;
        self.cpus[cpu].save(&mut self.ifaces[cpu]);
        let wake = self.vgic.sync(cpu, &mut self.ifaces[cpu]);
        assert_eq!(self.ifaces[cpu].used, 0);
        self.flagged |= wake & WAKE_ENDED != 0;
        wake
    }

    pub fn leave(&mut self, cpu: usize) {
        if self.inside[cpu] {
            let wake = self.come_out(cpu);
            self.lines(cpu);
            self.inside[cpu] = false;
            self.kick(wake);
        }
    }

    /// Whom a mask names comes out and goes in again, if inside; and whom they name in turn. Answers
    /// all that were named.
    pub fn kick(&mut self, wake: u64) -> u64 {
        let mut named = 0;
        self.flagged |= wake & WAKE_ENDED != 0;
        let vcpus = (1 << self.cpus.len()) - 1;
        let mut wake = wake & vcpus;
        while wake != 0 {
            let cpu = wake.trailing_zeros() as usize;
            wake &= wake - 1;
            named |= 1 << cpu;
            if self.inside[cpu] {
                wake |= self.come_out(cpu) & vcpus;
                self.go_in(cpu);
            }
        }
        named
    }

    /// Interrupts that EL2 takes: maintenance, and the virtual timer's where it is not active.
    fn serve_el2(&mut self) -> u64 {
        let mut named = 0;
        for cpu in 0..self.cpus.len() {
            let mut rounds = 0;
            while self.inside[cpu]
                && (self.cpus[cpu].maintenance() || self.timer[cpu] && !self.active[cpu])
            {
                let wake = self.come_out(cpu);
                self.go_in(cpu);
                named |= self.kick(wake);
                rounds += 1;
                assert!(rounds < 3, "a maintenance interrupt that does not go away");
            }
        }
        named
    }

    /// Does an operation to the naive GIC, then kicks whom the one under test named, and compares.
    pub fn settle(&mut self, wake: u64, naive: impl FnOnce(&mut Naive)) {
        let cpus = 0..self.cpus.len();
        let before: Vec<bool> = cpus.clone().map(|n| self.naive.would_wake(n)).collect();
        naive(&mut self.naive);
        let woken = self.kick(wake) | self.serve_el2();
        for n in cpus {
            if !self.inside[n] && !before[n] && self.naive.would_wake(n) {
                assert_ne!(woken >> n & 1, 0, "vCPU {n} is not woken");
            }
        }
        self.hear_of_ends();
        self.compare();
    }

    /// The host asks what ended: at once, as some answer has to say so.
    fn hear_of_ends(&mut self) {
        let wanted = self.naive.take_ended();
        let mut ended = Vec::new();
        let flagged = std::mem::take(&mut self.flagged);
        assert_eq!(flagged, !wanted.is_empty(), "{wanted:?} ended");
        while let (first, bits @ 1..) = self.vgic.take_ended() {
            ended.extend((0..32).filter(|n| bits >> n & 1 == 1).map(|n| first + n));
        }
        assert_eq!(ended, wanted);
    }

    fn compare(&self) {
        let mut listed = Vec::new();
        for cpu in 0..self.cpus.len() {
            if self.inside[cpu] {
                let got = self.cpus[cpu].best_priority();
                assert_eq!(got, self.naive.best(cpu), "best of vCPU {cpu}");
                for intid in self.cpus[cpu].listed() {
                    let who = if intid < 32 { cpu } else { 0 };
                    assert!(!listed.contains(&(who, intid)), "{intid} is listed twice");
                    listed.push((who, intid));
                }
            } else {
                let got = self.vgic.is_pending(cpu, &self.ifaces[cpu]);
                assert_eq!(got, self.naive.would_wake(cpu), "pending for vCPU {cpu}");
            }
        }
    }

    /// The guest writes a register of 32 bits of the frame that has `intid`, with vCPU `cpu`.
    pub fn write(&mut self, cpu: usize, intid: u32, offset: u64, value: u32) -> u64 {
        self.access(cpu, intid, offset, Some(value)).1
    }

    pub fn read(&mut self, cpu: usize, intid: u32, offset: u64) -> u32 {
        self.access(cpu, intid, offset, None).0
    }

    fn access(&mut self, cpu: usize, intid: u32, offset: u64, write: Option<u32>) -> (u32, u64) {
        let base = if intid < 32 {
            REDIST + 0x2_0000 * cpu as u64 + SGI_BASE
        } else {
            DIST
        };
        let mut wake = 0;
        if self.inside[cpu] {
            wake = self.come_out(cpu);
            self.lines(cpu);
        }
        let access = match write {
            None => Access::Read { size: 4 },
            Some(value) => Access::Write {
                size: 4,
                value: value.into(),
            },
        };
        let result = self.vgic.mmio(base + offset, access).unwrap();
        if self.inside[cpu] {
            self.go_in(cpu);
        }
        self.kick(wake);
        (result.value as u32, result.wake)
    }

    pub fn sgi(&mut self, cpu: usize, value: u64, quick: bool) {
        let mut done = false;
        if quick && self.inside[cpu] {
            let empty = self.cpus[cpu].empty();
            let iface = &mut self.ifaces[cpu];
            let listed = self.vgic.sgi_to_self(cpu, value, iface, &self.hw, empty);
            if let Some(Listed::In(n)) = listed {
                self.cpus[cpu].lr[n] = self.ifaces[cpu].lr[n];
            }
            done = listed.is_some();
        }
        let wake = match done {
            true => 0,
            false => self.vgic.sgi(cpu, Sgi::Group1, value),
        };
        let intid = value >> 24 & 0xf;
        let cpus = self.cpus.len();
        self.settle(wake, |naive| {
            for to in 0..cpus {
                let named = match value >> 40 & 1 {
                    1 => to != cpu,
                    _ => value >> to & 1 == 1,
                };
                if named {
                    naive.irq(to, intid as u32).latch = true;
                }
            }
        });
    }

    pub fn acknowledge(&mut self, cpu: usize) -> Option<u32> {
        let best = self.naive.best(cpu);
        let got = self.cpus[cpu].acknowledge();
        let Some(intid) = got else {
            assert_eq!(best, None);
            return None;
        };
        assert!(self.naive.wakes(cpu, intid), "{intid} is not deliverable");
        assert_eq!(Some(self.naive.see(cpu, intid).priority), best);
        self.handled[cpu].push(intid);
        self.settle(0, |naive| naive.acknowledge(cpu, intid));
        got
    }

    /// The guest ends what it acknowledged last; deactivates it too without EOImode.
    pub fn end(&mut self, cpu: usize) -> Option<u32> {
        let intid = self.handled[cpu].pop()?;
        self.cpus[cpu].drop_priority();
        if self.split {
            self.dropped[cpu].push(intid);
        } else if let Ended::Physical(physical) = self.cpus[cpu].deactivate(intid) {
            assert_eq!(physical, VTIMER);
            self.active[cpu] = false;
        }
        let split = self.split;
        self.settle(0, |naive| {
            naive.drop_priority(cpu);
            if !split {
                naive.deactivate(cpu, intid);
            }
        });
        Some(intid)
    }

    /// The guest writes ICC_DIR_EL1 on `cpu`, which traps.
    pub fn deactivate(&mut self, cpu: usize, intid: u32) {
        assert_ne!(self.cpus[cpu].hcr >> 14 & 1, 0, "ICH_HCR_EL2.TDIR");
        let mut wake = self.come_out(cpu);
        wake |= self.vgic.deactivate(cpu, &self.ifaces[cpu], intid);
        self.go_in(cpu);
        self.settle(wake, |naive| naive.deactivate(cpu, intid));
    }

    pub fn set_timer(&mut self, cpu: usize, level: bool) {
        self.timer[cpu] = level;
        // Up: the machine's interrupt, served in `settle`. Down: seen at the next exit, which is now.
        if self.inside[cpu] && !level {
            self.kick(1 << cpu);
        }
        if !self.inside[cpu] {
            // As the host does before it asks.
            self.vgic.set_timer_line(cpu, VTIMER, level, Some(VTIMER));
            return self.settle(1 << cpu, |naive| naive.set_line(cpu, VTIMER, level));
        }
        self.settle(0, |naive| naive.set_line(cpu, VTIMER, level));
    }

    /// The guest sets its mask and its groups.
    pub fn set_interface(&mut self, cpu: usize, mask: u8, groups: [bool; 2]) {
        let image = &mut self.ifaces[cpu].vmcr;
        let vmcr = if self.inside[cpu] {
            &mut self.cpus[cpu].vmcr
        } else {
            image
        };
        *vmcr = *vmcr & !(0xff << 24 | 3) | u64::from(mask) << 24;
        *vmcr |= u64::from(groups[0]) | u64::from(groups[1]) << 1;
        // No exit comes of it, if not by a maintenance interrupt.
        let wake = u64::from(!self.inside[cpu]) << cpu;
        self.settle(wake, |naive| {
            naive.cpus[cpu].mask = mask;
            naive.cpus[cpu].groups = groups;
        });
    }

    /// All come out, and each register says what the naive GIC says.
    pub fn check_registers(&mut self) {
        let inside = self.inside.clone();
        for cpu in 0..self.cpus.len() {
            self.leave(cpu);
        }
        for cpu in 0..self.cpus.len() {
            for first in (0..NR_IRQS).step_by(32) {
                let word = u64::from(first / 8);
                for (offset, bit) in [
                    (0x80, (|irq| irq.group1) as fn(&crate::naive::Irq) -> bool),
                    (0x100, |irq| irq.enabled),
                    (0x180, |irq| irq.enabled),
                    (0x200, |irq| irq.pending()),
                    (0x280, |irq| irq.pending()),
                    (0x300, |irq| irq.active),
                    (0x380, |irq| irq.active),
                ] {
                    let got = self.read(cpu, first, offset + word);
                    let want = (0..32)
                        .map(|n| u32::from(bit(&self.naive.see(cpu, first + n))) << n)
                        .sum::<u32>();
                    assert_eq!(got, want, "{offset:#x} from {first} on, vCPU {cpu}");
                }
            }
        }
        for (cpu, inside) in inside.into_iter().enumerate() {
            if inside {
                self.enter(cpu);
            }
        }
    }
}
