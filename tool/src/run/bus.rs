// SPDX-License-Identifier: Apache-2.0
//! Which device answers at an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layout::DEVICE_SIZE;
use crate::devices::Mmio;

/// The devices by the address of their first byte; each has [`DEVICE_SIZE`] bytes.
#[derive(Default)]
pub struct Bus(BTreeMap<u64, Arc<dyn Mmio>>);

impl Bus {
    /// Puts a device at `base`.
    pub fn add(&mut self, base: u64, device: Arc<dyn Mmio>) {
        self.0.insert(base, device);
    }

    fn at(&self, address: u64) -> Option<(&dyn Mmio, u64)> {
        let (base, device) = self.0.range(..=address).next_back()?;
        let offset = address - base;
        (offset < DEVICE_SIZE).then_some((&**device, offset))
    }

    /// The guest reads. Where no device is, it gets ones, as from a bus that nobody drives.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.at(address) {
            Some((device, offset)) => device.read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// The guest writes. Where no device is, nothing happens.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((device, offset)) = self.at(address) {
            device.write(offset, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Register(Mutex<Vec<(u64, u8)>>);

    impl Mmio for Register {
        fn read(&self, offset: u64, data: &mut [u8]) {
            data.fill(offset as u8);
        }
        fn write(&self, offset: u64, data: &[u8]) {
            self.0.lock().unwrap().push((offset, data[0]));
        }
    }

    #[test]
    fn each_address_has_its_device_or_none() {
        let (one, two) = (Arc::new(Register::default()), Arc::new(Register::default()));
        let mut bus = Bus::default();
        bus.add(0x1_0000, one.clone());
        bus.add(0x2_0000, two.clone());
        for (address, value) in [
            (0x1_0000, 0),
            (0x1_0004, 4),
            (0x2_00fe, 0xfe),
            (0xffff, 0xff),
            (0x1_1000, 0xff),
            (0x2_1001, 0xff),
            (u64::MAX, 0xff),
            (0, 0xff),
        ] {
            let mut data = [0x77];
            bus.read(address, &mut data);
            assert_eq!(data, [value], "{address:#x}");
            bus.write(address, &[value]);
        }
        assert_eq!(*one.0.lock().unwrap(), [(0, 0), (4, 4)]);
        assert_eq!(*two.0.lock().unwrap(), [(0xfe, 0xfe)]);
    }
}
