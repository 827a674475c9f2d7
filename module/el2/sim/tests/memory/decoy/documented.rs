// SPDX-License-Identifier: GPL-2.0
//! The tables of Documentation/page-states.rst about decoys, from what EL2 does.

use mvirt_hyp::addr::{Ipa, K4};
use mvirt_hyp::memory::{Accessor, Denied, Outcome};

use super::tables::{ragged, run_short};
use super::{far, kernel, CPUS};
use crate::common::{donate, small};

/// The table of accesses in Documentation/page-states.rst.
pub fn accesses() -> Vec<Vec<String>> {
    let rows = [
        ("EL1, data", Some(0), false),
        ("EL1, fetch", Some(0), true),
        ("EL0, data", None, false),
        ("EL0, fetch", None, true),
    ];
    let outcome = |by: Accessor, there: bool| {
        let mut seen = None;
        let layout = small::<K4>().swap_remove(0);
        let booted = layout.config::<K4>().boot::<K4, _>(|mut rig| {
            let pfn = far(&rig);
            donate(&mut rig, pfn, 16);
            if there {
                kernel(&mut rig, 1, pfn);
            }
            let ipa = Ipa::new(pfn << 12);
            seen = Some(rig.memory.host_fault(&mut rig.m, ipa, by));
        });
        booted.expect("it boots");
        match seen {
            Some(Outcome::Denied(Denied::Owned)) => "Denied".into(),
            Some(outcome) => format!("{outcome:?}"),
            None => panic!("no outcome"),
        }
    };
    let row = |(name, kernel, fetch): (&str, Option<usize>, bool)| {
        let by = Accessor { kernel, fetch };
        vec![name.into(), outcome(by, false), outcome(by, true)]
    };
    rows.map(row).to_vec()
}

/// The table of states there.
pub fn states() -> Vec<Vec<String>> {
    let state = |name: &str, event: usize| {
        ragged(|rig, ram| {
            // The guest's pages 0 and up are these of the host's.
            let pfn = far(rig);
            donate(rig, pfn - 64, 32);
            rig.guest_create(0, true, 36).expect("room");
            let map = rig.memory.guest_map(&mut rig.m, 0, 0, pfn, 64, 0);
            map.expect("the host's alone");
            rig.settle();
            let (decoy, _) = kernel(rig, 0, pfn);
            match name {
                "Idle" => {
                    rig.memory.guest_relinquish(&mut rig.m, 0, 0).expect("own");
                    rig.settle();
                }
                "Mapped" => (),
                _ => (1..4).for_each(|n| {
                    kernel(rig, 0, pfn + n);
                }),
            }
            match event {
                // Until it is this one's turn, if it is idle.
                0 if name == "Idle" => (4..8).for_each(|n| {
                    kernel(rig, 0, pfn + n);
                }),
                0 => {
                    kernel(rig, 0, pfn + 8);
                }
                1 => (9..40).for_each(|n| {
                    kernel(rig, 1 + n as usize % (CPUS - 1), pfn + n);
                }),
                2 => {
                    // It is home already, if it is idle.
                    let _home = rig.memory.guest_relinquish(&mut rig.m, 0, 0);
                    rig.settle();
                }
                _ => run_short(rig, ram),
            }
            rig.check();
            let mut at = None;
            let tree = rig.memory.host_tree();
            let found = tree.leaves(&rig.m, Ipa::new(pfn << 12), 64 << 12, |ipa, _, oa, _| {
                at = at.or((oa == decoy).then(|| ipa.pfn::<K4>()));
                true
            });
            found.expect("it is RAM");
            match at {
                None => "Idle".into(),
                Some(at) if at == pfn || name == "Idle" => "Mapped".into(),
                Some(_) => "Moved".into(),
            }
        })
    };
    let row = |name: &str| {
        let mut row = vec![name.to_string()];
        row.extend((0..4).map(|event| state(name, event)));
        row
    };
    ["Idle", "Mapped", "Longest"].map(row).to_vec()
}
