//! The publisher for C: what `include/dotter.h` declares and explains.
//!
//! What always holds:
//!
//! - no panic leaves a function: it becomes `DOTTER_BUG`
//! - a NULL where there must be none becomes `DOTTER_NULL`, a pointer to something else of ours
//!   `DOTTER_HANDLE`, and nothing else happens
//! - a series belongs to its publisher, is the same pointer each time it is asked for, and goes with
//!   `dotter_close`
//! - nothing here allocates or locks on the way of a dot: a signal handler may publish where
//!   `dotter_publisher` lets it
// Pointers come in from C, and names go out to it: neither has a safe form.
#![allow(unsafe_code)]

// What stands between C and Rust.
mod border;
mod failure;
mod tagged;

// What C holds.
mod bytes;
mod cells;
mod counter;
mod lane;
mod publisher;
mod row;
mod series;
mod text;

use std::ffi::{c_char, c_int};

pub use crate::bytes::*;
pub use crate::cells::*;
pub use crate::counter::*;
pub use crate::lane::*;
pub use crate::publisher::*;
pub use crate::row::*;
pub use crate::series::*;
pub use crate::tagged::{Tag, Tagged};
pub use crate::text::*;

/// Changes where a program that was built for the last one would go wrong: `DOTTER_ABI`.
const ABI: u32 = 2;

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_abi() -> u32 {
    ABI
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_last_code() -> c_int {
    failure::last_code()
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_last_error() -> *const c_char {
    failure::last_message()
}
