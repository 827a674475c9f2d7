// SPDX-License-Identifier: GPL-2.0
//! One case for each function and each refusal; `sim/tests/psci` has the interleavings.

mod functions;
mod on_off;
mod states;
mod suspend;

use super::*;

const EL2: u64 = 0x1_4000_0100;
const MPIDRS: [u64; 4] = [0x0, 0x1, 0x100, 0x1_0000_0000];
const RAM: core::ops::Range<u64> = 0x4000_0000..0x2_0000_0000;
const GOOD: u64 = 0x1_8000_0000;

fn firmware() -> Firmware {
    Firmware {
        version: 0x1_0001,
        extended_state: false,
        entry: EL2,
    }
}

/// A relay with CPU 0 online.
fn relay() -> Relay {
    let mut relay = Relay::new(&MPIDRS, firmware()).unwrap();
    assert!(relay.adopt(0));
    relay
}

fn call(relay: &mut Relay, id: u32, x: [u64; 3]) -> Action {
    relay.decide(0, Identifier::decode(id).unwrap(), x, |pc| {
        RAM.contains(&pc)
    })
}

fn code(code: ReturnCode) -> Action {
    Action::Answer(code.to_x0())
}
