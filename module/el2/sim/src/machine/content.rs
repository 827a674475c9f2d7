// SPDX-License-Identifier: GPL-2.0
//! What is in pages: in memory, in the caches, and in the instruction caches.

use mvirt_hyp::addr::{Granule, Phys};

use super::{FakeMachine, Fault};

/// A page's data, as a single value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    pub(super) memory: u64,
    pub(super) cache: Option<u64>,
}

impl<G: Granule> FakeMachine<G> {
    /// A load of the host or of a guest; `cacheable` says how it maps the page at stage 1.
    pub fn host_load(&mut self, page: Phys, cacheable: bool) -> u64 {
        let content = self.contents.entry(page.page::<G>().raw()).or_default();
        content
            .cache
            .filter(|_| cacheable)
            .unwrap_or(content.memory)
    }

    /// A store of the host or of a guest.
    pub fn host_store(&mut self, page: Phys, value: u64, cacheable: bool) {
        let content = self.contents.entry(page.page::<G>().raw()).or_default();
        if cacheable {
            content.cache = Some(value);
        } else {
            content.memory = value;
        }
        let page = page.page::<G>().raw();
        self.pages.remove(&page);
        self.fetched_old.insert(page);
    }

    /// EL2 stores to a page that it can reach.
    pub(super) fn overwrite(&mut self, page: Phys, value: u64) {
        let guests = || self.guests.values().flat_map(|guest| &guest.tlbs);
        if self
            .host_tlbs
            .iter()
            .chain(guests())
            .any(|tlb| tlb.reaches(page))
        {
            self.fault(Fault::WrittenWhileReachable(page));
        }
        if self.host_maps(page) || self.guests.values().any(|guest| guest.maps(page)) {
            self.fault(Fault::WrittenWhileMapped(page));
        }
        self.fetched_old.insert(page.raw());
        let content = self.contents.entry(page.raw()).or_default();
        // The line that is replaced may have been evicted just before.
        content.memory = content.cache.unwrap_or(content.memory);
        content.cache = Some(value);
        self.writes += 1;
    }
}
