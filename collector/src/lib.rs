//! Takes batches, JSON and Graphite lines, keeps them in the store.
//!
//! ```text
//! front door (data) --> bounded queue --> one writer thread: decide, append, group commit, then answer
//! Graphite lines    --> (ingest)     --^  (commit)                 |
//!                                                                  +--> upkeep: seal, compact
//! ```
//!
//! Always true, whoever sends what:
//!
//! - nothing is acknowledged before it is synced, and every answer that names a record number wanted next waits
//!   for the sync of all that number rests on
//! - one thread decides and appends, so two posts of the same records store them once
//! - what waits is bounded: posts by places, lines by a queue behind which sockets are not read
//! - while the file system has less free than its reserve, nothing is taken that adds rows: posts are told so, lines wait
//!   in their sender
//! - reads run in a few threads of the front door, and have no part in the others
//! - an error of the log costs its writer and nothing else: all that waited are told to come again, a new writer
//!   is opened, lines that were taken are kept for it

mod bad_line;
mod batch;
mod commit;
mod data;
mod error;
mod foreign;
mod given;
mod graphite;
mod group;
mod history;
mod ingest;
mod metrics;
mod parameters;
mod reserve;
mod row_pages;
mod run;
mod series_limit;
mod tally;
mod thread;
mod upkeep;

pub use error::Error;
pub use run::{Options, run};
