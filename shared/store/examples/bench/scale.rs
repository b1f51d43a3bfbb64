//! How the store grows: a million series beside a thousand, and many dots one after the other.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dotter_dot::TimeRange;
use dotter_store::disk::{self, Disk};
use dotter_store::{Deletion, Pattern, Reader};
use nix::time::{ClockId, clock_gettime};

use crate::Failure;
use crate::intake::{self, Disks, Intake};
use crate::many::{Quick, median};
use crate::stages::{View, check, memory, millis};
use crate::work::{Kind, Work, million_name};

/// Exact deletes of a store that is opened with them.
const DELETES: u32 = 1_000;
/// Not among the series that are deleted.
const KEPT: u32 = 500_500;
/// How long a store is opened again and again.
const PATIENCE: Duration = Duration::from_secs(1);
const OPENS_MIN: usize = 3;
/// How often memory is looked at while dots are taken in.
const LOOK_DOTS: u64 = 1_000_000;
/// Series that are read again.
const PLACES: u32 = 8;

/// The disk of this machine, and how many bytes the store has had written on it.
///
/// This is exact and the same in each run: the store changes files by a disk alone. What the system makes of it is
/// more, for it writes whole pages: `/proc/self/io` says how much.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Disk for Counted {
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        // Relaxed: it is read after the threads that count have ended.
        self.0.fetch_add(bytes.len() as u64, Relaxed);
        disk::System.write(file, path, bytes, at)
    }
}

/// Takes all in and compacts until nothing is left to do, and says what was written for it.
pub(crate) fn write(dir: &Path, work: &Work, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    let [log, seal, compaction] = [0; 3].map(|_| Arc::new(Counted::default()));
    let disks = Disks { log: log.clone(), seal: seal.clone(), compaction: compaction.clone() };
    let (paged, names) = (paged_bytes(), memory("VmRSS")?);
    let mut intake = Intake::open_on(dir, disks)?;
    intake.numbers(&work.names)?;
    let (begun, worked) = (Instant::now(), processor()?);
    let (mut dots, mut own, mut resident) = (0, Vec::new(), Vec::new());
    work.arrive(|batch| {
        dots += batch.len() as u64;
        if dots.is_multiple_of(LOOK_DOTS) {
            own.push(memory("RssAnon")?);
            resident.push(memory("VmRSS")?);
        }
        intake.commit(batch)
    })?;
    let rate = |count: u64| count as f64 / begun.elapsed().as_secs_f64() / 1e6;
    say("in", rate(dots));
    intake.seal()?;
    intake::catch_up(dir, compaction.clone())?;
    say("all", rate(dots));
    say("worked", dots as f64 / (processor()? - worked).as_secs_f64() / 1e6);
    say("memory", memory("VmHWM")? - names);
    let each = |disk: &Counted| disk.0.load(Relaxed) as f64 / dots as f64;
    say("log", each(&log));
    say("sealed", each(&seal));
    say("compacted", each(&compaction));
    say("written", each(&log) + each(&seal) + each(&compaction));
    if let (Some(before), Some(after)) = (paged, paged_bytes()) {
        say("paged", (after - before) as f64 / dots as f64);
    }
    if work.kind == Kind::Sustained {
        // What the first dots take is not yet what it comes to.
        let growth = |looks: &[f64]| {
            let most = |looks: &[f64]| looks.iter().copied().fold(0.0, f64::max);
            let (early, late) = looks.split_at(looks.len() / 2);
            most(late) / most(early)
        };
        say("grown", growth(&own));
        say("resident-grown", growth(&resident));
    }
    right(dir, work)
}

/// What the store gives back is what was put in.
fn right(dir: &Path, work: &Work) -> Result<(), Failure> {
    let snapshot = Reader::open(dir)?.snapshot();
    let (found, expected) = (snapshot.stat().dots, work.dots());
    if found != expected {
        return Err(format!("the store has {found} dots, not {expected}").into());
    }
    let (mut view, count) = (View::new(&snapshot), work.names.len() as u64);
    for at in 0..u64::from(PLACES) {
        let number = ((at * 797_003 + 13) % count) as u32;
        let sum = view.sum([work.names[number as usize].as_str()].into_iter(), TimeRange::ALL)?;
        check("a series", &sum, &work.expected(number, &(0..u64::MAX)))?;
    }
    Ok(())
}

/// Opens a store of a million series and reads one of them, first from the disk and then again and again.
///
/// - `share`: of the series, as they were made
pub(crate) fn open(dir: &Path, share: f64, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    let number = (f64::from(KEPT) * share) as u32;
    let name = million_name(number);
    let read = || -> Result<_, Failure> {
        let begun = Instant::now();
        let snapshot = Reader::open(dir)?.snapshot();
        let sum = View::new(&snapshot).sum([name.as_str()].into_iter(), TimeRange::ALL)?;
        Ok((millis(begun.elapsed()), sum))
    };
    let (cold, sum) = read()?;
    say("cold", cold);
    say("open-memory", memory("VmHWM")?);
    let (begun, mut warm) = (Instant::now(), Vec::new());
    while warm.len() < OPENS_MIN || begun.elapsed() < PATIENCE {
        warm.push(read()?.0);
    }
    say("open", median(warm));
    // Not before: the names of all take memory.
    check("a series", &sum, &Work::new(Kind::Million, share, None)?.expected(number, &(0..u64::MAX)))
}

/// Deletes a thousand series, by their names.
pub(crate) fn delete(dir: &Path, share: f64) -> Result<(), Failure> {
    let apart = (1e6 * share) as u32 / DELETES;
    disk::on(Arc::new(Quick), || {
        for number in 0..DELETES {
            let name = million_name(number * apart + 1);
            let pattern = Pattern::new(&name);
            let deletion = Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL };
            dotter_store::delete(dir, &deletion)?;
        }
        let snapshot = Reader::open(dir)?.snapshot();
        match View::new(&snapshot).sum([million_name(1).as_str()].into_iter(), TimeRange::ALL)?.dots {
            0 => Ok(()),
            dots => Err(format!("{dots} dots of a series that was deleted").into()),
        }
    })
}

/// How long the threads of this process have run: it tells of the work where others share the machine.
fn processor() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// What this process has had the system write, in whole pages; nothing where the system does not count it.
fn paged_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}
