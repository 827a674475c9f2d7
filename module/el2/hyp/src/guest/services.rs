// SPDX-License-Identifier: GPL-2.0
//! The calls that a guest makes by HVC or SMC: which there are, and whether their arguments hold.
//!
//! [`classify`] answers what it can and hands the rest on as a [`Service`] whose arguments are
//! checked. SMC is taken as HVC is, as by KVM (handle_smc()): the firmware is never reached.
//!
//! Sources: Arm DEN0028 (SMCCC 1.2), DEN0098 (TRNG), include/linux/arm-smccc.h of Linux for KVM's
//! vendor-specific service, and for 5, 6, 8 and 9 of it, which mainline reserves for pKVM, the
//! Android kernel, whose guests use them. No state, no lock.

use crate::errata::{Mitigations, OnEntry, WORKAROUND_1, WORKAROUND_3};
use crate::psci::Identifier;
use crate::smccc::NOT_SUPPORTED;

/// SMCCC: the caller does not need the workaround.
const NOT_REQUIRED: u64 = 1;
const SUCCESS: u64 = 0;
/// INVALID_PARAMETER of SMCCC. TRNG's is -2.
pub const INVALID_PARAMETER: u64 = (-3i64) as u64;
const TRNG_INVALID_PARAMETERS: u64 = (-2i64) as u64;

const SMCCC_VERSION: u32 = 0x8000_0000;
const ARCH_FEATURES: u32 = 0x8000_0001;
/// SMCCC 1.2.
const VERSION_1_2: u64 = 0x1_0002;

const TRNG_VERSION: u32 = 0x8400_0050;
const TRNG_FEATURES: u32 = 0x8400_0051;
const TRNG_GET_UUID: u32 = 0x8400_0052;
const TRNG_RND32: u32 = 0x8400_0053;
const TRNG_RND64: u32 = 0xc400_0053;
const TRNG_VERSION_1_0: u64 = 0x1_0000;
/// c2ef3d16-5b76-4f0a-9f61-c7a4f1a63d7b: mvirt's own, as the source is RNDR or the firmware.
const TRNG_UUID: [u64; 4] = [0x163d_efc2, 0x0a4f_765b, 0xa4c7_619f, 0x7b3d_a6f1];

const CALL_UID: u32 = 0x8600_ff01;
/// 28b46fb6-2ec5-11e9-a9ca-4b564d003a74: KVM's.
const KVM_UID: [u64; 4] = [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d];
const KVM_FEATURES: u32 = 0x8600_0000;
/// The base of KVM's SMC64 functions; [`kvm`] has their numbers.
const KVM_SMC64: u32 = 0xc600_0000;

/// KVM's functions that exist here: ARM_SMCCC_KVM_FUNC_*, also their bits in FEATURES.
mod kvm {
    pub const FEATURES: u32 = 0;
    pub const HYP_MEMINFO: u32 = 2;
    pub const MEM_SHARE: u32 = 3;
    pub const MEM_UNSHARE: u32 = 4;
    pub const MMIO_GUARD_INFO: u32 = 5;
    pub const MMIO_GUARD_ENROLL: u32 = 6;
    /// MMIO_GUARD of mainline, MMIO_GUARD_MAP of Android.
    pub const MMIO_GUARD_MAP: u32 = 7;
    pub const MMIO_GUARD_UNMAP: u32 = 8;
    pub const MEM_RELINQUISH: u32 = 9;
    /// The number after those.
    pub const END: u32 = 10;
    /// HYP_MEMINFO to MEM_RELINQUISH.
    pub const PROTECTED: u64 = 0x3fc;
}

/// What is to be done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// x0 to x3; the others stay.
    Answer([u64; 4]),
    /// For [`Power::call`](super::psci::Power::call), with x1 to x3.
    Psci(Identifier),
    /// MEM_SHARE of the page at this IPA.
    Share(u64),
    /// MEM_UNSHARE of the page at this IPA.
    Unshare(u64),
    /// MEM_RELINQUISH of the page at this IPA.
    Relinquish(u64),
    /// From here on only guarded pages are MMIO.
    GuardEnroll,
    /// The page at this IPA is MMIO.
    GuardMap(u64),
    /// The page at this IPA is no longer MMIO.
    GuardUnmap(u64),
    /// So many bits from a source that the host does not control: see [`Entropy`].
    Trng(Entropy),
}

impl Service {
    /// The answer to a call about memory that was done, or that could not be.
    pub const fn memory_answer(done: bool) -> [u64; 4] {
        [if done { SUCCESS } else { INVALID_PARAMETER }, 0, 0, 0]
    }
}

/// A checked TRNG_RND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy {
    /// 1 to 192, for RND32 to 96.
    pub bits: u32,
    /// TRNG_RND64.
    pub is_64bit: bool,
}

impl Entropy {
    /// How many random 64-bit words [`answer`](Self::answer) uses.
    pub const fn words(self) -> usize {
        self.bits.div_ceil(64) as usize
    }

    /// x0 to x3 with the bits of `words`, least significant first: they go to x3 first, then to
    /// x2, x1, and what was not asked for is 0. `None` is NO_ENTROPY.
    pub fn answer(self, words: Option<[u64; 3]>) -> [u64; 4] {
        const NO_ENTROPY: u64 = (-3i64) as u64;
        let Some(words) = words else {
            return [NO_ENTROPY, 0, 0, 0];
        };
        let part = |n: u32, size: u32| {
            let start = n * size;
            let kept = self.bits.saturating_sub(start).min(size);
            let word = words.get((start / 64) as usize).copied().unwrap_or(0) >> (start % 64);
            if kept == 0 {
                0
            } else {
                word & (u64::MAX >> (64 - kept))
            }
        };
        let size = if self.is_64bit { 64 } else { 32 };
        [SUCCESS, part(2, size), part(1, size), part(0, size)]
    }
}

/// What a guest's kernel need or can do against speculation, as its EL2 sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spectre {
    /// No CPU is affected.
    #[default]
    Unaffected,
    /// A call to EL2, whatever it asks for, does what is needed.
    Mitigated,
    /// A CPU is affected and there is no remedy.
    Vulnerable,
}

impl Spectre {
    /// What SMCCC_ARCH_FEATURES answers (KVM: kvm_smccc_call_handler()).
    const fn answer(self) -> u64 {
        match self {
            Spectre::Unaffected => NOT_REQUIRED,
            Spectre::Mitigated => SUCCESS,
            Spectre::Vulnerable => NOT_SUPPORTED,
        }
    }
}

/// The workarounds of all CPUs: the worst of each, as a vCPU runs anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workarounds {
    /// Spectre-v2: SMCCC_ARCH_WORKAROUND_1.
    pub v2: Spectre,
    /// Spectre-BHB: SMCCC_ARCH_WORKAROUND_3.
    pub bhb: Spectre,
}

impl Workarounds {
    /// Before the first CPU.
    pub const NONE: Workarounds = Workarounds {
        v2: Spectre::Unaffected,
        bhb: Spectre::Unaffected,
    };

    /// Takes another CPU in. Each entry to EL2 does `mitigations.on_entry`, so that the call of the
    /// guest is the remedy.
    pub fn fold(&mut self, mitigations: &Mitigations) {
        let v2 = match (mitigations.spectre_v2_open, mitigations.spectre_v2_call) {
            (true, _) => Spectre::Vulnerable,
            (false, true) => Spectre::Mitigated,
            (false, false) => Spectre::Unaffected,
        };
        let bhb = match mitigations.on_entry {
            OnEntry::Nothing => Spectre::Unaffected,
            OnEntry::ClearBhb | OnEntry::Loop(_) | OnEntry::Firmware(_) => Spectre::Mitigated,
        };
        self.v2 = self.v2.max(v2);
        self.bhb = self.bhb.max(bhb);
    }
}

/// What the services depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The VM is protected: it has services to share memory.
    pub protected: bool,
    /// Bytes of a page of stage 2.
    pub granule: u64,
    /// Bits of the VM's physical address.
    pub ipa_bits: u32,
    /// EL2 has a source of entropy: RNDR or the firmware.
    pub has_trng: bool,
    /// Of all CPUs.
    pub workarounds: Workarounds,
}

const fn one(x0: u64) -> Service {
    Service::Answer([x0, 0, 0, 0])
}

/// Classifies `hvc #imm` or `smc #imm` with x0 to x3. Inlined, so that who wants to know of answers
/// alone pays for no more.
#[inline(always)]
pub fn classify(imm: u16, x: [u64; 4], offer: &Offer) -> Service {
    let [x0, x1, ..] = x;
    // SMCCC reserves all immediates but 0.
    if imm != 0 {
        return one(NOT_SUPPORTED);
    }
    // Lossless: the function identifier is W0, as are the arguments of SMC32 calls.
    let id = (x0 & 0xffff_ffff) as u32;
    let w1 = (x1 & 0xffff_ffff) as u32;
    match id {
        SMCCC_VERSION => one(VERSION_1_2),
        ARCH_FEATURES => one(arch_features(w1, offer)),
        // The entry to EL2 has done it. Like KVM's short cut, x0 is 0.
        WORKAROUND_1 | WORKAROUND_3 => one(SUCCESS),
        TRNG_VERSION..=TRNG_RND32 | TRNG_RND64 if offer.has_trng => trng(id, w1),
        CALL_UID => Service::Answer(KVM_UID),
        KVM_FEATURES => one(1 << kvm::FEATURES | if offer.protected { kvm::PROTECTED } else { 0 }),
        _ => match Identifier::decode(id) {
            Some(psci) => Service::Psci(psci),
            None if offer.protected && id ^ KVM_SMC64 < kvm::END => memory(id, x, offer),
            None => one(NOT_SUPPORTED),
        },
    }
}

/// SMCCC_ARCH_WORKAROUND_2 is not there: where the core has SSBS the guest uses that, and where it
/// has not, EL2 does not know what the firmware's switch is set to.
fn arch_features(id: u32, offer: &Offer) -> u64 {
    match id {
        SMCCC_VERSION | ARCH_FEATURES => SUCCESS,
        WORKAROUND_1 => offer.workarounds.v2.answer(),
        WORKAROUND_3 => offer.workarounds.bhb.answer(),
        _ => NOT_SUPPORTED,
    }
}

fn trng(id: u32, w1: u32) -> Service {
    match id {
        TRNG_VERSION => one(TRNG_VERSION_1_0),
        TRNG_FEATURES => match w1 {
            TRNG_VERSION..=TRNG_RND32 | TRNG_RND64 => one(SUCCESS),
            _ => one(NOT_SUPPORTED),
        },
        TRNG_GET_UUID => Service::Answer(TRNG_UUID),
        _ => {
            let is_64bit = id == TRNG_RND64;
            match w1 {
                1..=96 => {}
                97..=192 if is_64bit => {}
                _ => return one(TRNG_INVALID_PARAMETERS),
            }
            Service::Trng(Entropy { bits: w1, is_64bit })
        }
    }
}

/// KVM's services to a protected guest. Ranges of pages are not offered (HYP_MEMINFO's x1 is 0), so
/// that x2 and x3 must be 0; but MMIO_GUARD_MAP and UNMAP ignore them, as older guests leave
/// garbage there.
fn memory(id: u32, x: [u64; 4], offer: &Offer) -> Service {
    let [_, ipa, x2, x3] = x;
    let rest_is_0 = x2 == 0 && x3 == 0;
    let is_page = ipa & (offer.granule - 1) == 0 && ipa >> offer.ipa_bits == 0;
    let checked = |ok: bool, service| {
        if ok {
            service
        } else {
            one(INVALID_PARAMETER)
        }
    };
    match id ^ KVM_SMC64 {
        kvm::HYP_MEMINFO | kvm::MMIO_GUARD_INFO => {
            checked(ipa == 0 && rest_is_0, one(offer.granule))
        }
        kvm::MEM_SHARE => checked(is_page && rest_is_0, Service::Share(ipa)),
        kvm::MEM_UNSHARE => checked(is_page && rest_is_0, Service::Unshare(ipa)),
        kvm::MMIO_GUARD_ENROLL => Service::GuardEnroll,
        kvm::MMIO_GUARD_MAP => checked(is_page, Service::GuardMap(ipa)),
        kvm::MMIO_GUARD_UNMAP => checked(is_page, Service::GuardUnmap(ipa)),
        kvm::MEM_RELINQUISH => checked(is_page && rest_is_0, Service::Relinquish(ipa)),
        _ => one(NOT_SUPPORTED),
    }
}

#[cfg(test)]
mod tests;
