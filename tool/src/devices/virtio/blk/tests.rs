// SPDX-License-Identifier: Apache-2.0

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use vmm_sys_util::tempfile::TempFile;

use super::super::testing::{Driver, Part, BASE, SIZE};
use super::*;

const SECTORS: u64 = 2048;
const OK: u8 = blk::VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = blk::VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = blk::VIRTIO_BLK_S_UNSUPP as u8;
const FLUSH: u64 = 1 << blk::VIRTIO_BLK_F_FLUSH;

fn file() -> TempFile {
    let file = TempFile::new().unwrap();
    let content: Vec<u8> = (0..SECTORS * SECTOR)
        .map(|n| (n / SECTOR) as u8 | 1)
        .collect();
    file.as_file().write_all(&content).unwrap();
    file
}

fn content(file: &TempFile, sector: u64, sectors: u64) -> Vec<u8> {
    let mut file = file.as_file();
    file.seek(SeekFrom::Start(sector * SECTOR)).unwrap();
    let mut content = vec![0; (sectors * SECTOR) as usize];
    file.read_exact(&mut content).unwrap();
    content
}

fn start(file: &TempFile, read_only: bool) -> Driver {
    let disk = Disk::open(file.as_path(), read_only).unwrap();
    Driver::start(Blk::new(disk, "disk0"), FLUSH)
}

fn head(kind: u32, sector: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..4].copy_from_slice(&kind.to_le_bytes());
    head[8..].copy_from_slice(&sector.to_le_bytes());
    head
}

/// One request with its status in a part of its own; answers what was written, status last.
fn ask(driver: &mut Driver, kind: u32, sector: u64, parts: Vec<Part<'_>>) -> (u32, Vec<u8>) {
    let head = head(kind, sector);
    let mut all = vec![Part::Out(&head)];
    all.extend(parts);
    all.push(Part::In(1));
    let number = driver.request(0, &all);
    let done = driver.serve(0);
    assert_eq!(done.len(), 1, "{:?}", driver.reports);
    assert_eq!(done[0].0, number);
    (done[0].1, driver.written(number))
}

fn ranges(ranges: &[(u64, u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (sector, sectors, flags) in ranges {
        bytes.extend(sector.to_le_bytes());
        bytes.extend(sectors.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
    }
    bytes
}

#[test]
fn what_is_written_is_read_back_and_in_the_file() {
    let file = file();
    let mut driver = start(&file, false);
    let (one, two) = ([0xa5; 512], [0x5a; 1024]);
    let parts = vec![Part::Out(&one), Part::Out(&two)];
    assert_eq!(
        ask(&mut driver, blk::VIRTIO_BLK_T_OUT, 7, parts),
        (1, vec![OK])
    );
    assert_eq!(content(&file, 7, 3), [&one[..], &two].concat());
    assert_eq!(content(&file, 6, 1), [7; 512]);
    assert_eq!(content(&file, 10, 1), [11; 512]);
    let parts = vec![Part::In(700), Part::In(836)];
    let (len, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, 7, parts);
    assert_eq!(len, 1537);
    assert_eq!(data, [&one[..], &two, &[OK]].concat());
    // More than is copied at a time.
    let parts = vec![Part::In(CHUNK as u32 + 512)];
    let (_, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, 0, parts);
    assert_eq!(
        data[..data.len() - 1],
        content(&file, 0, CHUNK as u64 / SECTOR + 1)
    );
}

#[test]
fn what_is_beyond_the_end_or_no_sector_is_an_error() {
    let file = file();
    let before = content(&file, 0, SECTORS);
    let mut driver = start(&file, false);
    for (sector, len) in [
        (SECTORS, 512),
        (SECTORS - 1, 1024),
        (u64::MAX, 512),
        (u64::MAX / SECTOR + 1, 512),
        (0, 511),
        (0, 513),
    ] {
        let parts = vec![Part::In(len)];
        let (used, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, sector, parts);
        assert_eq!((used, data.last()), (0, Some(&IOERR)), "{sector} {len}");
        let data = vec![0xee; len as usize];
        let parts = vec![Part::Out(&data)];
        let (_, data) = ask(&mut driver, blk::VIRTIO_BLK_T_OUT, sector, parts);
        assert_eq!(data, [IOERR], "{sector} {len}");
    }
    let (_, data) = ask(
        &mut driver,
        blk::VIRTIO_BLK_T_IN,
        SECTORS - 1,
        vec![Part::In(512)],
    );
    assert_eq!(data.last(), Some(&OK));
    assert_eq!(content(&file, 0, SECTORS), before);
    assert!(!driver.is_broken());
}

#[test]
fn a_read_only_disk_is_not_written_to() {
    let file = file();
    let before = content(&file, 0, SECTORS);
    let mut driver = start(&file, true);
    assert_ne!(driver.offered() & 1 << blk::VIRTIO_BLK_F_RO, 0);
    assert_eq!(driver.offered() & 1 << blk::VIRTIO_BLK_F_DISCARD, 0);
    let range = ranges(&[(0, 8, 0)]);
    for kind in [
        blk::VIRTIO_BLK_T_OUT,
        blk::VIRTIO_BLK_T_DISCARD,
        blk::VIRTIO_BLK_T_WRITE_ZEROES,
    ] {
        let sector = vec![0xee; 512];
        let data = if kind == blk::VIRTIO_BLK_T_OUT {
            &sector
        } else {
            &range
        };
        let (_, status) = ask(&mut driver, kind, 0, vec![Part::Out(data)]);
        assert_eq!(status, [IOERR], "{kind}");
    }
    assert_eq!(
        ask(&mut driver, blk::VIRTIO_BLK_T_FLUSH, 0, vec![]),
        (1, vec![OK])
    );
    let (_, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, 3, vec![Part::In(512)]);
    assert_eq!(data[..512], [3; 512]);
    assert_eq!(content(&file, 0, SECTORS), before);
}

#[test]
fn discard_and_write_zeroes_make_zeros_of_their_ranges_alone() {
    let file = file();
    let mut driver = start(&file, false);
    let blocks = file.as_file().metadata().unwrap().blocks();
    let bytes = ranges(&[(0, 64, 0), (128, 64, 0)]);
    let kind = blk::VIRTIO_BLK_T_DISCARD;
    assert_eq!(ask(&mut driver, kind, 0, vec![Part::Out(&bytes)]).1, [OK]);
    assert_eq!(content(&file, 0, 64), [0; 64 * 512]);
    assert_eq!(content(&file, 64, 1), [65; 512]);
    assert_eq!(content(&file, 127, 1), [127; 512]);
    assert_eq!(content(&file, 128, 64), [0; 64 * 512]);
    assert_eq!(content(&file, 192, 1), [193; 512]);
    assert!(file.as_file().metadata().unwrap().blocks() < blocks);
    assert_eq!(file.as_file().metadata().unwrap().len(), SECTORS * SECTOR);

    let unmap = blk::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    let bytes = ranges(&[(200, 3, 0), (210, 8, unmap), (220, 0, 0)]);
    let kind = blk::VIRTIO_BLK_T_WRITE_ZEROES;
    assert_eq!(ask(&mut driver, kind, 0, vec![Part::Out(&bytes)]).1, [OK]);
    assert_eq!(content(&file, 200, 3), [0; 3 * 512]);
    assert_eq!(content(&file, 203, 1), [203; 512]);
    assert_eq!(content(&file, 210, 8), [0; 8 * 512]);
    assert_eq!(content(&file, 218, 1), [219; 512]);
}

#[test]
fn wrong_ranges_are_refused_before_any_is_touched() {
    let file = file();
    let before = content(&file, 0, SECTORS);
    let mut driver = start(&file, false);
    let discard = blk::VIRTIO_BLK_T_DISCARD;
    let zeroes = blk::VIRTIO_BLK_T_WRITE_ZEROES;
    let good = (0, 8, 0);
    for (kind, bytes, status) in [
        (discard, ranges(&[good, (SECTORS, 1, 0)]), IOERR),
        (discard, ranges(&[good, (u64::MAX, 2, 0)]), IOERR),
        (discard, ranges(&[good, (0, RANGE_SECTORS + 1, 0)]), IOERR),
        (discard, ranges(&[good, (0, 1, 1)]), UNSUPP),
        (zeroes, ranges(&[good, (0, 1, 2)]), UNSUPP),
        (zeroes, ranges(&[good, (SECTORS - 1, 2, 0)]), IOERR),
        (zeroes, vec![], IOERR),
        (zeroes, vec![0; 15], IOERR),
        (discard, ranges(&[good; RANGES as usize + 1]), IOERR),
    ] {
        let parts = vec![Part::Out(&bytes)];
        assert_eq!(ask(&mut driver, kind, 0, parts).1, [status], "{bytes:?}");
    }
    assert_eq!(content(&file, 0, SECTORS), before);
    assert!(!driver.is_broken());
}

#[test]
fn the_rest_is_told_apart() {
    let file = file();
    let mut driver = start(&file, false);
    assert_eq!(
        ask(&mut driver, blk::VIRTIO_BLK_T_FLUSH, 0, vec![]),
        (1, vec![OK])
    );
    let (len, id) = ask(&mut driver, blk::VIRTIO_BLK_T_GET_ID, 0, vec![Part::In(20)]);
    assert_eq!((len, &id[..6]), (21, &b"disk0\0"[..]));
    for kind in [blk::VIRTIO_BLK_T_SECURE_ERASE, 3, 99, u32::MAX] {
        assert_eq!(ask(&mut driver, kind, 0, vec![]).1, [UNSUPP], "{kind}");
    }
    let mut config = [0; 64];
    driver.config(0, &mut config);
    assert_eq!(config[..8], SECTORS.to_le_bytes());
    assert_eq!(config[20..24], 512_u32.to_le_bytes());
    assert_eq!(config[60..], [0; 4]);
}

#[test]
fn requests_that_are_none_break_the_device_until_its_reset() {
    let whole = head(blk::VIRTIO_BLK_T_IN, 0);
    let outside = BASE + SIZE;
    let cases: [&[Part<'_>]; 9] = [
        // No status; a head that is too short; none at all; nothing to read.
        &[Part::Out(&whole)],
        &[Part::Out(&whole[..15]), Part::In(1)],
        &[Part::In(513)],
        // A part that is not in memory, that ends outside of it, that wraps around.
        &[
            Part::Out(&whole),
            Part::Raw(outside, 512, 3, 2),
            Part::In(1),
        ],
        &[
            Part::Out(&whole),
            Part::Raw(outside - 511, 512, 3, 2),
            Part::In(1),
        ],
        &[
            Part::Out(&whole),
            Part::Raw(u64::MAX - 100, 512, 3, 2),
            Part::In(1),
        ],
        &[Part::Raw(BASE - 512, 16, 1, 1), Part::In(513)],
        // A part to be read after one to be written; a chain whose end is not there.
        &[Part::In(512), Part::Out(&whole), Part::In(1)],
        &[Part::Out(&whole), Part::Raw(BASE, 512, 3, QUEUE)],
    ];
    for (n, parts) in cases.iter().enumerate() {
        let file = file();
        let mut driver = start(&file, false);
        driver.request(0, parts);
        assert!(driver.serve(0).is_empty(), "{n}");
        assert!(driver.is_broken(), "{n}");
        assert_eq!(driver.reports.lock().unwrap().len(), 1, "{n}");
        // Nothing is served until the driver resets it.
        ask_is_ignored(&mut driver, n);
        driver.bring_up(FLUSH);
        let parts = vec![Part::In(512)];
        let (_, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, 2, parts);
        assert_eq!((data[0], data[512]), (3, OK), "{n}");
    }
}

fn ask_is_ignored(driver: &mut Driver, n: usize) {
    let whole = head(blk::VIRTIO_BLK_T_IN, 0);
    driver.request(0, &[Part::Out(&whole), Part::In(513)]);
    assert!(driver.serve(0).is_empty(), "{n}");
}

#[test]
fn files_that_are_no_disks_are_refused() {
    let odd = TempFile::new().unwrap();
    let error = |path: &std::path::Path, ro| Disk::open(path, ro).err().unwrap();
    assert!(error(odd.as_path(), false).contains("0 bytes"));
    odd.as_file().set_len(1000).unwrap();
    assert!(error(odd.as_path(), false).contains("1000 bytes; a disk is a multiple of 512"));
    assert!(error("/nonexistent".as_ref(), true).contains("No such file"));
    assert!(error("/dev/null".as_ref(), false).contains("neither a file nor"));
    assert!(error("/tmp".as_ref(), true).contains("neither a file nor"));
}

#[test]
fn a_disk_has_one_writer_or_many_readers() {
    let file = file();
    let path = file.as_path();
    let reader = Disk::open(path, true).unwrap();
    let another = Disk::open(path, true).unwrap();
    assert!(Disk::open(path, false)
        .err()
        .unwrap()
        .contains("another process uses it"));
    drop((reader, another));
    let writer = Disk::open(path, false).unwrap();
    assert!(Disk::open(path, true)
        .err()
        .unwrap()
        .contains("writes to it"));
    drop(writer);
    Disk::open(path, true).unwrap();
}

#[test]
fn nothing_is_written_by_a_request_of_which_a_part_is_nowhere() {
    let file = file();
    let before = content(&file, 0, SECTORS);
    let mut driver = start(&file, false);
    let whole = head(blk::VIRTIO_BLK_T_OUT, 0);
    // More than is copied at a time before the part that is not there.
    let data = vec![0xee; 2 * CHUNK];
    let nowhere = Part::Raw(BASE + SIZE, 512, 1, 3);
    driver.request(
        0,
        &[Part::Out(&whole), Part::Out(&data), nowhere, Part::In(1)],
    );
    assert!(driver.serve(0).is_empty());
    assert!(driver.is_broken());
    assert_eq!(content(&file, 0, SECTORS), before);
}

/// Whatever a driver writes into registers and rings, the device answers or breaks off, the disk
/// keeps its length, and after a reset it works.
#[test]
fn noise_does_no_harm() {
    let file = file();
    let mut driver = start(&file, false);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64: the same in each run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut broken = 0;
    for _ in 0..1000 {
        driver.bring_up(if random() % 2 == 0 { FLUSH } else { 0 });
        for _ in 0..random() % 16 {
            let table = driver.table(0);
            match random() % 8 {
                0 => driver.set((random() % 0x100) as u32 & !3, random() as u32),
                1 => driver.put(table + random() % 0x9000, &random().to_le_bytes()),
                2..=4 => {
                    // A descriptor that is nearly right.
                    let (n, next) = ((random() % 8) as u16, (random() % 8) as u16);
                    let address = BASE + random() % (SIZE + 0x1000);
                    let flags = (random() % 8) as u16;
                    driver.descriptor(table, n, address, (random() % 1025) as u32, flags, next);
                    driver.put(
                        address.min(BASE + SIZE - 16),
                        &head((random() % 14) as u32, 1),
                    );
                }
                _ => {
                    driver.make_available(0, (random() % 8) as u16);
                    driver.serve(0);
                }
            }
        }
        broken += u32::from(driver.is_broken());
    }
    // Both ends of the noise were met.
    assert!((100..900).contains(&broken), "{broken}");
    driver.bring_up(FLUSH);
    let (_, data) = ask(&mut driver, blk::VIRTIO_BLK_T_IN, 2000, vec![Part::In(512)]);
    assert_eq!(data.last(), Some(&OK));
    assert_eq!(file.as_file().metadata().unwrap().len(), SECTORS * SECTOR);
}
