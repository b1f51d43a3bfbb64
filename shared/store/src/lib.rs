//! The time-series store: a write-ahead log, immutable segments, and the list of what counts.
//!
//! One process writes the log ([`Writer`]); any process reads ([`Reader`], [`Snapshot`]) or commits a transaction
//! of its own as a segment ([`add`]). [`seal`] turns the closed part of the log into segments, [`compact`] many
//! segments into fewer. No reader ever takes a lock or makes anyone wait.
#![doc = include_str!("../FORMAT.md")]

#[doc(hidden)]
pub mod disk;
mod error;
mod format;
mod read;
mod write;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
#[path = "../../dot/tests/support/mod.rs"]
mod trial;

pub use disk::content::allow_many_files;
pub use disk::manifest::rebuilt;
pub use disk::{Free, free_room};
pub use dotter_guard::survive_truncation;
pub use error::Error;
pub use format::clock::Machine;
pub use format::ledger::{
    Account, Application, COUNTERS_BYTES_MAX, Counters, LaneAccount, LaneRecords, Ledger, LossSpan, Lost,
    Refused, RingLoss, Tally, Totals,
};
pub use format::listing::StoreId;
pub use format::pattern::Pattern;
pub use format::place::{Place, Tier, Window};
pub use format::position::{Missed, Position};
pub use format::rules::{Aggregation, ArchiveRule, Rule, Rules, SkippedRule, Slot};
pub use format::step::Rollup;
pub use format::summary::Summary;
pub use format::tombstones::{FullOf, NAMED_TOMBSTONES_MAX, TOMBSTONES_MAX};
pub use read::filter::{
    DEPTH_MAX, FILTER_BYTES_MAX, Filter, FilterError, Matcher, Mismatch, Search, Searched,
};
pub use read::follow::{Commit, Deleted, Follow, What};
pub use read::news::{LossNews, News};
pub use read::reader::Reader;
pub use read::scan::{Row, Scan};
pub use read::snapshot::{Chunk, Dot, Snapshot};
pub use read::stat::{Level, Placed, Stat};
pub use read::steps::Stepped;
pub use read::verify::{Damage, Verified, verify, verify_with};
pub use write::add::{Added, Addition, Sorted, add};
pub use write::backup::{BackedUp, backup};
pub use write::claim::{Claim, ClaimName, take_claim};
pub use write::compaction::{Compacted, Filtered, FilteredRow, compact, compact_filtered, compact_major};
pub use write::delete::{Deletion, delete};
pub use write::purge::{Purge, Purged};
pub use write::rename::{Renamed, rename};
pub use write::repair::{Repair, repair};
pub use write::retention::{
    Going, Limits, ListedRule, Outlook, Retained, Taken, outlook, read_clock, record_rules, retain,
    take_rules,
};
pub use write::seal::{seal, seal_all};
pub use write::tidy::tidy;
pub use write::writer::{RingPart, Transaction, Unsealed, Writer};
