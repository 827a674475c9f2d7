// SPDX-License-Identifier: Apache-2.0
//! mvirt's command-line tool.
//!
//! One file in `commands/` for each subcommand: it owns the subcommand's options and its `run`.
//! What a subcommand does with the kernel goes through [`device::Device`], so that the logic is
//! tested on any machine. Results go to standard output, everything else to standard error.

mod commands;
mod device;
mod devices;
mod doctor;
mod error;
mod run;
mod sys;
mod terminal;
mod units;

/// The contract of the device, made by bindgen from `uapi/mvirt.h`; `tests/uapi.rs` checks that it
/// is up to date and makes it anew.
#[allow(dead_code, non_camel_case_types)]
#[rustfmt::skip]
mod uapi;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shows what mvirt, the hypervisor under this kernel, is and does, and runs guests on it.
#[derive(Parser)]
#[command(name = "mvirt", version, long_version = long_version(), arg_required_else_help = true)]
#[command(after_help = error::EXIT_CODES)]
struct Cli {
    /// The device of the mvirt module
    #[arg(long, global = true, value_name = "PATH", default_value = "/dev/mvirt")]
    device: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(commands::doctor::Args),
    Info(commands::info::Args),
    Run(Box<commands::run::Args>),
}

/// What `--version` prints: the contracts too, for they decide whether a module fits.
fn long_version() -> String {
    format!(
        "{}\ndevice ABI {}\nEL2 contract {:#018x}",
        env!("CARGO_PKG_VERSION"),
        uapi::MVIRT_ABI_VERSION,
        mvirt_abi::HASH
    )
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Doctor(args) => commands::doctor::run(&args, &cli.device),
        Command::Info(args) => commands::info::run(&args, &cli.device).map(|()| 0),
        Command::Run(args) => commands::run::run(*args, cli.device),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => error.report(),
    }
}
