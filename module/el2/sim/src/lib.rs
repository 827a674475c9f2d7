// SPDX-License-Identifier: GPL-2.0
//! A fake machine for the EL2 logic.
