//! What happens in a process of its own.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, TimeRange, Timestamp, Value};
use dotter_store::{Dot, Filter, Reader, Scan, Search, Snapshot, Writer};

use crate::Failure;
use crate::intake::{self, Intake, LOG};
use crate::lines::{self, Found, LINES, NEEDLE, Stamps};
use crate::scale;
use crate::work::{Batch, Kind, Sum, Work, prefix};

pub(crate) const LINES_WORD: &str = "lines";
/// The lines with even stamps, of which only the size is measured.
pub(crate) const EVEN_LINES_WORD: &str = "lines-even";
/// What a read may be repeated for.
const PATIENCE: Duration = Duration::from_millis(300);
/// Different series that are read in turns.
const PLACES: u32 = 8;
/// Log that is full: what may wait for a seal.
const FULL_BYTES: u64 = 32 << 20;
/// Series whose memory is measured.
const MANY: u64 = 100_000;

/// - `args`: the stage, the workload, how much of it, the directory, and the file of real series or nothing
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let [stage, word, share, dir, file] = args else {
        return Err("a stage is told which, of what, how much, where, and a file".into());
    };
    let share: f64 = share.parse()?;
    let (dir, file) = (Path::new(dir), (!file.is_empty()).then(|| Path::new(file)));
    // These must not have the names of all series in memory.
    match stage.as_str() {
        "open" => return scale::open(dir, share, &|figure, value| say(word, figure, value)),
        "open-deleted" => {
            return scale::open(dir, share, &|figure, value| say(word, &format!("{figure}-deleted"), value));
        }
        "delete" => return scale::delete(dir, share),
        _ => {}
    }
    let work = Kind::find(word).map(|kind| Work::new(kind, share, file)).transpose()?;
    match (stage.as_str(), work) {
        ("grow", Some(work)) => scale::write(dir, &work, &|figure, value| say(word, figure, value)),
        ("write", Some(work)) => write(dir, &work),
        ("write", None) => write_lines(dir, word),
        ("compact", work) => compact(dir, word, work.map_or(LINES, |work| work.dots())),
        ("read", Some(work)) => read(dir, &work),
        ("read", None) => read_lines(dir),
        ("sync", _) => sync(dir),
        ("series", _) => series(dir),
        ("fill", _) => fill(dir),
        ("reopen", _) => reopen(dir),
        ("keep", _) => crate::keep::run(dir, &|figure, value| say("keep", figure, value)),
        ("rings-fill", _) => crate::rings::fill(dir, word, &|figure, value| say(word, figure, value)),
        ("rings-read", _) => crate::rings::read(dir, word, &|figure, value| say(word, figure, value)),
        ("many", _) => crate::many::run(dir, &|figure, value| say("many", figure, value)),
        _ => Err("there is no such stage".into()),
    }
}

fn say(word: &str, figure: &str, value: f64) {
    println!("{word}-{figure} {value}");
}

fn write(dir: &Path, work: &Work) -> Result<(), Failure> {
    let word = work.kind.word();
    let mut intake = Intake::open(dir)?;
    intake.numbers(&work.names)?;
    let begun = Instant::now();
    work.arrive(|batch| intake.commit(batch))?;
    say(word, "in", work.dots() as f64 / begun.elapsed().as_secs_f64() / 1e6);
    say(word, "memory", memory("VmHWM")?);
    intake.seal()?;
    say(word, "sealed", work.dots() as f64 / begun.elapsed().as_secs_f64() / 1e6);
    Ok(())
}

fn write_lines(dir: &Path, word: &str) -> Result<(), Failure> {
    let stamps = if word == EVEN_LINES_WORD { Stamps::Even } else { Stamps::Random };
    let mut intake = Intake::open(dir)?;
    intake.log()?;
    let begun = Instant::now();
    lines::arrive(stamps, |batch| intake.commit_lines(batch))?;
    say(word, "in", LINES as f64 / begun.elapsed().as_secs_f64() / 1e6);
    intake.seal()
}

fn compact(dir: &Path, word: &str, items: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    intake::compact(dir)?;
    if word == Kind::Wide.word() {
        say("compact", "rate", items as f64 / begun.elapsed().as_secs_f64() / 1e6);
        say("compact", "resident", memory("VmHWM")?);
    }
    Ok(())
}

/// What reads a series after the other.
pub(crate) struct View {
    scan: Scan,
    found: Vec<Dot>,
}

impl View {
    pub(crate) fn new(snapshot: &Snapshot) -> View {
        View { scan: snapshot.scan(), found: Vec::new() }
    }

    fn add(&mut self, name: &str, range: TimeRange, sum: &mut Sum) -> Result<(), Failure> {
        self.found.clear();
        self.scan.read(name, range, &mut self.found)?;
        for dot in &self.found {
            sum.add(dot.time.nanos(), dot.value);
        }
        Ok(())
    }

    pub(crate) fn sum<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        range: TimeRange,
    ) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for name in names {
            self.add(name, range, &mut sum)?;
        }
        Ok(sum)
    }
}

fn read(dir: &Path, work: &Work) -> Result<(), Failure> {
    let (word, count) = (work.kind.word(), work.names.len() as u32);
    let place = |at: u32| (at * 97 + 13) % count;
    let name = |at: u32| work.names[place(at) as usize].as_str();
    let begun = Instant::now();
    let snapshot = Reader::open(dir)?.snapshot();
    let mut view = View::new(&snapshot);
    let first = view.sum([name(0)].into_iter(), TimeRange::ALL)?;
    say(word, "cold", millis(begun.elapsed()));
    check("the first series", &first, &work.expected(place(0), &(0..u64::MAX)))?;
    // Of the others only the size is measured.
    if matches!(work.kind, Kind::Long | Kind::Wide) {
        let part = work.part();
        let part_range = TimeRange::new(Timestamp::from_nanos(part.start), Timestamp::from_nanos(part.end));
        for (figure, times, range) in [("one", 0..u64::MAX, TimeRange::ALL), ("part", part, part_range)] {
            for at in 0..PLACES {
                let sum = view.sum([name(at)].into_iter(), range)?;
                check("a series", &sum, &work.expected(place(at), &times))?;
            }
            let spent = repeat(PLACES, |at| view.sum([name(at)].into_iter(), range).map(drop))?;
            say(word, figure, millis(spent));
        }
        let mut host = |at: u32| {
            let host = at * 11 % work.hosts();
            let names = snapshot.series_with_prefix(&prefix(host));
            let sum = view.sum(names.iter().map(|name| name.as_str()), TimeRange::ALL)?;
            Ok::<_, Failure>((host, sum))
        };
        for at in 0..PLACES {
            let (number, sum) = host(at)?;
            let numbers = number * work.together..(number + 1) * work.together;
            check("a host", &sum, &work.expected_of(numbers))?;
        }
        say(word, "prefix", millis(repeat(PLACES, |at| host(at).map(drop))?));
        let open = |at| View::new(&Reader::open(dir)?.snapshot()).sum([name(at)].into_iter(), TimeRange::ALL);
        say(word, "open", millis(repeat(PLACES, |at| open(at).map(drop))?));
    }
    let expected = work.expected_of(0..count);
    for (figure, threads) in [("scan", 1), ("scan2", 2)] {
        for _warm in [false, true] {
            let begun = Instant::now();
            let sum = scan(&snapshot, threads)?;
            if _warm {
                say(word, figure, sum.dots as f64 / begun.elapsed().as_secs_f64() / 1e6);
            }
            check("all series", &sum, &expected)?;
        }
    }
    Ok(())
}

/// Reads everything, series after series; each thread has its share of the names.
fn scan(snapshot: &Snapshot, threads: usize) -> Result<Sum, Failure> {
    let names: Vec<_> = snapshot.series().collect();
    let share = |names: &[dotter_dot::SeriesName]| {
        let sum = View::new(snapshot).sum(names.iter().map(|name| name.as_str()), TimeRange::ALL);
        sum.map_err(|error| error.to_string())
    };
    let mut all = Sum::default();
    std::thread::scope(|scope| {
        let shares = names.chunks(names.len().div_ceil(threads).max(1));
        let threads: Vec<_> = shares.map(|names| scope.spawn(move || share(names))).collect();
        for thread in threads {
            all.join(&thread.join().map_err(|_| "a scan panicked")??);
        }
        Ok(all)
    })
}

fn read_lines(dir: &Path) -> Result<(), Failure> {
    let snapshot = Reader::open(dir)?.snapshot();
    let mut scan = snapshot.scan();
    let mut find = || {
        let mut found = Found::default();
        scan.rows(LOG, TimeRange::ALL, |row| {
            if let Some(Value::Text(line)) = row.cells().next()
                && line.contains(NEEDLE)
            {
                found.add(row.time().nanos());
            }
            ControlFlow::Continue(())
        })?;
        Ok::<_, Failure>(found)
    };
    let (found, (expected, _)) = (find()?, lines::expected()?);
    if found != expected {
        return Err(format!("{found:?} is not {expected:?}").into());
    }
    let spent = repeat(1, |_| find().map(drop))?;
    say(LINES_WORD, "scan", LINES as f64 / spent.as_secs_f64() / 1e6);
    for (figure, needle, count) in [("found", NEEDLE, expected.lines), ("template", "FATAL", 0)] {
        let filter = Filter::new(&format!("value contains '{needle}'"))?;
        let (series, threads) = ([SeriesName::new(LOG)?], NonZero::new(1));
        let search = Search {
            snapshot: &snapshot,
            series: &series,
            range: TimeRange::ALL,
            filter: Some(&filter),
            threads,
        };
        let spent = repeat(1, |_| {
            let searched = search.run(|_, _, _: &mut ()| {}, |()| Ok::<_, Failure>(()))?;
            if (searched.rows, searched.found) != (LINES, count) {
                return Err(format!("{searched:?} of {LINES} lines with '{needle}'").into());
            }
            Ok(())
        })?;
        say(LINES_WORD, figure, LINES as f64 / spent.as_secs_f64() / 1e6);
    }
    Ok(())
}

/// What each commit waits for, whoever makes it.
fn sync(dir: &Path) -> Result<(), Failure> {
    const BYTES: usize = 16 << 10;
    let file = File::create(dir.join("file"))?;
    // As long from the start as it will be, as the log is.
    file.write_all_at(&vec![0; 16 << 20], 0)?;
    file.sync_all()?;
    let mut spent = Vec::new();
    for place in 0..300 {
        let begun = Instant::now();
        file.write_all_at(&[1; BYTES], place * BYTES as u64)?;
        file.sync_data()?;
        spent.push(begun.elapsed());
    }
    spent.sort_unstable();
    say("sync", "wait", millis(spent[spent.len() / 2]));
    Ok(())
}

/// What a writer needs for one series more, all of them with dots.
fn series(dir: &Path) -> Result<(), Failure> {
    let mut intake = Intake::unsealed(dir)?;
    let name = |number: u64| format!("{}metric_{:03}", prefix((number / 1_000) as u32), number % 1_000);
    let mut batch = Batch::default();
    // Buffers of a commit have grown before the first look.
    intake.numbers([name(MANY)])?;
    for tick in 0..10_000 {
        batch.push(0, tick, 1.0);
    }
    intake.commit(&batch)?;
    intake.commit(&batch)?;
    let before = memory("VmRSS")?;
    intake.numbers((0..MANY).map(name))?;
    for first in (1..=MANY as u32).step_by(10_000) {
        batch.clear();
        (first..first + 10_000).for_each(|number| batch.push(number, 0, 1.0));
        intake.commit(&batch)?;
    }
    say("series", "bytes", (memory("VmRSS")? - before) * 1e3 / MANY as f64);
    Ok(())
}

/// Never ends but by being killed.
fn fill(dir: &Path) -> Result<(), Failure> {
    let work = Work::new(Kind::Long, 1.0, None)?;
    let mut intake = Intake::unsealed(dir)?;
    intake.numbers(&work.names)?;
    work.arrive(|batch| {
        intake.commit(batch)?;
        if intake.waiting_bytes() >= FULL_BYTES {
            println!("full");
            std::io::stdout().flush()?;
            loop {
                std::thread::park();
            }
        }
        Ok(())
    })
}

fn reopen(dir: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    let snapshot = Reader::open(dir)?.snapshot();
    let dots = View::new(&snapshot)
        .sum([format!("{}metric_001", prefix(7)).as_str()].into_iter(), TimeRange::ALL)?
        .dots;
    say("killed", "reader", millis(begun.elapsed()));
    if dots == 0 || snapshot.stat().wal_bytes < FULL_BYTES {
        return Err(format!("the log is not full: {dots} dots, {:?}", snapshot.stat()).into());
    }
    let begun = Instant::now();
    black_box(Writer::open(dir)?);
    say("killed", "writer", millis(begun.elapsed()));
    Ok(())
}

/// The median of many runs.
fn repeat(places: u32, mut read: impl FnMut(u32) -> Result<(), Failure>) -> Result<Duration, Failure> {
    let (begun, mut spent) = (Instant::now(), Vec::new());
    while spent.is_empty() || begun.elapsed() < PATIENCE {
        for place in 0..places {
            let begun = Instant::now();
            read(place)?;
            spent.push(begun.elapsed());
        }
    }
    spent.sort_unstable();
    Ok(spent[spent.len() / 2])
}

pub(crate) fn check(what: &str, found: &Sum, expected: &Sum) -> Result<(), Failure> {
    match found.is(expected) {
        Some(true) => Ok(()),
        _ => Err(format!("{what}: {found:?} is not {expected:?}").into()),
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What the system says this process has in use, in MB.
pub(crate) fn memory(field: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
