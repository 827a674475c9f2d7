// SPDX-License-Identifier: GPL-2.0
//! What EL2 knows of one page of RAM: a word of metadata.
//!
//! A zero word is a page that the host owns alone, so metadata that was never written gives the
//! host what it had and EL2 nothing. The used combinations:
//!
//! | owner | share   | use                    | count                      | meaning |
//! |-------|---------|------------------------|----------------------------|---------|
//! | Host  | None    | None                   | 0                          | the host's alone |
//! | Host  | WithEl2 | None                   | times that EL2 pinned it   | the host's, EL2 may read and write |
//! | Host  | WithGuests | None                | mappings, at least 1       | the host's, mapped in non-protected VMs |
//! | El2   | None    | Free                   | 0                          | in the pool |
//! | El2   | None    | HostTable, El2Table, GuestTable | valid descriptors in it | a translation table |
//! | El2   | None    | Meta, Image, Data, Stack | 0                        | EL2's own, until release |
//! | El2   | None    | Vm, Vcpu, Vgic         | 0                          | state of a VM |
//! | El2   | None    | Decoy                  | 0                          | what the host's kernel meets where it must not look |
//! | Guest | None    | None                   | 0                          | a protected VM's alone |
//! | Guest | WithHost | None                  | 0                          | a protected VM's, and the host may use it |
//!
//! Unused, and refused by [`PageWord::decode`]: a share of a page that EL2 owns; a share with the
//! owner itself, of the host's page with the host or a guest's with anybody but the host; a use of
//! a page that EL2 does not own; EL2's page without a use; a count where the table says 0; reserved
//! values of a field.

use mvirt_abi::MAX_VMS;

/// The number of the owner that is the guest in slot 0.
pub const FIRST_GUEST: u8 = 2;

/// Who has the right to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The host.
    Host,
    /// EL2 itself.
    El2,
    /// The protected VM in this slot, which is below [`MAX_VMS`].
    Guest(u8),
}

/// Whom the owner lets use the page as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Nobody.
    None,
    /// EL2, which reads and writes it through its linear map.
    WithEl2,
    /// Non-protected VMs: which and where, their tables say.
    WithGuests,
    /// The host.
    WithHost,
}

/// What EL2 uses its own page for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing: it is not EL2's.
    None,
    /// Free in the pool.
    Free,
    /// A table of the host's stage 2.
    HostTable,
    /// A table of EL2's stage 1.
    El2Table,
    /// Page metadata.
    Meta,
    /// Text and read-only data of the image: never mapped writable.
    Image,
    /// Writable data: of the image, and the boot parameters.
    Data,
    /// A stack.
    Stack,
    /// A table of a guest's stage 2.
    GuestTable,
    /// The state of a VM.
    Vm,
    /// The state of a vCPU.
    Vcpu,
    /// Interrupts of a VM.
    Vgic,
    /// A decoy: the host's stage 2 may show it in the place of a page that is not the host's.
    Decoy,
}

/// How one party sees a page, in pKVM's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum View {
    /// Its own, and nobody else's.
    Owned = 0,
    /// Its own, shared with another.
    SharedOwned = 1,
    /// Another's, shared with it.
    SharedBorrowed = 2,
    /// Not to be touched.
    NoPage = 3,
}

/// A page's state, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageState {
    /// Who owns it.
    pub owner: Owner,
    /// Whom it is shared with.
    pub share: Share,
    /// What EL2 uses it for.
    pub usage: Use,
    /// Pins or mappings of a shared page, valid descriptors of a table, else 0.
    pub count: u16,
}

impl PageState {
    /// A page of the host alone.
    pub const HOST: PageState = PageState {
        owner: Owner::Host,
        share: Share::None,
        usage: Use::None,
        count: 0,
    };
    /// A page that the host shares with EL2, not pinned.
    pub const SHARED: PageState = PageState {
        share: Share::WithEl2,
        ..PageState::HOST
    };

    /// A page of the protected VM in `slot`.
    pub const fn guest(slot: u8) -> PageState {
        PageState {
            owner: Owner::Guest(slot),
            share: Share::None,
            usage: Use::None,
            count: 0,
        }
    }

    /// A page of the host that non-protected VMs map `count` times.
    pub const fn with_guests(count: u16) -> PageState {
        PageState {
            share: Share::WithGuests,
            count,
            ..PageState::HOST
        }
    }

    /// A page of EL2 in use as `usage`.
    pub const fn el2(usage: Use) -> PageState {
        PageState {
            owner: Owner::El2,
            share: Share::None,
            usage,
            count: 0,
        }
    }

    /// How `party` sees the page. Any guest may have the loan of one that is shared with guests:
    /// which has it, the tables say.
    pub fn view(self, party: Owner) -> View {
        match (self.owner == party, self.share, party) {
            (true, Share::None, _) => View::Owned,
            (true, _, _) => View::SharedOwned,
            (false, Share::WithEl2, Owner::El2)
            | (false, Share::WithGuests, Owner::Guest(_))
            | (false, Share::WithHost, Owner::Host) => View::SharedBorrowed,
            (false, _, _) => View::NoPage,
        }
    }

    /// Whether the host's stage 2 may map the page.
    pub fn host_may_access(self) -> bool {
        self.view(Owner::Host) != View::NoPage
    }

    /// Whether the combination is one of the used ones.
    pub fn is_used_combination(self) -> bool {
        match (self.owner, self.share, self.usage) {
            (Owner::Host, Share::None, Use::None) => self.count == 0,
            (Owner::Host, Share::WithEl2, Use::None) => true,
            (Owner::Host, Share::WithGuests, Use::None) => self.count > 0,
            (Owner::Guest(slot), Share::None | Share::WithHost, Use::None) => {
                self.count == 0 && usize::from(slot) < MAX_VMS
            }
            (Owner::El2, Share::None, Use::HostTable | Use::El2Table | Use::GuestTable) => true,
            (Owner::El2, Share::None, Use::None) => false,
            (Owner::El2, Share::None, _) => self.count == 0,
            _ => false,
        }
    }
}

/// A page's state as it is stored: owner in bits 7:0, share in 11:8, use in 15:12, count in 31:16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct PageWord(u32);

const _: () = assert!(size_of::<PageWord>() as u64 == mvirt_abi::META_BYTES_PER_PAGE);

impl PageWord {
    /// A page that the host owns alone: zero, so that clearing metadata is a memset.
    pub const HOST: PageWord = PageWord(0);

    /// The state in storage form.
    pub fn encode(state: PageState) -> PageWord {
        let owner: u32 = match state.owner {
            Owner::Host => 0,
            Owner::El2 => 1,
            Owner::Guest(slot) => u32::from(slot.saturating_add(FIRST_GUEST)),
        };
        let share: u32 = match state.share {
            Share::None => 0,
            Share::WithEl2 => 1,
            Share::WithGuests => 2,
            Share::WithHost => 3,
        };
        let usage: u32 = match state.usage {
            Use::None => 0,
            Use::Free => 1,
            Use::HostTable => 2,
            Use::El2Table => 3,
            Use::Meta => 4,
            Use::Image => 5,
            Use::Data => 6,
            Use::Stack => 7,
            Use::GuestTable => 8,
            Use::Vm => 9,
            Use::Vcpu => 10,
            Use::Vgic => 11,
            Use::Decoy => 12,
        };
        PageWord(owner | share << 8 | usage << 12 | u32::from(state.count) << 16)
    }

    /// The state; `None` if a field is reserved or the combination is not a used one.
    pub fn decode(self) -> Option<PageState> {
        let [owner, kind, low, high] = self.0.to_le_bytes();
        let owner = match owner {
            0 => Owner::Host,
            1 => Owner::El2,
            // A slot that does not exist is refused with the combination.
            guest => Owner::Guest(guest.checked_sub(FIRST_GUEST)?),
        };
        let share = match kind & 0xf {
            0 => Share::None,
            1 => Share::WithEl2,
            2 => Share::WithGuests,
            3 => Share::WithHost,
            _ => return None,
        };
        let usage = match kind >> 4 {
            0 => Use::None,
            1 => Use::Free,
            2 => Use::HostTable,
            3 => Use::El2Table,
            4 => Use::Meta,
            5 => Use::Image,
            6 => Use::Data,
            7 => Use::Stack,
            8 => Use::GuestTable,
            9 => Use::Vm,
            10 => Use::Vcpu,
            11 => Use::Vgic,
            12 => Use::Decoy,
            _ => return None,
        };
        let count = u16::from_le_bytes([low, high]);
        let state = PageState {
            owner,
            share,
            usage,
            count,
        };
        state.is_used_combination().then_some(state)
    }

    /// The raw word, for tests that damage metadata on purpose.
    pub const fn from_raw(raw: u32) -> PageWord {
        PageWord(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_hosts_page() {
        assert_eq!(PageWord::encode(PageState::HOST), PageWord::HOST);
        assert_eq!(PageWord::HOST.decode(), Some(PageState::HOST));
    }
}
