//! The time-series store: a write-ahead log, immutable segments, and the list of what counts.
//!
//! One process writes the log ([`Writer`]); any process reads ([`Reader`], [`Snapshot`]) or commits a transaction
//! of its own as a segment ([`add`]). [`seal`] turns the closed part of the log into segments, [`compact`] many
//! segments into fewer. No reader ever takes a lock or makes anyone wait.
#![doc = include_str!("../FORMAT.md")]

mod add;
mod bytes;
mod chunk;
mod compaction;
mod error;
mod head;
mod layout;
mod ledger;
mod manifest;
mod map;
mod merge;
mod reader;
mod seal;
mod segment;
mod snapshot;
mod verify;
mod wal;
mod writer;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;

pub use add::add;
pub use compaction::compact;
pub use error::Error;
pub use ledger::{Account, LaneAccount, LaneRecords, Ledger, Lost, Refused, Tally, Totals};
pub use manifest::StoreId;
pub use reader::{LossNews, News, Reader};
pub use seal::{seal, seal_all};
pub use snapshot::{Dot, Level, Snapshot, Stat};
pub use verify::{Damage, Verified, verify};
pub use writer::{Dots, RingPart, SeriesKey, Transaction, Unsealed, Writer};
