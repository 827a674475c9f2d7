// SPDX-License-Identifier: GPL-2.0
//! A GICv3 as the architecture describes it, without list registers: each change has its effect at
//! once. Slow, and easy to compare with IHI 0069.

use mvirt_abi::MAX_VCPUS;

/// INTIDs that the tests use: private ones and 64 SPIs.
pub const NR_IRQS: u32 = 96;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Irq {
    pub enabled: bool,
    pub group1: bool,
    pub edge: bool,
    pub latch: bool,
    pub line: bool,
    pub active: bool,
    pub priority: u8,
    pub target: usize,
    /// Who acknowledged it.
    pub owner: Option<usize>,
    /// The host wants to hear of its ends; it ended, and the host did not hear of it.
    pub resampled: bool,
    pub ended: bool,
}

impl Irq {
    pub fn pending(&self) -> bool {
        self.latch || (!self.edge && self.line)
    }
}

#[derive(Clone, Debug)]
pub struct Cpu {
    pub mask: u8,
    pub groups: [bool; 2],
    /// Priorities of what was acknowledged and not dropped.
    pub running: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Naive {
    pub private: Vec<[Irq; 32]>,
    pub spis: Vec<Irq>,
    pub groups: [bool; 2],
    pub cpus: Vec<Cpu>,
}

impl Naive {
    pub fn new() -> Naive {
        let mut bank = [Irq {
            group1: true,
            ..Irq::default()
        }; 32];
        for sgi in &mut bank[..16] {
            sgi.enabled = true;
            sgi.edge = true;
        }
        let cpu = Cpu {
            mask: 0,
            groups: [false; 2],
            running: Vec::new(),
        };
        Naive {
            private: vec![bank; MAX_VCPUS],
            spis: vec![Irq::default(); (NR_IRQS - 32) as usize],
            groups: [false; 2],
            cpus: vec![cpu; MAX_VCPUS],
        }
    }

    pub fn irq(&mut self, cpu: usize, intid: u32) -> &mut Irq {
        match intid.checked_sub(32) {
            None => &mut self.private[cpu][intid as usize],
            Some(n) => &mut self.spis[n as usize],
        }
    }

    pub fn see(&self, cpu: usize, intid: u32) -> Irq {
        self.clone_irq(cpu, intid)
    }

    fn clone_irq(&self, cpu: usize, intid: u32) -> Irq {
        match intid.checked_sub(32) {
            None => self.private[cpu][intid as usize],
            Some(n) => self.spis[n as usize],
        }
    }

    /// Whether an interrupt goes to a CPU and would wake it.
    pub fn wakes(&self, cpu: usize, intid: u32) -> bool {
        let irq = self.clone_irq(cpu, intid);
        let group = usize::from(irq.group1);
        irq.enabled
            && irq.pending()
            && !irq.active
            && (intid < 32 || irq.target == cpu)
            && self.groups[group]
            && self.cpus[cpu].groups[group]
            && irq.priority < self.cpus[cpu].mask
    }

    pub fn would_wake(&self, cpu: usize) -> bool {
        (0..NR_IRQS).any(|intid| self.wakes(cpu, intid))
    }

    /// The priority of the interrupt that a CPU would acknowledge.
    pub fn best(&self, cpu: usize) -> Option<u8> {
        let running = self.running(cpu);
        (0..NR_IRQS)
            .filter(|intid| self.wakes(cpu, *intid))
            .map(|intid| self.clone_irq(cpu, intid).priority)
            .filter(|priority| *priority < running)
            .min()
    }

    pub fn running(&self, cpu: usize) -> u8 {
        *self.cpus[cpu].running.iter().min().unwrap_or(&0xff)
    }

    pub fn acknowledge(&mut self, cpu: usize, intid: u32) {
        let irq = self.irq(cpu, intid);
        irq.active = true;
        irq.latch = false;
        irq.owner = Some(cpu);
        let priority = irq.priority;
        self.cpus[cpu].running.push(priority);
    }

    pub fn drop_priority(&mut self, cpu: usize) {
        let running = self.running(cpu);
        let stack = &mut self.cpus[cpu].running;
        if let Some(at) = stack.iter().position(|priority| *priority == running) {
            stack.remove(at);
        }
    }

    pub fn deactivate(&mut self, cpu: usize, intid: u32) {
        let irq = self.irq(cpu, intid);
        if irq.active && irq.resampled && !irq.edge && irq.line {
            irq.line = false;
            irq.ended = true;
        }
        irq.active = false;
        irq.owner = None;
    }

    /// What the host has not heard of.
    pub fn take_ended(&mut self) -> Vec<u32> {
        let all = (32..).zip(&mut self.spis);
        all.filter_map(|(intid, irq)| std::mem::take(&mut irq.ended).then_some(intid))
            .collect()
    }

    pub fn set_line(&mut self, cpu: usize, intid: u32, level: bool) {
        let irq = self.irq(cpu, intid);
        irq.line = level;
        if irq.edge && level {
            irq.latch = true;
        }
    }
}
