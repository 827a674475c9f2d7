// SPDX-License-Identifier: Apache-2.0
//! The device tree of a guest (Linux, Documentation/devicetree/bindings).

use std::ops::Range;

use vm_fdt::{Error, FdtWriter};

use super::layout;

/// What differs from guest to guest.
pub struct Description<'a> {
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The affinity of each vCPU.
    pub mpidrs: &'a [u64],
    /// RAM.
    pub ram: Range<u64>,
    /// The initramfs.
    pub initrd: Option<Range<u64>>,
    /// What the devices may use, if that is not all of RAM.
    pub pool: Option<Range<u64>>,
    /// Number of virtio devices.
    pub virtio: u32,
    /// Random bytes for a guest that trusts the host.
    pub seed: Option<Seed>,
}

/// What the kernel places itself by, and what it starts its random numbers with.
pub struct Seed {
    /// For KASLR.
    pub kaslr: u64,
    /// For its random numbers.
    pub rng: [u8; 64],
}

const GIC: u32 = 1;
const POOL: u32 = 2;
// Interrupt cells: kind, number, trigger (arm,gic-v3.yaml).
const SPI: u32 = 0;
const PPI: u32 = 1;
const EDGE: u32 = 1;
const LEVEL: u32 = 4;
/// The PPIs of the timers (Base System Architecture, section 3.8.1): secure and non-secure physical,
/// virtual, hypervisor.
const TIMERS: [u32; 4] = [13, 14, 11, 10];
/// The clock that a 16550 divides; nothing is really sent at a rate.
const UART_CLOCK: u32 = 1_843_200;
/// The bits of MPIDR_EL1 that name a CPU in a tree with one cell: Aff2 to Aff0.
const AFFINITY: u64 = 0xff_ffff;

/// Makes the tree.
pub fn build(guest: &Description<'_>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "mvirt guest")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC)?;
    // Virtio devices and the CPUs share the caches.
    fdt.property_null("dma-coherent")?;
    chosen(&mut fdt, guest)?;
    memory(&mut fdt, guest)?;
    cpus(&mut fdt, guest.mpidrs)?;
    platform(&mut fdt, guest.mpidrs.len() as u64)?;
    devices(&mut fdt, guest)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, guest: &Description<'_>) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", guest.cmdline)?;
    fdt.property_string("stdout-path", &format!("/serial@{:x}", layout::UART))?;
    if let Some(initrd) = &guest.initrd {
        fdt.property_u64("linux,initrd-start", initrd.start)?;
        fdt.property_u64("linux,initrd-end", initrd.end)?;
    }
    if let Some(seed) = &guest.seed {
        fdt.property_u64("kaslr-seed", seed.kaslr)?;
        fdt.property("rng-seed", &seed.rng)?;
    }
    fdt.end_node(node)
}

fn memory(fdt: &mut FdtWriter, guest: &Description<'_>) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("memory@{:x}", guest.ram.start))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &reg(&guest.ram))?;
    fdt.end_node(node)?;
    let Some(pool) = &guest.pool else {
        return Ok(());
    };
    let node = fdt.begin_node("reserved-memory")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("ranges")?;
    let inner = fdt.begin_node(&format!("restricted-dma-pool@{:x}", pool.start))?;
    fdt.property_string("compatible", "restricted-dma-pool")?;
    fdt.property_array_u64("reg", &reg(pool))?;
    fdt.property_phandle(POOL)?;
    fdt.end_node(inner)?;
    fdt.end_node(node)
}

fn reg(range: &Range<u64>) -> [u64; 2] {
    [range.start, range.end - range.start]
}

fn cpus(fdt: &mut FdtWriter, mpidrs: &[u64]) -> Result<(), Error> {
    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for mpidr in mpidrs {
        let affinity = (mpidr & AFFINITY) as u32;
        let cpu = fdt.begin_node(&format!("cpu@{affinity:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u32("reg", affinity)?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(node)
}

/// What the hypervisor itself is for a guest: PSCI, timers, GIC.
fn platform(fdt: &mut FdtWriter, cpus: u64) -> Result<(), Error> {
    let node = fdt.begin_node("psci")?;
    let versions = ["arm,psci-1.0", "arm,psci-0.2"].map(String::from);
    fdt.property_string_list("compatible", versions.into())?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    let interrupts: Vec<u32> = TIMERS.iter().flat_map(|&irq| [PPI, irq, LEVEL]).collect();
    fdt.property_array_u32("interrupts", &interrupts)?;
    fdt.property_null("always-on")?;
    fdt.end_node(node)?;

    let node = fdt.begin_node(&format!("interrupt-controller@{:x}", layout::GICD))?;
    fdt.property_string("compatible", "arm,gic-v3")?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    let frames = [
        [layout::GICD, layout::GICD_SIZE],
        [layout::GICR, layout::GICR_SIZE * cpus],
    ];
    fdt.property_array_u64("reg", frames.as_flattened())?;
    fdt.property_phandle(GIC)?;
    fdt.end_node(node)
}

fn devices(fdt: &mut FdtWriter, guest: &Description<'_>) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("serial@{:x}", layout::UART))?;
    fdt.property_string("compatible", "ns16550a")?;
    fdt.property_array_u64("reg", &[layout::UART, layout::DEVICE_SIZE])?;
    fdt.property_u32("clock-frequency", UART_CLOCK)?;
    fdt.property_array_u32("interrupts", &[SPI, layout::UART_SPI, EDGE])?;
    fdt.end_node(node)?;

    let node = fdt.begin_node(&format!("pvpanic@{:x}", layout::PVPANIC))?;
    fdt.property_string("compatible", "qemu,pvpanic-mmio")?;
    fdt.property_array_u64("reg", &[layout::PVPANIC, 2])?;
    fdt.end_node(node)?;

    for index in 0..guest.virtio {
        let base = layout::VIRTIO + layout::STRIDE * u64::from(index);
        let node = fdt.begin_node(&format!("virtio@{base:x}"))?;
        fdt.property_string("compatible", "virtio,mmio")?;
        fdt.property_array_u64("reg", &[base, layout::DEVICE_SIZE])?;
        fdt.property_array_u32("interrupts", &[SPI, layout::VIRTIO_SPI + index, LEVEL])?;
        fdt.property_null("dma-coherent")?;
        if guest.pool.is_some() {
            fdt.property_u32("memory-region", POOL)?;
        }
        fdt.end_node(node)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
