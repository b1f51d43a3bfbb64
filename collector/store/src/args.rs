//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use dotter_dot::{Format, SeriesName, Timestamp};
use dotter_intake::row_text::{self, TimeFormat, parse_time};
use dotter_store::{Filter, FilterError};

use crate::columns::Columns;

const EXAMPLES: &str = "\
Examples:
  dotter-store -d DIR read 'host.%' --after 2026-03-15T12:00:00Z      all series below host.
  dotter-store -d DIR read 'web.%' --where 'code >= 500 and path starts \"/shop/\"'
  dotter-store -d DIR read host.cpu.user --json
  dotter-store -d DIR read web.log --follow
  echo 'room.temperature 2026-03-15T12:00:00Z 21.5' | dotter-store -d DIR add
  dotter-store -d DIR delete 'test.%' --before 2026-01-01
  dotter-store -d DIR rename web.hits shop.hits
  dotter-store -d DIR import --whisper /opt/graphite/storage/whisper
  dotter-store -d DIR ledger                                           what became of every dot
  dotter-store -d DIR verify                                           read every checksum

Rows are lines of series, time, format and values with blanks between; the format is a letter for each value (f F u U \
i I s b: f32 f64 u32 u64 i32 i64 text bytes) and may be left out where there is one plain number. A blank or a backslash \
within a name or a text has a backslash before it; bytes are 0x and two hex digits for each. Times are whole nanoseconds since 1970 or RFC 3339. All commands work \
while a collector is writing.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 damaged data found.";

const WHERE: &str = "\
Only rows of which this is true, such as 'value > 0.5 and key starts \"host.\"'

Fields: key (the series), time, value (the first column), columns by their names or as c1, c2, ... \
Comparisons: = != < <= > >=; of texts and bytes also contains, starts, ends; of texts also matches (=~, not: !~) with a \
regular expression. They are joined with and, or, not and brackets. Texts stand in quotes, bytes are 0x00ff, times are \
RFC 3339, dates, or nanoseconds. A \
comparison with a column that a row does not have, or that is of another type, is false.";

/// Reads a store, adds to it and looks after it, whether or not a collector is running.
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
    /// Print rows in the order of their series and times
    Read(ReadOptions),
    /// Hide rows from now on; the next compaction removes them
    Delete(DeleteOptions),
    /// Give the rows of a series another name
    Rename(RenameOptions),
    /// Merge small segments into larger ones
    Compact(CompactOptions),
    /// Let go what is older than its rule keeps it, or only tell what would go
    Retain(RetainOptions),
    /// Print how large the store is
    Stat {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the largest series
    Top(TopOptions),
    /// Print what became of every dot of every ring
    Ledger {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read everything and compare it with its checksums
    Verify,
    /// Make a list of what counts that had to be rebuilt the list, and say what it may lack
    Repair {
        /// Only say what is wrong, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy the store while it is being written
    Backup {
        /// A directory that does not exist yet; on the same disk segments take no room
        dest: PathBuf,
    },
    /// Write rows as another program's file
    Export(ExportOptions),
    /// Store rows from another program's files, in one transaction
    Import(ImportOptions),
}

/// How times are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Times {
    /// 2026-03-15T12:00:00.25Z
    Rfc3339,
    /// Whole nanoseconds since 1970
    Nanos,
    /// Seconds since 1970 with a fraction
    Seconds,
}

impl From<Times> for row_text::Times {
    fn from(times: Times) -> row_text::Times {
        match times {
            Times::Rfc3339 => row_text::Times::Rfc3339,
            Times::Nanos => row_text::Times::Nanos,
            Times::Seconds => row_text::Times::Seconds,
        }
    }
}

/// What a time that is a bare number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeUnit {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

impl From<TimeUnit> for row_text::TimeUnit {
    fn from(unit: TimeUnit) -> row_text::TimeUnit {
        match unit {
            TimeUnit::S => row_text::TimeUnit::S,
            TimeUnit::Ms => row_text::TimeUnit::Ms,
            TimeUnit::Us => row_text::TimeUnit::Us,
            TimeUnit::Ns => row_text::TimeUnit::Ns,
        }
    }
}

/// How rows that come in are written.
#[derive(Debug, clap::Args)]
pub(crate) struct RowOptions {
    /// Format of rows that do not give theirs: a letter for each value, of f F u U i I s b [default: F]
    #[arg(short, long, value_name = "LETTERS")]
    pub(crate) format: Option<Format>,

    /// Unit of the values
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) unit: String,

    /// Form of times as strftime describes it, such as %FT%T; in UTC unless %z says another zone
    #[arg(long, value_name = "FORM", value_parser = TimeFormat::for_reading)]
    pub(crate) timestamp_format: Option<TimeFormat>,

    /// Store the good rows and count the bad ones, instead of storing nothing where one is bad
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddOptions {
    #[command(flatten)]
    pub(crate) rows: RowOptions,

    /// What a time that is a bare number counts
    #[arg(long, value_enum, default_value_t = TimeUnit::Ns, conflicts_with = "timestamp_format")]
    pub(crate) time_unit: TimeUnit,

    /// Names of the columns, with commas between
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) columns: Vec<String>,

    /// One transaction for so many rows, as they come, instead of one for all; an equal text at one time is kept as
    /// often as the one transaction has it that has it most often
    #[arg(long, value_name = "ROWS")]
    pub(crate) each: Option<NonZero<u64>>,
}

/// Which rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// A series, or a pattern in which % stands for anything, \% for a percent sign and \\ for a backslash
    pub(crate) pattern: Option<String>,

    /// Only series that sort at or behind this one
    #[arg(long, visible_alias = "after-key", value_name = "KEY")]
    pub(crate) first_key: Option<String>,

    /// Only series that sort at or before this one
    #[arg(long, value_name = "KEY")]
    pub(crate) last_key: Option<String>,

    /// Only rows at this time or later
    #[arg(long, visible_alias = "after-time", value_name = "TIME", value_parser = parse_time)]
    pub(crate) after: Option<Timestamp>,

    /// Only rows before this time
    #[arg(long, visible_alias = "before-time", value_name = "TIME", value_parser = parse_time)]
    pub(crate) before: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReadOptions {
    #[command(flatten)]
    pub(crate) chosen: Chosen,

    #[arg(long = "where", value_name = "EXPRESSION", value_parser = filter, help = WHERE.split_once('\n').map(|(first, _)| first), long_help = WHERE)]
    pub(crate) filter: Option<Arc<Filter>>,

    /// How times are printed
    #[arg(long, value_enum, default_value_t = Times::Rfc3339)]
    pub(crate) times: Times,

    /// Form of times as strftime describes it, such as '%F %T'
    #[arg(long, value_name = "FORM", value_parser = TimeFormat::new, conflicts_with = "times")]
    pub(crate) timestamp_format: Option<TimeFormat>,

    /// Times as whole nanoseconds since 1970
    #[arg(long, conflicts_with_all = ["times", "timestamp_format"])]
    pub(crate) timestamp_nanos: bool,

    /// Times as seconds since 1970
    #[arg(long, conflicts_with_all = ["times", "timestamp_format", "timestamp_nanos"])]
    pub(crate) timestamp_seconds: bool,

    /// The format of every row, also where it is one plain number
    #[arg(long)]
    pub(crate) print_format: bool,

    /// Only these columns: names, numbers from 1, ranges such as 2-4, with commas between
    #[arg(short = 'C', long, value_name = "COLUMNS")]
    pub(crate) columns: Option<Columns>,

    /// Names and texts as they are, nothing escaped, no formats: to be looked at, not to be added
    #[arg(long, conflicts_with_all = ["json", "csv", "print_format"])]
    pub(crate) plain: bool,

    /// One JSON object a series, one series a line; times in seconds
    #[arg(long, conflicts_with_all = ["csv", "times", "timestamp_format", "timestamp_nanos", "timestamp_seconds"])]
    pub(crate) json: bool,

    /// Comma-separated, with a head line
    #[arg(long)]
    pub(crate) csv: bool,

    /// Print what is committed from now on, as it comes, until interrupted
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,

    /// Go on where the last one with this name stopped; what it has not printed is kept for it, up to 1 GiB and for an hour
    #[arg(long, value_name = "NAME", requires = "follow")]
    pub(crate) hold: Option<String>,

    /// How many threads read [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    pub(crate) threads: Option<NonZero<usize>>,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").multiple(true).required(true)
    .args(["pattern", "first_key", "last_key", "after", "before"])))]
pub(crate) struct DeleteOptions {
    #[command(flatten)]
    pub(crate) chosen: Chosen,

    /// Return only when no file of the store has the rows any more; of archives also steps that are only partly meant go
    #[arg(long)]
    pub(crate) purge: bool,
}

/// Options of `retain`.
#[derive(Debug, clap::Args)]
pub(crate) struct RetainOptions {
    /// Only print the rule of each series, and what would go and when
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Above so many bytes the oldest windows go before their time, never the newest of a tier: 20G, 500M
    #[arg(long, value_name = "SIZE", value_parser = dotter_daemon::store_bytes_arg)]
    pub(crate) max_bytes: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RenameOptions {
    /// The series; its exact name, in which % is a character like any other
    pub(crate) old: SeriesName,

    /// The name that its rows get; where it has rows already, they stay, and the renamed ones join them
    pub(crate) new: SeriesName,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompactOptions {
    /// All segments into one, and everything deleted removed, and what is older than its rule keeps it
    #[arg(short = 'M', long)]
    pub(crate) major: bool,

    /// Pass all rows through this command of /bin/sh: rows out, rows in, both in order; it must read them all, and what
    /// it leaves out is gone
    #[arg(long, visible_alias = "gegnum", value_name = "COMMAND")]
    pub(crate) filter: Option<String>,

    /// With --filter: form of times, instead of whole nanoseconds
    #[arg(long, value_name = "FORM", value_parser = TimeFormat::for_reading, requires = "filter")]
    pub(crate) timestamp_format: Option<TimeFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// How many dots
    Dots,
    /// How many bytes they take in segments
    Bytes,
    /// How many dots a second, from the first to the last
    Rate,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopOptions {
    #[command(flatten)]
    pub(crate) chosen: Chosen,

    /// What makes a series large
    #[arg(long, value_enum, default_value_t = By::Dots)]
    pub(crate) by: By,

    /// How many series
    #[arg(short = 'n', long, default_value_t = 20)]
    pub(crate) count: usize,

    /// As one JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("form").required(true).args(["parquet", "csv", "json"])))]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    pub(crate) chosen: Chosen,

    #[arg(long = "where", value_name = "EXPRESSION", value_parser = filter, help = "Only rows of which this is true; as in read")]
    pub(crate) filter: Option<Arc<Filter>>,

    #[cfg_attr(
        feature = "parquet",
        doc = "A Parquet file: series, time, and a column for each name and type of value; - is standard output"
    )]
    #[cfg_attr(
        not(feature = "parquet"),
        doc = "A Parquet file: this build cannot (cargo build -p dotter-store-cli --features parquet)"
    )]
    #[arg(long, value_name = "FILE")]
    pub(crate) parquet: Option<PathBuf>,

    /// Comma-separated on standard output: series, time, format, values; import --csv takes it back
    #[arg(long)]
    pub(crate) csv: bool,

    /// One JSON object a series on standard output, as read --json
    #[arg(long)]
    pub(crate) json: bool,

    /// How many threads read [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    pub(crate) threads: Option<NonZero<usize>>,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("form").required(true)
    .args(["csv", "whisper", "openmetrics", "prometheus", "sonnerie"])))]
pub(crate) struct ImportOptions {
    /// Files, and with --whisper directories of them; standard input where there are none, or for -
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Comma-separated files with a head line: a column of times, one of series, the others values; every record
    /// has as many fields
    #[arg(long)]
    pub(crate) csv: bool,

    /// Graphite's .wsp files: of each time the finest archive's value, series named by their paths below the last
    /// directory called whisper
    #[arg(long)]
    pub(crate) whisper: bool,

    /// OpenMetrics text, up to its `# EOF`: times are seconds
    #[arg(long)]
    pub(crate) openmetrics: bool,

    /// Prometheus text: times are milliseconds
    #[arg(long)]
    pub(crate) prometheus: bool,

    /// What `sonnerie read` printed, best with --print-format --timestamp-nanos
    #[arg(long)]
    pub(crate) sonnerie: bool,

    #[command(flatten)]
    pub(crate) rows: RowOptions,

    /// What a time that is a bare number counts [default: s for --csv, else what the format says]
    #[arg(long, value_enum, conflicts_with = "timestamp_format")]
    pub(crate) time_unit: Option<TimeUnit>,

    /// Put this before every series' name
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,

    /// With --whisper: names are paths below this directory [default: the last one called whisper, else the one that is
    /// named]
    #[arg(long, value_name = "DIR", requires = "whisper")]
    pub(crate) root: Option<PathBuf>,

    /// With --whisper: add no rules to retention.toml for what the files say of their archives
    #[arg(long, requires = "whisper")]
    pub(crate) no_rules: bool,

    /// With --whisper: say which rules would be added and which dots are too old for their rules, and change nothing
    #[arg(long, requires = "whisper")]
    pub(crate) dry_run: bool,

    /// With --csv: all rows belong to this series
    #[arg(long, value_name = "NAME", requires = "csv", conflicts_with = "series_column")]
    pub(crate) series: Option<String>,

    /// With --csv: the column that names the series [default: series, key, name, metric or path]
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub(crate) series_column: Option<String>,

    /// With --csv: the column of times [default: time, timestamp, date, datetime or ts]
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    pub(crate) time_column: Option<String>,

    /// With --csv: each column is a series of its own, named by the head line
    #[arg(long, requires = "csv", conflicts_with_all = ["series", "series_column", "format"])]
    pub(crate) wide: bool,

    /// With --csv: what stands between fields
    #[arg(long, value_name = "CHARACTER", default_value = ",", requires = "csv", value_parser = delimiter)]
    pub(crate) delimiter: u8,

    /// With --openmetrics and --prometheus: when lines without a time were measured
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<Timestamp>,
}

fn filter(text: &str) -> Result<Arc<Filter>, FilterError> {
    Filter::new(text).map(Arc::new)
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "\\t" | "tab" => Ok(b'\t'),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ => Err(format!("'{text}' is not one ASCII character; a tab is 'tab'")),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_makes_sense() {
        super::Args::command().debug_assert();
    }
}
