#![doc = include_str!("../FORMAT.md")]
//!
//! # The crate
//!
//! [`Ring`] makes a ring and hands out [`LaneWriter`]s; [`RingReader`] maps one and [`LaneCursor`] drains
//! its lanes. Applications use `dotter-publisher`, which wraps the writing half.

// The model checker takes the protocol alone: a mapped file is none of its atomics.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

// What the bytes are.
#[cfg(not(loom))]
mod header;
mod layout;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod registry;

// What always holds between a writer and its readers.
pub mod protocol;
mod sync;

// The writing half.
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod lane;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod unfinished;

// The reading half.
#[cfg(not(loom))]
mod conversion;
#[cfg(not(loom))]
mod cursor;
#[cfg(not(loom))]
mod drained;
#[cfg(not(loom))]
mod newest;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod unmapped;

// Names, owners, processes.
#[cfg(not(loom))]
mod broker_lock;
#[cfg(not(loom))]
pub mod directory;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod gone;
#[cfg(not(loom))]
mod held;
#[cfg(not(loom))]
mod life;
#[cfg(not(loom))]
mod process;

// Beneath all of it.
#[cfg(not(loom))]
mod crc;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod sys;

pub use layout::{
    APPLICATION_BYTES_MAX, BLOCK_BYTES, BLOCK_DOTS, LANE_BYTES, LANE_BYTES_MIN, LANES_LIMIT, LANES_MAX,
    REGISTRY_BYTES, SERIES_MAX, lane_bytes_for,
};
#[cfg(not(loom))]
pub use {
    clock::{Clock, ClockKind, Manual, Pair},
    cursor::LaneCursor,
    dotter_guard::survive_truncation,
    drained::{Drained, Loss, RingDot, Value},
    error::Error,
    fork::{SlowPath, generation as fork_generation},
    header::Identity,
    lane::{LaneWriter, Moved},
    life::{FileId, Owner},
    reader::{Refusals, RingReader},
    record::{COLUMNS_MAX, Cell, Kind, Number, Shape, TEXT_BYTES_MAX},
    registry::SeriesEntry,
    ring::{DEAD_BYTES_MAX, Ring, RingOptions},
};
