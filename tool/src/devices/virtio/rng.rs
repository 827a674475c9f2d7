// SPDX-License-Identifier: Apache-2.0
//! The entropy device (virtio 1.2, section 5.4).

use std::io::Read;

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::{Broken, Device, Ring, Served};

/// As much as a request gets: a driver that wants more asks again.
const MOST: usize = 4096;

/// The device, with where its bytes come from.
pub struct Rng<R>(pub R);

impl<R: Read + Send> Device for Rng<R> {
    fn id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[16]
    }

    fn config(&self, _offset: usize, _data: &mut [u8]) {}

    fn start(&mut self, _features: u64) {}

    fn serve(&mut self, _index: usize, ring: &mut Ring<'_>) -> Result<Served, Broken> {
        let mut bytes = [0; MOST];
        while let Some(mut request) = ring.take()? {
            let bytes = &mut bytes[..request.writer.len().min(MOST)];
            self.0
                .read_exact(bytes)
                .map_err(|e| Broken(format!("the host has no random bytes: {e}")))?;
            request.writer.write(bytes)?;
            ring.give(&request, bytes.len())?;
        }
        Ok(Served::All)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Driver, Part};
    use super::*;

    #[test]
    fn requests_are_filled() {
        let mut driver = Driver::start(Rng(std::io::repeat(0x5a)), 0);
        driver.request(0, &[Part::In(10), Part::In(20)]);
        let done = driver.serve(0);
        assert_eq!(done, [(0, 30)]);
        assert_eq!(driver.written(0), [0x5a; 30]);
    }

    #[test]
    fn a_request_gets_no_more_than_a_page() {
        let mut driver = Driver::start(Rng(std::io::repeat(0x5a)), 0);
        driver.request(0, &[Part::In(MOST as u32 + 1)]);
        assert_eq!(driver.serve(0), [(0, MOST as u32)]);
    }

    #[test]
    fn an_empty_source_breaks_the_device() {
        let mut driver = Driver::start(Rng(std::io::empty()), 0);
        driver.request(0, &[Part::In(1)]);
        assert!(driver.serve(0).is_empty());
        assert!(driver.is_broken());
    }
}
