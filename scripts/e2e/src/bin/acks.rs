//! How long an ack takes while the collector's upkeep merges segments, beside how long it takes when there is none.
//!
//! A client posts small transactions at a steady pace, each answered once it is synced. Then the store is given so
//! many segments by another process that the collector merges them, and the same client posts meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dotter_dot::{NamedDots, SeriesName, Timestamp};
use dotter_e2e::{Pipeline, post};

const USAGE: &str = "\
Usage: dotter-bench-acks [--rounds N] [--segments N] [--data DIR]
Rounds 1 to 100 (3), segments of a million dots each 8 to 256 (32), DIR an existing directory on the disk to measure
(the directory for temporary files).";

/// A transaction every so often.
const PACE: Duration = Duration::from_millis(5);
const SERIES: u64 = 10;
const DOTS_EACH: u64 = 100;
const ALONE: Duration = Duration::from_secs(10);
const SEGMENT_DOTS: u64 = 1_000_000;
/// Upkeep that has used no time for so long has nothing to do.
const QUIET: Duration = Duration::from_secs(2);
/// By then it has begun.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);

struct Args {
    rounds: u64,
    segments: u64,
    data: PathBuf,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) => {
            run(&args);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("dotter-bench-acks: {reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { rounds: 3, segments: 32, data: std::env::temp_dir() };
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = |least: u64, most: u64| {
            let number = value.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("{flag} '{value}': expected a whole number from {least} to {most}"))
        };
        match flag.as_str() {
            "--rounds" => args.rounds = number(1, 100)?,
            "--segments" => args.segments = number(8, 256)?,
            "--data" => args.data = PathBuf::from(value),
            _ => return Err(format!("there is no argument '{flag}'")),
        }
    }
    if !args.data.is_dir() {
        return Err(format!("{} is no directory", args.data.display()));
    }
    Ok(args)
}

fn run(args: &Args) {
    let mut pipeline = Pipeline::with_data_below(&args.data);
    pipeline.start_collector();
    println!("{:<28} {:>6} {:>8} {:>8} {:>8} {:>8}", "ack, ms", "posts", "median", "p99", "p99.9", "max");
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        let start = Instant::now();
        let quick = post_while(&pipeline, || start.elapsed() < ALONE);
        drop(pipeline.collector.take());
        fill(&pipeline, round, args.segments);
        let bytes = segment_bytes(&pipeline);
        pipeline.start_collector();

        let mut upkeep = Upkeep::of(&pipeline);
        let start = Instant::now();
        let during = post_while(&pipeline, || {
            upkeep.look();
            match upkeep.busy_at {
                Some(at) => at.elapsed() < QUIET,
                None => start.elapsed() < BEGINS_WITHIN,
            }
        });
        let busy: Vec<_> = during.into_iter().filter(|(at, _)| upkeep.was_busy(*at)).collect();
        assert!(!busy.is_empty(), "nothing was merged");
        report(&format!("{} alone", round + 1), &quick);
        report(&format!("{} beside a merge of {:.0} MB", round + 1, bytes as f64 / 1e6), &busy);
        alone.extend(quick);
        beside.extend(busy);
    }
    report("all alone", &alone);
    report("all beside a merge", &beside);
    print!("\n{}", pipeline.ask_store(&["stat"]));
}

/// When each post was sent, and how long its ack took.
fn post_while(pipeline: &Pipeline, mut go_on: impl FnMut() -> bool) -> Vec<(Instant, Duration)> {
    let address = pipeline.collector_address();
    let mut acks = Vec::new();
    let mut next = Instant::now();
    while go_on() {
        let body = transaction();
        let sent = Instant::now();
        let reply = post(address, "/data", &body).expect("the collector answers");
        assert_eq!(reply.status, 200, "{}", reply.body);
        acks.push((sent, sent.elapsed()));
        next = (next + PACE).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    acks
}

fn transaction() -> String {
    let now = Timestamp::now().nanos() / 1000;
    let series: Vec<String> = (0..SERIES)
        .map(|series| {
            let dots = (0..DOTS_EACH).map(|n| format!("[{}e-6,{}]", now + n, (n * 37 + series) % 1000));
            format!("{{\"series\":\"live.{series}\",\"dots\":[{}]}}", dots.collect::<Vec<_>>().join(","))
        })
        .collect();
    format!("[{}]", series.join(","))
}

/// Gives the store segments of random walks, each the commit of another process.
fn fill(pipeline: &Pipeline, round: u64, segments: u64) {
    let mut word = round + 1;
    for segment in 0..segments {
        let mut bulk = NamedDots::default();
        for series in 0..100 {
            let name = SeriesName::new(&format!("walk.{series:02}")).expect("it is a name");
            let mut level = 0.0;
            for n in 0..SEGMENT_DOTS / 100 {
                word = word.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                level += (word >> 40) as f64 / (1 << 24) as f64 - 0.5;
                let second = (round * segments + segment) * SEGMENT_DOTS / 100 + n;
                bulk.push_number(&name, Timestamp::from_nanos(second * 1_000_000_000), level);
            }
        }
        dotter_store::add(pipeline.data(), bulk).expect("there is room for a segment");
    }
}

fn segment_bytes(pipeline: &Pipeline) -> u64 {
    pipeline.store().now().stat().segment_bytes
}

/// The thread that merges, watched from outside.
struct Upkeep {
    stat: PathBuf,
    used: u64,
    /// When it was last seen to have used time.
    busy_at: Option<Instant>,
    /// Whenever it was.
    busy: Vec<Instant>,
}

impl Upkeep {
    fn of(pipeline: &Pipeline) -> Upkeep {
        let id = pipeline.collector.as_ref().expect("it runs").id();
        let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("a process has threads");
        let is_it =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "compact");
        let mut paths = tasks.map(|task| task.expect("a thread").path());
        let stat = paths.find(is_it).expect("the collector has a thread that merges").join("schedstat");
        let mut upkeep = Upkeep { stat, used: 0, busy_at: None, busy: Vec::new() };
        upkeep.used = upkeep.now();
        upkeep
    }

    /// Nanoseconds it has run.
    fn now(&self) -> u64 {
        let stat = fs::read_to_string(&self.stat).expect("the kernel counts what threads use");
        stat.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
    }

    fn look(&mut self) {
        let used = self.now();
        // Looking whether there is anything to do takes less.
        if used > self.used + 1_000_000 {
            self.busy_at = Some(Instant::now());
            self.busy.push(Instant::now());
        }
        self.used = used;
    }

    /// Whether it was at work when a post of that moment was on its way.
    fn was_busy(&self, at: Instant) -> bool {
        let next = self.busy.partition_point(|busy| *busy <= at);
        self.busy.get(next).is_some_and(|busy| busy.duration_since(at) < Duration::from_millis(500))
    }
}

fn report(what: &str, acks: &[(Instant, Duration)]) {
    let mut times: Vec<f64> = acks.iter().map(|(_, time)| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let (median, most) = (at(0.5), at(1.0));
    println!("{what:<28} {:>6} {median:>8.2} {:>8.2} {:>8.2} {most:>8.2}", times.len(), at(0.99), at(0.999));
}
