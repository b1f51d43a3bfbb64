//! Dots per second from the first publish until the last one is acknowledged, which is after its fsync.
//!
//! Each round is a process that publishes as fast as it can into a ring too large to be lapped. It begins when the ring
//! appears and ends when the broker has removed it: after the collector's word that everything up to the last record is
//! synced and the ring finished. The store's ledger must then say the same as the publisher.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dotter_e2e::Pipeline;
use dotter_e2e::oracle::{Published, Workload, check_ledger};

const USAGE: &str = "\
Usage: dotter-bench-pipeline [--lanes N] [--dots N] [--series N] [--rounds N] [--data DIR]
Lanes 1 to 64 (2), dots in each lane 1 to 4294967296 (4000000), series in each lane 1 to 10000 (100), rounds 1 to 1000
(7), DIR an existing directory on the disk to measure (the directory for temporary files).";

struct Args {
    workload: Workload,
    rounds: usize,
    data: PathBuf,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) => {
            run(&args);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("dotter-bench-pipeline: {reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let workload = Workload { lanes: 2, dots: 4_000_000, series: 100, rate: None, lane_dots: 0, hold: false };
    let mut args = Args { workload, rounds: 7, data: std::env::temp_dir() };
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = |most: u64| {
            let number = value.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{flag} '{value}': expected a whole number from 1 to {most}"))
        };
        match flag.as_str() {
            "--lanes" => args.workload.lanes = number(64)? as u32,
            "--dots" => args.workload.dots = number(1 << 32)?,
            "--series" => args.workload.series = number(10_000)? as u32,
            "--rounds" => args.rounds = number(1_000)? as usize,
            "--data" => args.data = PathBuf::from(value),
            _ => return Err(format!("there is no argument '{flag}'")),
        }
    }
    if !args.data.is_dir() {
        return Err(format!("{} is no directory", args.data.display()));
    }
    args.workload.lane_dots = args.workload.dots;
    Ok(args)
}

fn run(args: &Args) {
    let mut pipeline = Pipeline::with_data_below(&args.data);
    pipeline.start_collector();
    pipeline.start_broker_with_poll("0.1");
    let mut rates = Vec::new();
    println!("{:>5}  {:>12}  {:>9}  {:>9}  {:>10}", "round", "dots", "publish s", "acked s", "M dots/s");
    for round in 1..=args.rounds {
        let (published, publishing, acked) = one_round(&pipeline, &args.workload);
        let sums = check_ledger(pipeline.store().now().ledger(), std::slice::from_ref(&published));
        assert_eq!(sums.stored, published.total(), "nothing is lost: {sums:?}");
        let rate = sums.stored as f64 / acked.as_secs_f64() / 1e6;
        let (publishing, acked) = (publishing.as_secs_f64(), acked.as_secs_f64());
        println!("{round:>5}  {:>12}  {publishing:>9.3}  {acked:>9.3}  {rate:>10.2}", sums.stored);
        rates.push(rate);
    }
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    println!("to durable ack: min {least:.2}, median {median:.2}, max {most:.2} M dots/s");
    print!("\n{}", pipeline.ask_store(&["ledger"]));
    print!("\n{}", pipeline.ask_store(&["stat"]));
}

/// What was published, how long that took, and how long until all of it was acknowledged.
fn one_round(pipeline: &Pipeline, workload: &Workload) -> (Published, Duration, Duration) {
    let publisher = pipeline.load(workload);
    let nap = || std::thread::sleep(Duration::from_micros(200));
    // The ring appears under its name when it is complete: the first dot follows.
    while !pipeline.ring().exists() {
        nap();
    }
    let start = Instant::now();
    let said = publisher.finish();
    let publishing = start.elapsed();
    while !pipeline.rings().is_empty() {
        nap();
    }
    (Published::parse(&said), publishing, start.elapsed())
}
