//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args as Group, CommandFactory, Parser, Subcommand, ValueEnum};
use dotter_daemon::duration_arg;
use dotter_dot::SeriesName;
use dotter_publisher_cli::{Aggregation, Host, Input, Load, Pattern, Size, Stdin, Task, Walk};

const EXAMPLES: &str = "\
Examples:
  dotter-publisher host                         this machine, once a second, into the default directory
  dotter-publisher /dev/shm/demo.ring 10000     a random walk, ten dots a second
  vmstat 1 | awk 'NR > 3 {print \"idle\", $15; fflush()}' | dotter-publisher stdin
  dotter-publisher bench /dev/shm/bench.ring 100000

PATH is a directory of rings (one that exists, or with a slash at the end) or the exact name of a ring. Where it may \
be left out, the default directory is meant: $DOTTER_DIR, /run/dotter or /dev/shm/dotter-UID. SIZE is how many dots a \
lane holds, rounded up to 4032, 8064, ... A ring that is full overwrites its oldest dots.

Exit status: 0 done or asked to stop, 1 failed, 2 wrong usage.";

/// Publishes dots into a ring, for a broker to take.
#[derive(Debug, Parser)]
#[command(name = "dotter-publisher", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    walk: Option<WalkArgs>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Host(HostArgs),
    Walk(WalkArgs),
    Stdin(StdinArgs),
    Bench(BenchArgs),
    Load(LoadArgs),
}

/// Publish what this machine does: processors, load, memory, disks, network
///
/// Series stand under host.NAME. and come from /proc; what a kernel does not tell is left out. Processor times and
/// disk use are in percent, disks and interfaces per second, protocol counters as totals since the boot.
#[derive(Debug, Group)]
#[command(
    after_help = "Examples:\n  dotter-publisher host\n  dotter-publisher host --interval 100ms /dev/shm/rings/"
)]
struct HostArgs {
    /// Time between two samples
    #[arg(long, env = "DOTTER_PUBLISHER_INTERVAL", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// A directory of rings, or the exact name of one [default: the default directory]
    #[arg(env = "DOTTER_PUBLISHER_PATH")]
    path: Option<PathBuf>,
}

/// Publish a random walk as series data: the way to see something move
#[derive(Debug, Group)]
#[command(
    after_help = "Examples:\n  dotter-publisher walk /dev/shm/demo.ring 10000\n  dotter-publisher walk --rate 1000 /dev/shm/demo.ring 100000"
)]
struct WalkArgs {
    /// A directory of rings, or the exact name of one
    path: PathBuf,
    /// Dots in a lane
    #[arg(value_parser = size)]
    size: Size,
    /// Dots a second
    #[arg(long, default_value = "10", value_parser = rate)]
    rate: f64,
}

/// Publish what comes in: lines of series, value and maybe a time, or a log
///
/// The time is in seconds since 1970 with an optional fraction or RFC 3339, with --regex also as in an access log
/// (20/Nov/2026:13:55:36 +0100); a line without one is stamped when it is read. In --input lines, a blank or a
/// backslash in a name has a backslash before it.
///
/// --input nginx takes the last field of an access-log line as the value and the time in brackets as the time. A list
/// of times (0.1, 0.2 : 0.3, as nginx writes where several servers were asked for one answer) counts as its sum, for
/// the answer took all of them; a - adds nothing, and a line with nothing else is counted and left out.
///
/// With --agg, the numbers of each step become one dot at its beginning. A step is published when a line comes that
/// is 2 s later than its end, or 2 s after its end by the clock, whether or not another line comes; a line that comes
/// after that is counted and left out. A step without lines has no dot. A percentile is exact for up to 1000 numbers
/// of a series in a step, within half a percent beyond.
///
/// Lines that cannot be read are left out and counted by reason; the log shows one of each kind a second.
#[derive(Debug, Group)]
#[command(after_help = "Examples:
  echo 'room.temperature 21.5' | dotter-publisher stdin
  echo 'room.temperature 21.5 2026-11-20T12:00:00Z' | dotter-publisher stdin /dev/shm/rings/
  tail -F access.log | dotter-publisher stdin --input nginx --series shop.request_time --agg p99:1s
  tail -F app.log | dotter-publisher stdin --regex '^(?<time>\\S+) (?<series>\\w+) took (?<value>[0-9.]+) ms'")]
struct StdinArgs {
    /// A directory of rings, or the exact name of one [default: the default directory]
    #[arg(env = "DOTTER_PUBLISHER_PATH")]
    path: Option<PathBuf>,
    /// Dots in a lane
    #[arg(long, default_value = "250000", value_parser = size)]
    size: Size,
    /// What lines look like
    #[arg(long, value_enum, default_value = "lines")]
    input: Shape,
    /// What lines look like, with groups (?<value>...), maybe (?<series>...) and (?<time>...)
    #[arg(long, value_name = "PATTERN", value_parser = pattern, conflicts_with = "input")]
    regex: Option<Pattern>,
    /// The series where lines do not name one [default with --input nginx: nginx.request_time]
    #[arg(long, value_name = "NAME", value_parser = series_name)]
    series: Option<SeriesName>,
    /// none, or mean, max, min, sum, count or p99 (p50 to p99.999) and a step: mean:1s [default: none, with --input nginx
    /// mean:1s, since its times are whole seconds]
    #[arg(long)]
    agg: Option<Aggregation>,
}

/// What lines look like.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    /// Series, value and maybe a time
    Lines,
    /// An access log whose last field is the value
    Nginx,
}

impl StdinArgs {
    /// Ends the program where the arguments do not go together.
    fn task(self) -> Task {
        let wrong = |kind, message: &str| -> ! { Args::command().error(kind, message).exit() };
        let mut aggregation = Aggregation::None;
        let input = match (self.input, self.regex, self.series) {
            (Shape::Lines, None, None) => Input::Lines,
            (Shape::Lines, None, Some(_)) => wrong(
                ErrorKind::ArgumentConflict,
                "--series is for --input nginx and --regex: in --input lines, each line names its series",
            ),
            (Shape::Nginx, None, series) => {
                aggregation = "mean:1s".parse().expect("it is one of those listed");
                let usual = || SeriesName::new("nginx.request_time").expect("it is a name");
                Input::Nginx { series: series.unwrap_or_else(usual) }
            }
            (_, Some(pattern), None) if !pattern.finds_series() => wrong(
                ErrorKind::MissingRequiredArgument,
                "--regex needs a group (?<series>...), or --series NAME beside it",
            ),
            (_, Some(pattern), series) => Input::Regex { pattern, series },
        };
        let aggregation = self.agg.unwrap_or(aggregation);
        Task::Stdin(Stdin { path: self.path, size: self.size, input, aggregation })
    }
}

/// Measure what a dot costs on this machine
///
/// Prints one JSON object a line: nanoseconds per dot, least, median and most of 201 runs of 50,000, and the ratios to
/// clock_gettime and to a push into an in-process queue measured in the same run; then the same while a thread on
/// another core reads all of it. Takes 20 seconds.
#[derive(Debug, Group)]
#[command(after_help = "Examples:\n  dotter-publisher bench /dev/shm/bench.ring 250000")]
struct BenchArgs {
    /// A directory of rings, or the exact name of one
    path: PathBuf,
    /// Dots in a lane
    #[arg(value_parser = size)]
    size: Size,
}

/// Publish a workload that a test can check dot by dot
///
/// Series load.lL.sS takes record number n of lane L where n modulo the series is S; its value is L * 2^32 + n. Even
/// records are stamped by the clock, odd ones carry a time, a microsecond more for each record. At the end, one JSON
/// object says what was published.
#[derive(Debug, Group)]
#[command(
    after_help = "Examples:\n  dotter-publisher load /dev/shm/load.ring --lanes 2 --dots 1000000 --series 10\n  dotter-publisher load /dev/shm/load.ring --lanes 1 --dots 100000 --series 3 --rate 10000 --hold"
)]
struct LoadArgs {
    /// A directory of rings, or the exact name of one
    path: PathBuf,
    /// Lanes, each with a thread
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    lanes: u32,
    /// Dots in each lane
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=1 << 32))]
    dots: u64,
    /// Series in each lane
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    series: u32,
    /// Dots a second and lane, as 1000 or 1000/s; as fast as can be unless told otherwise
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Dots a lane holds
    #[arg(long, default_value = "250000", value_parser = size)]
    lane_dots: Size,
    /// Keep the ring open after the last dot, until asked to stop
    #[arg(long)]
    hold: bool,
}

impl Args {
    /// What is to be done. Ends the program where that is nothing.
    pub(crate) fn task(self) -> Task {
        let walk = |args: WalkArgs| Task::Walk(Walk { path: args.path, size: args.size, rate: args.rate });
        match (self.command, self.walk) {
            (Some(Command::Host(args)), _) => Task::Host(Host { path: args.path, interval: args.interval }),
            (Some(Command::Walk(args)), _) => walk(args),
            (Some(Command::Stdin(args)), _) => args.task(),
            (Some(Command::Bench(args)), _) => Task::Bench { path: args.path, size: args.size },
            (Some(Command::Load(args)), _) => Task::Load(Load {
                path: args.path,
                lanes: args.lanes,
                dots: args.dots,
                series: args.series,
                rate: args.rate,
                size: args.lane_dots,
                hold: args.hold,
            }),
            (None, Some(args)) => walk(args),
            (None, None) => {
                let message = "what is to be published? For example: dotter-publisher host";
                Args::command().error(ErrorKind::MissingSubcommand, message).exit()
            }
        }
    }
}

fn size(text: &str) -> Result<Size, String> {
    let dots: u64 = text.parse().map_err(|_| format!("'{text}' is no number of dots"))?;
    Size::of_dots(dots).ok_or_else(|| format!("a lane cannot hold {dots} dots: expected 1 to 2^32"))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.to_string())
}

fn series_name(text: &str) -> Result<SeriesName, String> {
    SeriesName::new(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is no number of dots a second: expected 0.001 to 10^9");
    let rate: f64 = text.strip_suffix("/s").unwrap_or(text).parse().map_err(|_| wrong())?;
    if (0.001..=1e9).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration_arg(text)?;
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(3600));
    if (least..=most).contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("'{text}' is not between 10ms and 1h"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, clap::Error> {
        let words = std::iter::once("dotter-publisher").chain(line.split_whitespace());
        Args::try_parse_from(words).map(Args::task)
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_bare_path_and_size_are_a_walk() {
        assert!(matches!(parse("x 100"), Ok(Task::Walk(walk)) if walk.rate == 10.0));
        assert!(matches!(parse("walk x 100 --rate 5"), Ok(Task::Walk(walk)) if walk.rate == 5.0));
    }

    #[test]
    fn every_task_has_its_defaults() {
        let check = |line: &str| parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(matches!(check("host"), Task::Host(host) if host.interval == Duration::from_secs(1)));
        assert!(matches!(check("host --interval 100ms d/"), Task::Host(host) if host.path.is_some()));
        let stdin = |line: &str| match check(line) {
            Task::Stdin(stdin) => (stdin.input, stdin.aggregation),
            other => panic!("{line}: {other:?}"),
        };
        let mean = "mean:1s".parse().unwrap();
        assert!(matches!(stdin("stdin"), (Input::Lines, Aggregation::None)));
        assert!(matches!(stdin("stdin --input nginx"),
            (Input::Nginx { series }, agg) if series.as_str() == "nginx.request_time" && agg == mean));
        assert!(matches!(stdin("stdin --input nginx --series a --agg none"),
            (Input::Nginx { series }, Aggregation::None) if series.as_str() == "a"));
        assert!(matches!(
            stdin("stdin --regex (?<series>a)(?<value>b)"),
            (Input::Regex { series: None, .. }, Aggregation::None)
        ));
        assert!(matches!(stdin("stdin --regex (?<value>b) --series a --agg mean:1s"),
            (Input::Regex { series: Some(_), .. }, agg) if agg == mean));
        assert!(matches!(check("bench x 1"), Task::Bench { .. }));
        assert!(matches!(check("load x --dots 5 --rate 7/s"), Task::Load(load) if load.rate == Some(7.0)));
    }

    #[test]
    fn bad_arguments_are_wrong_usage() {
        for line in [
            "x",
            "x 0",
            "x -1",
            "x 99999999999999999999",
            "x y",
            "walk x 5 --rate 0",
            "walk x 5 --rate nan",
            "host --interval 0",
            "host --interval 1x",
            "load x",
            "load x --dots 1 --lanes 0",
            "bench x",
            "stdin --input apache",
            "stdin --agg mean",
            "stdin --agg p101:1s",
            "stdin --regex (",
            "stdin --regex (?<val>.)",
            "stdin --input nginx --regex (?<value>.)",
            "stdin --input nginx --series ",
        ] {
            let error = parse(line).map(|_| ()).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
