// SPDX-License-Identifier: GPL-2.0
//! mvirt's EL2 image.
#![no_std]
