// SPDX-License-Identifier: GPL-2.0
//! What bindgen made of `bindings.h`.
#![allow(
    clippy::all,
    unknown_lints,
    unnecessary_transmutes,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    rustdoc::all
)]

include!(env!("MVIRT_BINDINGS"));
