//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use dotter_dot::Timestamp;

const EXAMPLES: &str = "\
Examples:
  dotter-store -d DIR read 'host.%' --after 2026-03-15T12:00:00Z      all series below host.
  dotter-store -d DIR read host.cpu.user --json
  echo 'room.temperature 2026-03-15T12:00:00Z 21.5' | dotter-store -d DIR add
  dotter-store -d DIR ledger                                           what became of every dot
  dotter-store -d DIR verify                                           read every checksum

Rows are lines of series, time and value with blanks between; a blank or a backslash within a name has a backslash \
before it. Times are whole nanoseconds since 1970 or RFC 3339. All commands work while a collector is writing.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 damaged data found.";

/// Reads a store and adds to it, whether or not a collector is running.
#[derive(Debug, Parser)]
#[command(name = "dotter-store", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The store's directory
    #[arg(short, long, env = "DOTTER_DATA", value_name = "DIR")]
    pub(crate) data: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store rows from standard input, all of them in one transaction
    Add(AddOptions),
    /// Print dots in the order of their series and times
    Read(ReadOptions),
    /// Print how large the store is
    Stat {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print what became of every dot of every ring
    Ledger {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read everything and compare it with its checksums
    Verify,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddOptions {
    /// Store the good rows and count the bad ones, instead of storing nothing where one is bad
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReadOptions {
    /// A series, or a pattern in which % stands for anything
    pub(crate) pattern: String,

    /// Only dots at this time or later
    #[arg(long, visible_alias = "after-time", value_name = "TIME", value_parser = crate::row::parse_time)]
    pub(crate) after: Option<Timestamp>,

    /// Only dots before this time
    #[arg(long, visible_alias = "before-time", value_name = "TIME", value_parser = crate::row::parse_time)]
    pub(crate) before: Option<Timestamp>,

    /// How times are printed
    #[arg(long, value_enum, default_value_t = Times::Rfc3339)]
    pub(crate) times: Times,

    /// One JSON object a series, one series a line; times in seconds
    #[arg(long, conflicts_with_all = ["csv", "times"])]
    pub(crate) json: bool,

    /// Comma-separated, with a head line
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Times {
    /// 2026-03-15T12:00:00.25Z
    Rfc3339,
    /// Whole nanoseconds since 1970
    Nanos,
    /// Seconds since 1970 with a fraction
    Seconds,
}
