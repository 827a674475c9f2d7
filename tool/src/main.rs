// SPDX-License-Identifier: Apache-2.0
//! mvirt's command-line tool.
fn main() {}
