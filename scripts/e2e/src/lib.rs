//! What the whole-pipeline tests stand on: the built programs as processes with real sockets and files, and an
//! oracle that knows what became of every dot.
//!
//! A test starts a [`Pipeline`], does something bad to it, and asks the [`oracle`] whether
//! `published == stored + lost + refused` still holds for every ring, and whether every stored record is there once
//! with the right value. What was published is read from the rings themselves, so nothing that could be wrong vouches
//! for itself.
//!
//! Nothing here has a fixed port or path, so tests run beside each other. Each pipeline has a loopback address of its
//! own, which makes a port that was given once safe to take again after a restart.

mod browser;
mod client;
mod dice;
mod pipeline;
mod process;
mod programs;
mod skip;
mod wait;

pub mod oracle;

pub use browser::{Browser, Tab};
pub use client::{Reply, get, get_json, post, request};
pub use dice::Dice;
pub use pipeline::{Pipeline, Store};
pub use process::Process;
pub use programs::program;
pub use skip::skip;
pub use wait::{PATIENCE, until, until_some};

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
