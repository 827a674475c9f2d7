// SPDX-License-Identifier: GPL-2.0
//! Pages for the state of VMs: each a page of the pool that EL2 works on in its linear map.

use mvirt_abi::Error;

use super::{must, Memory};
use crate::addr::{Granule, Phys};
use crate::machine::Machine;
use crate::page::{PageState, Use};

/// What such a page may be used for.
fn is_object(usage: Use) -> bool {
    matches!(usage, Use::Vm | Use::Vcpu | Use::Vgic)
}

impl<G: Granule> Memory<'_, G> {
    /// Takes a page for `usage` from the pool, zeroed.
    ///
    /// [`Error::Invalid`] if `usage` is not the state of a VM; [`Error::NoMemory`] if the page would
    /// come out of the reserve.
    pub fn page_take<M: Machine>(&mut self, m: &mut M, usage: Use) -> Result<Phys, Error> {
        if !is_object(usage) {
            return Err(Error::Invalid);
        }
        if self.pool.spare() == 0 {
            return Err(Error::NoMemory);
        }
        let page = must(self.pool.take(m).ok_or(Error::NoMemory));
        m.clear_table(page);
        must(self.pages.set(page.pfn::<G>(), PageState::el2(usage)));
        self.objects += 1;
        Ok(page)
    }

    /// Puts a page that [`page_take`](Self::page_take) gave back into the pool, scrubbed: it may go
    /// to the host from there. Nobody uses it any more.
    ///
    /// [`Error::NoEntry`] if it is not RAM; [`Error::Perm`] if it is not such a page.
    pub fn page_give<M: Machine>(&mut self, m: &mut M, page: Phys) -> Result<(), Error> {
        let pfn = page.pfn::<G>();
        if !is_object(self.pages.get(pfn)?.usage) {
            return Err(Error::Perm);
        }
        let page = page.page::<G>();
        m.scrub(page);
        must(self.pages.set(pfn, PageState::el2(Use::Free)));
        self.pool.put(m, page);
        self.objects -= 1;
        Ok(())
    }
}
