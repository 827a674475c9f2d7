// SPDX-License-Identifier: Apache-2.0
//! The device tree, as sysfs shows it: a directory for each node, a file for each property.

use std::path::{Path, PathBuf};

use super::root::Root;

/// Nodes are this deep at most; what is deeper is nothing that the checks look for.
const DEPTH: usize = 8;

/// The tree, if there is one.
pub struct Tree<'a> {
    root: &'a Root,
    base: Option<PathBuf>,
}

/// A node.
#[derive(Clone)]
pub struct Node<'a> {
    root: &'a Root,
    path: PathBuf,
}

impl<'a> Tree<'a> {
    /// Finds it.
    pub fn new(root: &'a Root) -> Tree<'a> {
        let places = ["sys/firmware/devicetree/base", "proc/device-tree"];
        let base = places.into_iter().find(|place| root.is_there(place));
        Tree {
            root,
            base: base.map(PathBuf::from),
        }
    }

    /// Whether there is a tree at all.
    pub fn is_there(&self) -> bool {
        self.base.is_some()
    }

    /// The node at a path.
    pub fn node(&self, path: &str) -> Option<Node<'a>> {
        let path = self.base.as_ref()?.join(path);
        self.root.path(&path).is_dir().then_some(Node {
            root: self.root,
            path,
        })
    }

    /// The first node that is compatible with one of these, in the order in which they are named.
    pub fn compatible(&self, names: &[&str]) -> Option<Node<'a>> {
        let top = Node {
            root: self.root,
            path: self.base.clone()?,
        };
        names.iter().find_map(|name| top.find(name, DEPTH))
    }

    /// The CPUs' nodes, in the kernel's order but for the one that booted, which may be another.
    pub fn cpus(&self) -> Vec<Node<'a>> {
        let Some(cpus) = self.node("cpus") else {
            return Vec::new();
        };
        cpus.children()
            .into_iter()
            .filter(|node| node.text("device_type").as_deref() == Some("cpu"))
            .collect()
    }
}

impl<'a> Node<'a> {
    /// A property's bytes.
    pub fn property(&self, name: &str) -> Option<Vec<u8>> {
        self.root.bytes(self.path.join(name).to_str()?).has()
    }

    /// A property that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    /// A property that is a list of strings.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let Some(bytes) = self.property(name) else {
            return Vec::new();
        };
        bytes
            .split(|byte| *byte == 0)
            .filter(|text| !text.is_empty())
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    /// A property that is a list of cells.
    pub fn cells(&self, name: &str) -> Option<Vec<u32>> {
        let bytes = self.property(name)?;
        let cell = |c: &[u8]| c.try_into().map(u32::from_be_bytes).ok();
        bytes.chunks(4).map(cell).collect()
    }

    fn children(&self) -> Vec<Node<'a>> {
        let names = self.root.names(&self.path);
        let path = |name: &String| self.path.join(Path::new(name));
        names
            .iter()
            .map(path)
            .filter(|path| self.root.path(path).is_dir())
            .map(|path| Node {
                root: self.root,
                path,
            })
            .collect()
    }

    fn find(&self, name: &str, depth: usize) -> Option<Node<'a>> {
        if self.texts("compatible").iter().any(|c| c == name) {
            return Some(self.clone());
        }
        let depth = depth.checked_sub(1)?;
        self.children().iter().find_map(|n| n.find(name, depth))
    }
}
