// SPDX-License-Identifier: Apache-2.0
//! RAM: in how many pieces it is, and whether there are large free blocks.

use mvirt_abi::refusal::Reason;
use mvirt_abi::{MAX_META_CHUNKS, MAX_RAM_RANGES, META_BYTES_PER_PAGE, META_CHUNK};

use super::kernel::page_size;
use super::root::{Content, Root};
use super::{Finding, Outcome};

pub const RANGES: &str = "RAM";
pub const BLOCKS: &str = "blocks";

/// The ranges of System RAM in /proc/iomem, touching ones as one; first and last byte. To others than
/// root it shows zeros.
fn system_ram(text: &str) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for line in text.lines() {
        let Some((place, "System RAM")) = line.split_once(" : ") else {
            continue;
        };
        let Some((first, last)) = place.split_once('-') else {
            continue;
        };
        // What lies inside of a range is set off by spaces.
        let (Ok(first), Ok(last)) = (
            u64::from_str_radix(first, 16),
            u64::from_str_radix(last, 16),
        ) else {
            continue;
        };
        match ranges.last_mut() {
            Some(before) if last > 0 && before.1 + 1 == first => before.1 = last,
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

/// As many ranges, and as much of it, as EL2 has room for.
pub fn ranges(root: &Root) -> Finding {
    let text = match root.text("proc/iomem") {
        Content::Has(text) => text,
        Content::Absent => return Finding::unknown(RANGES, "there is no /proc/iomem"),
        Content::Denied(why) => return Finding::unknown(RANGES, format!("/proc/iomem: {why}")),
    };
    let ranges = system_ram(&text);
    let n = ranges.len();
    if n == 0 {
        return Finding::refused(RANGES, Reason::NoRam, &[]);
    }
    let hidden = ranges.iter().all(|range| *range == (0, 0));
    if n > MAX_RAM_RANGES {
        let refused = Finding::refused(RANGES, Reason::RamRanges, &[&MAX_RAM_RANGES]);
        if hidden {
            // Some of them may touch.
            let found = format!("{}, unless some of the {n} touch", refused.found);
            let result = Outcome::Unknown;
            return Finding {
                found,
                result,
                ..refused
            }
            .mend("run it as root");
        }
        return refused;
    }
    if hidden {
        return Finding::ok(RANGES, format!("{n} ranges, {MAX_RAM_RANGES} are kept"));
    }
    let bytes: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    let pages = bytes / page_size(root).unwrap_or(4096);
    if pages * META_BYTES_PER_PAGE > MAX_META_CHUNKS as u64 * META_CHUNK {
        return Finding::refused(RANGES, Reason::TooMuchRam, &[]);
    }
    Finding::ok(
        RANGES,
        format!(
            "{} MiB in {n} ranges, {MAX_RAM_RANGES} are kept",
            bytes >> 20
        ),
    )
}

/// Free blocks of the size that the metadata comes in. The kernel may make one when it is asked, so
/// this is told and decides nothing.
pub fn blocks(root: &Root) -> Option<Finding> {
    let text = root.text("proc/buddyinfo").has()?;
    let iomem = root.text("proc/iomem").has()?;
    let page = page_size(root)?;
    let ram: u64 = system_ram(&iomem)
        .iter()
        .map(|(first, last)| last - first + 1)
        .sum();
    let wanted = (ram / page * META_BYTES_PER_PAGE).min(META_CHUNK).max(page);
    let order = (wanted / page).next_power_of_two().trailing_zeros() as usize;
    // "Node 0, zone Normal 1 2 3": free blocks of each order.
    let has_block = text.lines().any(|line| {
        let counts = line.split_whitespace().skip(4);
        counts.skip(order).any(|count| count != "0")
    });
    if has_block || text.trim().is_empty() {
        return Some(Finding::ok(BLOCKS, format!("one of {} KiB is free", wanted / 1024)).aside());
    }
    let refused = Finding::refused(BLOCKS, Reason::NoMemory, &[&(wanted / 1024)]);
    let found = format!("no block of {} KiB is free", wanted / 1024);
    let result = Outcome::Unknown;
    Some(
        Finding {
            found,
            result,
            ..refused
        }
        .aside(),
    )
}
