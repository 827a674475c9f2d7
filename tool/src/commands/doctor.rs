// SPDX-License-Identifier: Apache-2.0
//! `mvirt doctor`: can mvirt run on this machine, and if not, why not and what mends it.

mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::device::{self, Node};
use crate::doctor::{examine, Diagnosis, Root, Running};
use crate::error::Error;

/// Tell whether mvirt can run on this machine, and if not, why not and what mends it.
#[derive(clap::Args)]
#[command(after_help = "Exit codes:
  0  mvirt can run here, or runs
  1  it cannot
  2  it could not be told")]
pub struct Args {
    /// Print JSON, with keys that stay as they are
    #[arg(long)]
    json: bool,

    /// Look at the files below this directory: for tests
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Runs the subcommand; answers the exit code.
pub fn run(args: &Args, device: &Path) -> Result<u8, Error> {
    let diagnosis = examine(&Root::new(&args.root), running(&args.root, device));
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &diagnosis).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        text::write(&mut out, &diagnosis)?;
    }
    out.flush()?;
    Ok(diagnosis.exit_code())
}

/// What the device answers. With another root it is a file like all the others, and no device.
fn running(root: &Path, device: &Path) -> Running {
    let device = root.join(device.strip_prefix("/").unwrap_or(device));
    match Node::open(&device).and_then(|node| device::info(&node)) {
        Ok(info) => Running::Yes {
            active: info.cpus_active,
            possible: info.cpus_possible,
        },
        Err(Error::NotLoaded { .. }) => Running::No,
        Err(Error::Permission { .. }) => Running::Unseen,
        Err(error) => Running::Strange(error.to_string()),
    }
}

impl Diagnosis {
    /// As the help text lists them.
    fn exit_code(&self) -> u8 {
        use crate::doctor::Verdict::*;
        match self.verdict {
            Runs | Can => 0,
            Cannot => 1,
            Unknown => 2,
        }
    }
}
