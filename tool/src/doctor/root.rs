// SPDX-License-Identifier: Apache-2.0
//! The files of a machine: this one's, or some below a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<T = String> {
    /// This.
    Has(T),
    /// There is no such file.
    Absent,
    /// It cannot be read, for this reason.
    Denied(String),
}

impl<T> Content<T> {
    /// What it says, if it says something.
    pub fn has(self) -> Option<T> {
        match self {
            Content::Has(content) => Some(content),
            Content::Absent | Content::Denied(_) => None,
        }
    }
}

/// Where the files are.
pub struct Root(PathBuf);

impl Root {
    /// Those below a directory.
    pub fn new(path: &Path) -> Root {
        Root(path.into())
    }

    /// The place of a file that is given without the first slash.
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.0.join(file)
    }

    /// Whether there is something of that name.
    pub fn is_there(&self, file: &str) -> bool {
        self.path(file).symlink_metadata().is_ok()
    }

    /// A file's bytes.
    pub fn bytes(&self, file: &str) -> Content<Vec<u8>> {
        content(fs::read(self.path(file)))
    }

    /// A file's text; what is no UTF-8 is replaced.
    pub fn text(&self, file: &str) -> Content {
        match self.bytes(file) {
            Content::Has(bytes) => Content::Has(String::from_utf8_lossy(&bytes).into_owned()),
            Content::Absent => Content::Absent,
            Content::Denied(why) => Content::Denied(why),
        }
    }

    /// A file that has one line, without its end.
    pub fn line(&self, file: &str) -> Option<String> {
        let text = self.text(file).has()?;
        Some(text.trim_end_matches(['\n', '\0']).to_owned())
    }

    /// All that there is in a file that is read piece by piece, and that waits at its end.
    pub fn records(&self, file: &str) -> Content<Vec<u8>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        content(options.open(self.path(file)).and_then(drain))
    }

    /// The names in a directory, in order.
    pub fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(directory)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }
}

fn content<T>(read: io::Result<T>) -> Content<T> {
    match read {
        Ok(content) => Content::Has(content),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Content::Absent,
        Err(e) => Content::Denied(e.to_string()),
    }
}

fn drain(mut file: File) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut record = [0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&record[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(all),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A record of the log that was overwritten before it was read.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) => return Err(e),
        }
    }
}
