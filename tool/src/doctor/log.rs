// SPDX-License-Identifier: Apache-2.0
//! The kernel's log, as /dev/kmsg has it.

use super::root::{Content, Root};

/// The log's lines, without their heads.
pub struct Log(Content<Vec<String>>);

impl Log {
    /// Reads it.
    pub fn read(root: &Root) -> Log {
        Log(match root.records("dev/kmsg") {
            Content::Has(bytes) => Content::Has(lines(&String::from_utf8_lossy(&bytes))),
            Content::Absent => Content::Absent,
            Content::Denied(why) => Content::Denied(why),
        })
    }

    /// Its lines, if it can be read.
    pub fn lines(&self) -> Option<&[String]> {
        match &self.0 {
            Content::Has(lines) => Some(lines),
            Content::Absent | Content::Denied(_) => None,
        }
    }

    /// Why it cannot be read.
    pub fn why_not(&self) -> Option<String> {
        match &self.0 {
            Content::Has(_) => None,
            Content::Absent => Some("there is no /dev/kmsg".into()),
            Content::Denied(why) => Some(format!("/dev/kmsg: {why}")),
        }
    }

    /// Whether a line has these words; `None` if the log cannot be read.
    pub fn says(&self, words: &str) -> Option<bool> {
        Some(self.lines()?.iter().any(|line| line.contains(words)))
    }
}

/// A record is `level,number,time,flags;text`; lines that begin with a space tell more of one.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| Some(line.split_once(';')?.1.to_owned()))
        .collect()
}
