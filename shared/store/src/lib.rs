//! The time-series store: a write-ahead log, immutable segments, and the list of what counts.
//!
//! One process writes the log ([`Writer`]); any process reads ([`Reader`], [`Snapshot`]) or commits a transaction
//! of its own as a segment ([`add`]). [`seal`] turns the closed part of the log into segments, [`compact`] many
//! segments into fewer. No reader ever takes a lock or makes anyone wait.
#![doc = include_str!("../FORMAT.md")]

mod add;
mod backup;
mod beside;
mod bulk;
mod bytes;
mod chunk;
mod codec;
mod compaction;
#[doc(hidden)]
pub mod disk;
mod error;
mod filter;
mod head;
mod ladder;
mod layout;
mod ledger;
mod listed;
mod manifest;
mod map;
mod merge;
mod newest;
mod pattern;
mod reader;
mod retention;
mod run;
mod scan;
mod seal;
mod segment;
mod series;
mod shapes;
mod snapshot;
mod stat;
mod summary;
mod tombstone;
mod verify;
mod wal;
mod writer;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;

pub use add::{Added, Addition, add};
pub use backup::{BackedUp, backup};
pub use bulk::Bulk;
pub use compaction::{Compacted, Filtered, FilteredRow, compact, compact_filtered, compact_major};
pub use dotter_guard::survive_truncation;
pub use error::Error;
pub use filter::{DEPTH_MAX, FILTER_BYTES_MAX, Filter, FilterError, Matcher, Search, Searched, parse_time};
pub use ledger::{
    Account, Application, LaneAccount, LaneRecords, Ledger, Lost, Refused, Tally, Totals, tidy,
};
pub use manifest::{StoreId, rebuilt};
pub use pattern::Pattern;
pub use reader::{LossNews, News, Reader};
pub use retention::{
    Aggregation, ArchiveRule, Machine, OneNumber, Retained, Retention, Rollup, Rule, Rules, SkippedRule,
    WatchedRules, retain,
};
pub use scan::{Row, Scan};
pub use seal::{seal, seal_all};
pub use snapshot::{Chunk, Dot, Snapshot};
pub use stat::{Level, Stat};
pub use summary::Summary;
pub use tombstone::{Deletion, TOMBSTONES_MAX, delete};
pub use verify::{Damage, Verified, verify, verify_with};
pub use writer::{Dots, RingPart, SeriesKey, Transaction, Unsealed, Writer};
