//! One turn of one engine, in a process of its own: so that its memory can be told, and nothing stays warm.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::{ENGINES, Engine};
use crate::lines::{self, Found, LINES, Stamps};
use crate::work::{KINDS, Kind, Sum, Work};
use crate::{Failure, figure::Figure};

/// What a read may be repeated for.
const PATIENCE: Duration = Duration::from_millis(400);
const REPEATS_MAX: usize = 40;
/// Different series that are read in turns.
const PLACES: u32 = 8;

/// - `args`: what is done, by whom, with what, where, and the file of real series or nothing
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let [what, engine, kind, dir, file] = args else {
        return Err("a child is told what, who, which, where, and a file".into());
    };
    let engine = ENGINES.iter().find(|of| of.word == engine).ok_or("there is no such engine")?;
    let dir = Path::new(dir);
    match (what.as_str(), KINDS.into_iter().find(|of| of.word() == kind)) {
        ("write", None) => write_lines(engine, dir),
        ("read", None) => read_lines(engine, dir),
        (what, Some(kind)) => {
            let work = Work::new(kind, (engine.share)(kind), (!file.is_empty()).then(|| Path::new(file)))?;
            match what {
                "write" => write(engine, dir, &work),
                _ => read(engine, dir, &work),
            }
        }
        _ => Err("a child writes or reads".into()),
    }
}

fn write(engine: &Engine, dir: &Path, work: &Work) -> Result<(), Failure> {
    let (make, _) = engine.dots.ok_or("it keeps no dots")?;
    let mut store = make(dir, work)?;
    let begun = Instant::now();
    work.arrive(|batch| store.commit(batch))?;
    // Real series are too few dots for anything but their size, and whoever sends them holds them all.
    let measured = work.kind != Kind::Real;
    if measured {
        say(Figure::In, work.dots() as f64 / begun.elapsed().as_secs_f64() / 1e6);
        say(Figure::MemoryIn, most_memory(store.server())?);
    }
    let begun = Instant::now();
    store.settle()?;
    if measured {
        say(Figure::Settle, begun.elapsed().as_secs_f64());
        drop(store);
        if let Some(bytes) = written_bytes().filter(|bytes| *bytes > 0) {
            say(Figure::Written, bytes as f64 / work.dots() as f64);
        }
    }
    Ok(())
}

fn read(engine: &Engine, dir: &Path, work: &Work) -> Result<(), Failure> {
    let (_, make) = engine.dots.ok_or("it keeps no dots")?;
    let count = work.names.len() as u32;
    let place = |at: u32| (at * 97 + 13) % count;
    let (all, part) = (0..u64::MAX, work.part());
    let begun = Instant::now();
    let mut store = make(dir, work)?;
    let first = store.series(work, place(0), all.clone())?;
    let cold = begun.elapsed();
    let mut exact = check("the first series", &first, &work.expected(place(0), &all))?;
    if work.kind != Kind::Real {
        say(Figure::Cold, millis(cold));
        for (figure, range) in [(Figure::One, all), (Figure::Part, part)] {
            let read = |at| store.series(work, place(at), range.clone());
            let spent = repeat(PLACES, read, |at, sum| {
                exact &= check("a series", sum, &work.expected(place(at), &range))?;
                Ok(())
            });
            say_spent(figure, spent);
        }
        // From both ends: what stands there is most easily lost.
        let hosts = (0..PLACES.min(work.hosts())).map(|at| if at % 2 == 0 { at } else { work.hosts() - at });
        let (mut right, mut wrong) = (Vec::new(), 0);
        for host in hosts {
            match check("a host", &store.host(work, host)?, &work.expected_of(numbers(work, host))) {
                Ok(bits) => {
                    exact &= bits;
                    right.push(host);
                }
                Err(_) => wrong += 1,
            }
        }
        // Only those that are right are timed.
        let read = |at: u32| store.host(work, right[at as usize]);
        let spent = match right.len() {
            0 => Err("all hosts are read wrongly".into()),
            count => repeat(count as u32, read, |_, _| Ok(())),
        };
        say_spent(Figure::Host, spent);
        say(Figure::Wrong, f64::from(wrong));
    }
    let mut sum = Sum::default();
    let scan = timed(|| {
        sum = store.scan(work)?;
        Ok(())
    })?;
    let scan = if scan > 5 * PATIENCE { scan } else { timed(|| store.scan(work).map(drop))? };
    exact &= check("all series", &sum, &work.expected_of(0..count))?;
    if work.kind != Kind::Real {
        say(Figure::Scan, work.dots() as f64 / scan.as_secs_f64() / 1e6);
        say(Figure::MemoryRead, most_memory(store.server())?);
    }
    say(Figure::Exact, f64::from(u8::from(exact)));
    Ok(())
}

fn write_lines(engine: &Engine, dir: &Path) -> Result<(), Failure> {
    let (make, _) = engine.lines.ok_or("it keeps no lines")?;
    let mut store = make(dir)?;
    let begun = Instant::now();
    lines::arrive(Stamps::Random, |batch| store.commit(batch))?;
    say(Figure::In, LINES as f64 / begun.elapsed().as_secs_f64() / 1e6);
    say(Figure::MemoryIn, most_memory(None)?);
    let begun = Instant::now();
    store.settle()?;
    say(Figure::Settle, begun.elapsed().as_secs_f64());
    Ok(())
}

fn read_lines(engine: &Engine, dir: &Path) -> Result<(), Failure> {
    let (_, make) = engine.lines.ok_or("it keeps no lines")?;
    let begun = Instant::now();
    let mut store = make(dir)?;
    let first = store.find(lines::part())?;
    let cold = begun.elapsed();
    let (all, part) = lines::expected()?;
    let held = |found: &Found, expected: &Found| {
        if found == expected { Ok(()) } else { Err(Failure::from(format!("{found:?} is not {expected:?}"))) }
    };
    held(&first, &part)?;
    say(Figure::Cold, millis(cold));
    let spent = repeat(1, |_| store.find(lines::part()), |_, found| held(found, &part))?;
    say(Figure::Part, millis(spent));
    let spent = repeat(1, |_| store.find(0..u64::MAX), |_, found| held(found, &all))?;
    say(Figure::Scan, LINES as f64 / spent.as_secs_f64() / 1e6);
    say(Figure::MemoryRead, most_memory(None)?);
    say(Figure::Exact, 1.0);
    Ok(())
}

fn numbers(work: &Work, host: u32) -> Range<u32> {
    host * work.together..(host + 1) * work.together
}

fn check(what: &str, found: &Sum, expected: &Sum) -> Result<bool, Failure> {
    found.is(expected).ok_or_else(|| format!("{what}: {found:?} is not {expected:?}").into())
}

/// The median of many runs, after one of each whose result is looked at.
fn repeat<T>(
    places: u32,
    mut read: impl FnMut(u32) -> Result<T, Failure>,
    mut look: impl FnMut(u32, &T) -> Result<(), Failure>,
) -> Result<Duration, Failure> {
    for place in 0..places {
        let found = read(place)?;
        look(place, &found)?;
    }
    let (begun, mut spent) = (Instant::now(), Vec::new());
    while spent.is_empty() || begun.elapsed() < PATIENCE && spent.len() < REPEATS_MAX * places as usize {
        for place in 0..places {
            spent.push(timed(|| read(place).map(drop))?);
        }
    }
    spent.sort_unstable();
    Ok(spent[spent.len() / 2])
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What went wrong while reading is no figure.
fn say_spent(figure: Figure, spent: Result<Duration, Failure>) {
    match spent {
        Ok(spent) => say(figure, millis(spent)),
        Err(error) => {
            eprintln!("{error}");
            say(figure, f64::NAN);
        }
    }
}

fn say(figure: Figure, value: f64) {
    println!("{} {value}", figure.word());
}

/// What this process and those that it has waited for have had the system write, in whole pages; nothing where the
/// system does not count it.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

/// Most memory a process has had in use, in MB; this one where there is no other.
fn most_memory(process: Option<u32>) -> Result<f64, Failure> {
    let process = process.map_or("self".to_owned(), |id| id.to_string());
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}
