// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What a hypercall answers when it refuses.

/// A refused hypercall. The value goes back in x0 as its negative, like a Linux errno, and carries
/// the number of the errno that EL1 passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Error {
    /// The page, the call or the state does not allow it (EPERM).
    Perm = 1,
    /// No such object: an address outside RAM, a CPU that is not known (ENOENT).
    NoEntry = 2,
    /// There is nothing at this address or under this number, or an address is missing (ENXIO).
    NoAddress = 6,
    /// An address is beyond what there is (E2BIG).
    TooBig = 7,
    /// EL2 lacks table pages: donate some to the pool and call again (ENOMEM).
    NoMemory = 12,
    /// The object is in use, or another transition is under way (EBUSY).
    Busy = 16,
    /// It is so already (EEXIST).
    Exists = 17,
    /// An argument is malformed: unaligned, out of range, overflowing (EINVAL).
    Invalid = 22,
    /// No such hypercall in this phase (ENOSYS).
    NoCall = 38,
    /// The CPU or the machine lacks what is needed (EOPNOTSUPP).
    NotSupported = 95,
}

impl Error {
    /// Every error, for tests and for decoding.
    pub const ALL: [Error; 10] = [
        Error::Perm,
        Error::NoEntry,
        Error::NoAddress,
        Error::TooBig,
        Error::NoMemory,
        Error::Busy,
        Error::Exists,
        Error::Invalid,
        Error::NoCall,
        Error::NotSupported,
    ];

    /// The value of x0 that says so.
    pub const fn to_raw(self) -> u64 {
        (-(self as i32 as i64)) as u64
    }

    /// Reads the answer in x0: `None` if the call succeeded, which is 0 and nothing else.
    ///
    /// A value that names no error known here is read as [`Error::NotSupported`]: it can only come
    /// from something that is not our EL2, such as the kernel's hyp stub.
    pub fn from_raw(x0: u64) -> Option<Error> {
        if x0 == 0 {
            return None;
        }
        let found = Self::ALL.iter().find(|e| e.to_raw() == x0);
        Some(found.copied().unwrap_or(Error::NotSupported))
    }
}
