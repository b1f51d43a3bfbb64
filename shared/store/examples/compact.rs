//! What compaction costs: time, memory, and how long commits wait beside it.
//!
//! ```text
//! cargo run --release -p dotter-store --example compact -- fill DIR SERIES DOTS SEGMENTS
//! cargo run --release -p dotter-store --example compact -- major DIR
//! cargo run --release -p dotter-store --example compact -- acks DIR
//! ```
//!
//! `fill` adds SEGMENTS commits of DOTS dots for each of SERIES series. `major` compacts all of it and tells the most
//! anonymous memory it had (what is mapped is the system's to take back). `acks` commits 1,000 dots every 10 ms and
//! tells how long a commit took to be durable, 20 s alone and then for as long as a major compaction runs beside it.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dotter_dot::{Cell, Dots, SeriesKey, SeriesName, Shape, Timestamp};
use dotter_store::{Addition, Reader, Transaction, Writer, compact_major};

const COMMIT_DOTS: u64 = 1_000;
const EVERY: Duration = Duration::from_millis(10);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(3);
const ALONE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| args.get(index).and_then(|text| text.parse::<u64>().ok());
    match (args.first().map(String::as_str), args.get(1), number(2), number(3), number(4)) {
        (Some("fill"), Some(dir), Some(series), Some(dots), Some(segments)) => {
            fill(Path::new(dir), series, dots, segments)
        }
        (Some("major"), Some(dir), ..) => major(Path::new(dir)),
        (Some("acks"), Some(dir), ..) => acks(Path::new(dir)),
        _ => {
            eprintln!("usage: compact fill DIR SERIES DOTS SEGMENTS | major DIR | acks DIR");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn name(number: u64) -> SeriesName {
    SeriesName::new(&format!("host.rack{:03}.node{:06}.load", number / 1000, number)).expect("a valid name")
}

fn fill(dir: &Path, series: u64, dots: u64, segments: u64) {
    let begin = 1_700_000_000_000_000_000;
    for segment in 0..segments {
        let mut addition = Addition::new(dir);
        for number in 0..series {
            let name = name(number);
            for dot in 0..dots {
                let step = segment * dots + dot;
                let time = Timestamp::from_nanos(begin + step * 10_000_000_000);
                let value = ((number * 31 + step * step) % 1000) as f64 / 100.0;
                addition
                    .push(&name, &Shape::number(), time, Cell::Word(value.to_bits()))
                    .expect("room on the disk");
            }
        }
        addition.commit().expect("room on the disk");
    }
    println!("{}", told(dir));
}

fn told(dir: &Path) -> String {
    let stat = Reader::open(dir).expect("a store").snapshot().stat();
    format!(
        "{} series, {} dots, {} segments of {:.1} MB in all",
        stat.series,
        stat.dots,
        stat.segments,
        stat.segment_bytes as f64 / 1e6
    )
}

/// A line of /proc/self/status, in MB.
fn memory(of: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(':')).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1e3
}

fn major(dir: &Path) {
    let (before, begun) = (memory("RssAnon"), Instant::now());
    let running = AtomicBool::new(true);
    let (compacted, most) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = before;
            while running.load(Relaxed) {
                most = memory("RssAnon").max(most);
                std::thread::sleep(LOOK);
            }
            most
        });
        let compacted = compact_major(dir, &|| false, &|_, _| ()).expect("a sound store");
        running.store(false, Relaxed);
        (compacted, looking.join().expect("it only looks"))
    });
    println!(
        "{:.1} s, anonymous memory {before:.1} MB before, at most {most:.1} MB; {compacted:?}",
        begun.elapsed().as_secs_f64(),
    );
    println!("{}", told(dir));
}

fn acks(dir: &Path) {
    let mut writer = Writer::open(dir).expect("nobody else writes");
    let keys: Vec<SeriesKey> =
        (0..COMMIT_DOTS).map(|number| writer.series(&name(number), &Shape::number())).collect();
    commit("alone", &mut writer, &keys, |begun| begun.elapsed() < ALONE);
    // A process of its own, so that it steps back as the collector's thread does.
    let compacting = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let program = std::env::current_exe().expect("it runs");
            let status = Command::new("nice").arg("-n19").arg(program).arg("major").arg(dir).status();
            assert!(status.expect("nice is there").success());
            compacting.store(false, Relaxed);
        });
        commit("beside", &mut writer, &keys, |_| compacting.load(Relaxed));
    });
}

fn commit(what: &str, writer: &mut Writer, keys: &[SeriesKey], mut more: impl FnMut(Instant) -> bool) {
    let (mut took, begun) = (Vec::new(), Instant::now());
    let mut dots = Dots::default();
    while more(begun) {
        dots.clear();
        let time = Timestamp::now();
        keys.iter().for_each(|key| dots.push_number(*key, true, time, took.len() as f64));
        let start = Instant::now();
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).expect("it fits into a frame");
        writer.sync().expect("room on the disk");
        took.push(start.elapsed());
        std::thread::sleep(EVERY);
    }
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 1000).min(took.len() - 1)];
    println!(
        "{what}: {} commits in {:.1} s, p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, most {:.2?}",
        took.len(),
        begun.elapsed().as_secs_f64(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
