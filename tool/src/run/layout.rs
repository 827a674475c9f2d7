// SPDX-License-Identifier: Apache-2.0
//! Where everything is in a guest's physical address space.
//!
//! ```text
//! 0x0900_0000  16550, 0x0901_0000 pvpanic
//! 0x0a00_0000  virtio-mmio, one for each 64 KiB
//! 0x1000_0000  GIC distributor
//! 0x1010_0000  GIC redistributors, 128 KiB for each vCPU
//! 0x8000_0000  RAM: kernel | device tree | initramfs | ... | DMA pool of a protected guest
//! ```
//!
//! Devices are 64 KiB apart, so that a guest with pages of any size maps each alone: the MMIO guard
//! of a protected guest works by pages.

use std::ops::Range;

use super::image::Header;

/// Distance of the devices.
pub const STRIDE: u64 = 0x1_0000;
/// The 16550.
pub const UART: u64 = 0x0900_0000;
/// pvpanic.
pub const PVPANIC: u64 = UART + STRIDE;
/// The first virtio device.
pub const VIRTIO: u64 = 0x0a00_0000;
/// The registers of each, as the device tree tells and the bus answers.
pub const DEVICE_SIZE: u64 = 0x1000;
/// GIC distributor.
pub const GICD: u64 = 0x1000_0000;
/// Its size (GICv3 and v4 specification, section 12.1).
pub const GICD_SIZE: u64 = 0x1_0000;
/// The first redistributor.
pub const GICR: u64 = 0x1010_0000;
/// The two frames of each.
pub const GICR_SIZE: u64 = 0x2_0000;
/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;

/// The SPI of the 16550.
pub const UART_SPI: u32 = 0;
/// The SPI of the first virtio device; the others follow.
pub const VIRTIO_SPI: u32 = 1;
/// Interrupt IDs of the GIC, the private ones too.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
pub const IRQS: u32 = 96;
/// SGIs and PPIs: the first SPI comes after them.
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
pub const PRIVATE_IRQS: u32 = 32;

/// The most disks of a guest.
pub const MAX_DISKS: usize = 30;
/// Console, entropy, disks, network, sockets.
#[cfg(test)]
pub const MAX_VIRTIO: usize = 4 + MAX_DISKS;
/// vCPUs whose redistributors fit below RAM, and whose nodes fit into the device tree.
pub const MAX_CPUS: u32 = 512;

/// Blocks in which a guest's memory is mapped at best; its size is a multiple.
pub const BLOCK: u64 = 2 << 20;
/// Room for the device tree; Linux takes up to 2 MiB.
pub const FDT_SIZE: u64 = 128 << 10;
/// The DMA pool of a protected guest: a part of its memory, but not less and not more than this.
const POOL_PART: u64 = 16;
const POOL_LEAST: u64 = 8 << 20;
const POOL_MOST: u64 = 64 << 20;

/// Where things are in RAM.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// All of it.
    pub ram: Range<u64>,
    /// The kernel, with what it needs behind its file; it is entered at its first byte.
    pub kernel: Range<u64>,
    /// Room for the device tree.
    pub fdt: Range<u64>,
    /// The initramfs.
    pub initrd: Option<Range<u64>>,
    /// What the devices may use, if that is not all of it.
    pub pool: Option<Range<u64>>,
}

impl Layout {
    /// Lays a guest out; the error says what does not fit, to follow the name of the option.
    pub fn new(
        memory: u64,
        with_pool: bool,
        kernel: &Header,
        initrd: Option<u64>,
    ) -> Result<Layout, String> {
        let ram = RAM..RAM
            .checked_add(memory)
            .ok_or("more than there are addresses")?;
        let pool = with_pool.then(|| pool(&ram));
        let end = pool.as_ref().map_or(ram.end, |pool| pool.start);

        let start = RAM + kernel.text_offset;
        let kernel = start..start.saturating_add(kernel.size);
        let fdt = align_up(kernel.end, BLOCK);
        let fdt = fdt..fdt.saturating_add(FDT_SIZE);
        let last = initrd.map_or(fdt.end, |size| fdt.end.saturating_add(size));
        if last > end {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let pool = pool.map_or(0, |pool| pool.end - pool.start);
            return Err(format!(
                "too little: kernel {} MiB, initramfs {} MiB, DMA pool {} MiB, device tree; \
                 at least {} MiB are needed to start",
                mib(kernel.end - RAM),
                mib(initrd.unwrap_or(0)),
                mib(pool),
                mib(align_up(last - RAM + pool, BLOCK)),
            ));
        }
        Ok(Layout {
            initrd: initrd.map(|_| fdt.end..last),
            ram,
            kernel,
            fdt,
            pool,
        })
    }
}

/// The pool is at the end, where it divides nothing that the kernel would rather have whole.
fn pool(ram: &Range<u64>) -> Range<u64> {
    let size = (ram.end - ram.start) / POOL_PART;
    let size = align_up(size.clamp(POOL_LEAST, POOL_MOST), BLOCK);
    ram.end.saturating_sub(size).max(ram.start)..ram.end
}

/// The next multiple of `to`, which is a power of two; the last one, if there is none.
fn align_up(value: u64, to: u64) -> u64 {
    value.saturating_add(to - 1) & !(to - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn header(size: u64) -> Header {
        Header {
            text_offset: 0,
            size,
        }
    }

    #[test]
    fn things_follow_each_other_in_blocks() {
        let layout = Layout::new(256 * MIB, false, &header(21 * MIB), Some(3 * MIB + 5)).unwrap();
        assert_eq!(layout.ram, RAM..RAM + 256 * MIB);
        assert_eq!(layout.kernel, RAM..RAM + 21 * MIB);
        assert_eq!(layout.fdt.start, RAM + 22 * MIB);
        let initrd = layout.initrd.unwrap();
        assert_eq!(initrd.start, layout.fdt.end);
        assert_eq!(initrd.end - initrd.start, 3 * MIB + 5);
        assert_eq!(layout.pool, None);
    }

    #[test]
    fn the_pool_grows_with_the_memory() {
        for (memory, pool) in [
            (64, 8),
            (128, 8),
            (256, 16),
            (512, 32),
            (1024, 64),
            (8192, 64),
        ] {
            let layout = Layout::new(memory * MIB, true, &header(MIB), None).unwrap();
            let range = layout.pool.unwrap();
            assert_eq!(range.end, layout.ram.end);
            assert_eq!(range.end - range.start, pool * MIB, "{memory}");
            assert_eq!(range.start % BLOCK, 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_what_would() {
        let kernel = header(40 * MIB);
        for (with_pool, initrd, least) in [
            (false, None, 42),
            (false, Some(30 * MIB), 72),
            (true, Some(30 * MIB), 80),
        ] {
            let layout = |mib| Layout::new(mib * MIB, with_pool, &kernel, initrd);
            let error = layout(least - 2).unwrap_err();
            assert!(error.contains(&format!("at least {least} MiB")), "{error}");
            layout(least).unwrap();
        }
    }

    #[test]
    fn nonsense_is_refused_and_no_panic() {
        for size in [u64::MAX, u64::MAX - RAM, u64::MAX / 2] {
            assert!(Layout::new(64 * MIB, true, &header(size), None).is_err());
            assert!(Layout::new(64 * MIB, true, &header(MIB), Some(size)).is_err());
        }
        assert!(Layout::new(u64::MAX - BLOCK + 1, false, &header(MIB), None).is_err());
        assert!(Layout::new(2 * MIB, true, &header(MIB), None).is_err());
    }

    #[test]
    fn nothing_overlaps() {
        let virtio = VIRTIO + STRIDE * MAX_VIRTIO as u64;
        let redistributors = GICR + GICR_SIZE * u64::from(MAX_CPUS);
        let ends = [PVPANIC + STRIDE, virtio, GICD + GICD_SIZE, redistributors];
        let starts = [VIRTIO, GICD, GICR, RAM];
        assert!(ends.iter().zip(starts).all(|(end, start)| *end <= start));
        assert!(PRIVATE_IRQS + VIRTIO_SPI + MAX_VIRTIO as u32 <= IRQS);
    }
}
