// SPDX-License-Identifier: Apache-2.0
//! `mvirt info`: what mvirt is, what it has taken from the host and what it has done.
//!
//! [`Report`] is the answer in the shape that `--json` prints. Its keys are a contract: within one
//! version of the device's ABI they only grow. The text for people may change.

mod text;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::device::{self, Node};
use crate::error::Error;
use crate::uapi::{
    mvirt_info, MVIRT_ABI_VERSION, MVIRT_OPTION_CRASH_TEST, MVIRT_OPTION_DEBUG,
    MVIRT_OPTION_RELEASE,
};

/// Show mvirt's version, the memory it has taken and the traps it has handled.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON, with keys that stay as they are
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand on the device at `path`.
pub fn run(args: &Args, path: &Path) -> Result<(), Error> {
    let report = Report::new(&device::info(&Node::open(path)?)?);
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        text::write(&mut out, &report)?;
    }
    out.flush()?;
    Ok(())
}

/// Everything that the subcommand tells.
#[derive(Debug, PartialEq, Serialize)]
struct Report {
    module: Contract,
    tool: Contract,
    options: Vec<&'static str>,
    page_size: u32,
    cpus: Cpus,
    takeover_ns: u64,
    memory: Memory,
    shared_bytes: u64,
    guest_bytes: u64,
    teardown_ns: u64,
    traps: Traps,
}

/// What one side was built from. The hash is a string because JSON's numbers have 53 bits.
#[derive(Debug, PartialEq, Serialize)]
struct Contract {
    abi_version: u32,
    abi_hash: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Cpus {
    possible: u32,
    active: u64,
}

/// Bytes that are no longer the host's. `text_bytes` and `rodata_bytes` are parts of
/// `image_bytes`, the others are apart and `total_bytes` is their sum.
#[derive(Debug, PartialEq, Serialize)]
struct Memory {
    image_bytes: u64,
    text_bytes: u64,
    rodata_bytes: u64,
    stack_bytes: u64,
    meta_bytes: u64,
    el2_table_bytes: u64,
    host_table_bytes: u64,
    pool_bytes: u64,
    guest_table_bytes: u64,
    vm_bytes: u64,
    decoy_bytes: u64,
    el1_bytes: u64,
    total_bytes: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Traps {
    hypercall: u64,
    stub: u64,
    psci: u64,
    smc: u64,
    fault_mapped: u64,
    fault_denied: u64,
    fault_decoy: u64,
    sysreg: u64,
    other: u64,
    total: u64,
}

impl Report {
    fn new(info: &mvirt_info) -> Report {
        Report {
            module: Contract::new(info.abi_version, info.abi_hash),
            tool: Contract::new(MVIRT_ABI_VERSION, mvirt_abi::HASH),
            options: options(info.options),
            page_size: info.page_size,
            cpus: Cpus {
                possible: info.cpus_possible,
                active: info.cpus_active,
            },
            takeover_ns: info.takeover_ns,
            memory: Memory::new(info),
            shared_bytes: info.shared_bytes,
            guest_bytes: info.guest_bytes,
            teardown_ns: info.teardown_ns,
            traps: Traps::new(info),
        }
    }
}

impl Contract {
    fn new(abi_version: u32, hash: u64) -> Contract {
        Contract {
            abi_version,
            abi_hash: format!("{hash:#018x}"),
        }
    }
}

impl Memory {
    fn new(info: &mvirt_info) -> Memory {
        let parts = [
            info.image_bytes,
            info.stack_bytes,
            info.meta_bytes,
            info.el2_table_bytes,
            info.host_table_bytes,
            info.pool_bytes,
            info.guest_table_bytes,
            info.vm_bytes,
            info.decoy_bytes,
            info.el1_bytes,
        ];
        Memory {
            image_bytes: info.image_bytes,
            text_bytes: info.text_bytes,
            rodata_bytes: info.rodata_bytes,
            stack_bytes: info.stack_bytes,
            meta_bytes: info.meta_bytes,
            el2_table_bytes: info.el2_table_bytes,
            host_table_bytes: info.host_table_bytes,
            pool_bytes: info.pool_bytes,
            guest_table_bytes: info.guest_table_bytes,
            vm_bytes: info.vm_bytes,
            decoy_bytes: info.decoy_bytes,
            el1_bytes: info.el1_bytes,
            total_bytes: sum(&parts),
        }
    }
}

impl Traps {
    fn new(info: &mvirt_info) -> Traps {
        let classes = [
            info.trap_hypercall,
            info.trap_stub,
            info.trap_psci,
            info.trap_smc,
            info.trap_fault_mapped,
            info.trap_fault_denied,
            info.trap_fault_decoy,
            info.trap_sysreg,
            info.trap_other,
        ];
        Traps {
            hypercall: info.trap_hypercall,
            stub: info.trap_stub,
            psci: info.trap_psci,
            smc: info.trap_smc,
            fault_mapped: info.trap_fault_mapped,
            fault_denied: info.trap_fault_denied,
            fault_decoy: info.trap_fault_decoy,
            sysreg: info.trap_sysreg,
            other: info.trap_other,
            total: sum(&classes),
        }
    }
}

/// The names of the options that are set. A bit that this tool does not know is named as unknown,
/// so that it is not overlooked.
fn options(bits: u32) -> Vec<&'static str> {
    let known = [
        (MVIRT_OPTION_RELEASE, "release"),
        (MVIRT_OPTION_DEBUG, "debug"),
        (MVIRT_OPTION_CRASH_TEST, "crash_test"),
    ];
    let mut names: Vec<_> = known
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|&(_, name)| name)
        .collect();
    if bits & !known.iter().fold(0, |all, (bit, _)| all | bit) != 0 {
        names.push("unknown");
    }
    names
}

/// Adds up what the kernel told. Numbers that make no sense must not make the tool panic.
fn sum(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0, |total, part| total.saturating_add(*part))
}

#[cfg(test)]
mod tests;
