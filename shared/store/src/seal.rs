//! Sealing: closed WAL files become segments.
//!
//! The dots are read back from the log, so nobody has to keep them in memory between their commit and their
//! seal, and a seal that died is simply done again. It takes no lock of the writer's.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use dotter_dot::SeriesName;

use crate::chunk::Columns;
use crate::error::Error;
use crate::layout::Layout;
use crate::ledger::{Ledger, Totals};
use crate::manifest::{self, Order};
use crate::merge;
use crate::segment::{Meta, SegmentWriter, Unlisted};
use crate::wal::{self, Applied, FILE_BYTES, HEADER_BYTES, Item, Items, LogFile, Names};
use crate::writer::SMALL_FILES_MAX;

/// Dots of a chunk in a fresh segment.
const CHUNK_DOTS: usize = 4096;

/// Turns closed WAL files into segments, as many as wait.
///
/// Small files wait until there are enough of them. `cancel` is asked now and then; when it says `true` the work
/// is given up and nothing has changed. Returns how many dots were sealed; 0 too where another process is at it.
///
/// # Errors
///
/// The system's; whatever is half done then is litter, and the log is as it was.
pub fn seal(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<u64, Error> {
    let enough = |closed: &[LogFile], bytes| {
        bytes >= FILE_BYTES || closed.len() as u64 >= SMALL_FILES_MAX || is_stale(closed)
    };
    seal_where(dir, cancel, &enough)
}

/// As [`seal`], but small files do not wait.
///
/// # Errors
///
/// As [`seal`].
pub fn seal_all(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<u64, Error> {
    seal_where(dir, cancel, &|_, _| true)
}

fn seal_where(
    dir: &Path,
    cancel: &dyn Fn() -> bool,
    enough: &dyn Fn(&[LogFile], u64) -> bool,
) -> Result<u64, Error> {
    let layout = Layout::new(dir);
    let _lock = match layout.try_lock("SEAL.lock") {
        Err(Error::Locked(_)) => return Ok(0),
        other => other?,
    };
    let mut sealed = 0;
    loop {
        // The files before the list: a commit of another process that is not in the list yet can then only
        // stand behind every frame of a closed file.
        let files = wal::files(&layout, 0)?;
        let manifest = manifest::read(&layout)?;
        let files: Vec<LogFile> = files.into_iter().filter(|file| file.id >= manifest.wal_first).collect();
        let closed = &files[..files.len().saturating_sub(1)];
        let mut together = 0;
        let mut bytes = 0;
        while together < closed.len() && bytes < FILE_BYTES {
            bytes += closed[together].measured.map_or_else(|| closed[together].size(), Ok)?;
            together += 1;
        }
        if together == 0 || !enough(closed, bytes) {
            return Ok(sealed);
        }
        sealed += seal_files(&layout, &manifest, &files[..together], files[together].id, cancel)?;
    }
}

/// A closed file this old is sealed however small it is.
const STALE: Duration = Duration::from_secs(600);

/// Whether a file has waited so long that it is sealed however small it is.
fn is_stale(closed: &[LogFile]) -> bool {
    closed.iter().any(|file| file.age() >= STALE)
}

/// One series' dots, explicit times and clock stamps apart, in the order of their commit.
type Both = [Columns; 2];

/// Dots between two commits of other processes.
#[derive(Default)]
struct Piece {
    last_sequence: u64,
    series: HashMap<SeriesName, Both>,
}

fn seal_files(
    layout: &Layout,
    manifest: &manifest::Manifest,
    files: &[LogFile],
    wal_first: u64,
    cancel: &dyn Fn() -> bool,
) -> Result<u64, Error> {
    let mut ledger = manifest.ledger.clone();
    let mut foreign: Vec<u64> = manifest.segments.iter().map(|segment| segment.order.sequence).collect();
    foreign.dedup();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut damaged = 0;
    for file in files {
        let bytes = file.read_all()?;
        let mut names = Names::default();
        wal::declare(&bytes, file.id, &mut names);
        for item in Items::new(&bytes, HEADER_BYTES as u64, file.id) {
            let Item::Frame(frame) = item else { continue };
            let Applied::Dots { mut dots, count, .. } = wal::apply(&frame, &names, &mut ledger) else {
                continue;
            };
            let split = |piece: &Piece| {
                foreign.iter().any(|commit| (piece.last_sequence..frame.sequence).contains(commit))
            };
            if pieces.last().is_none_or(split) {
                pieces.push(Piece::default());
            }
            let Some(piece) = pieces.last_mut() else { continue };
            piece.last_sequence = frame.sequence;
            damaged += count - gather(&mut dots, &names, piece);
        }
        if cancel() {
            return Err(Error::GivenUp);
        }
    }
    let mut replaced = 0;
    let mut written: Vec<(Unlisted, Order)> = Vec::new();
    let mut dots = 0;
    let count = pieces.len();
    for (index, piece) in pieces.into_iter().enumerate() {
        let order = Order { sequence: piece.last_sequence, generation: 0 };
        let mut segment = SegmentWriter::create(layout, CHUNK_DOTS)?;
        let mut series: Vec<(SeriesName, Both)> = piece.series.into_iter().collect();
        series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, [mut explicit, mut clock]) in series {
            if cancel() {
                return Err(Error::GivenUp);
            }
            dots += (explicit.len() + clock.len()) as u64;
            merge::sort(&mut explicit);
            replaced += merge::keep_last(&mut explicit);
            merge::sort(&mut clock);
            segment.begin(name)?;
            segment.add(&explicit, false)?;
            segment.add(&clock, true)?;
        }
        ledger.totals = Totals {
            replaced: manifest.ledger.totals.replaced + replaced,
            damaged: manifest.ledger.totals.damaged + damaged,
            ..ledger.totals
        };
        let last = index + 1 == count;
        let meta = Meta { replaced: Vec::new(), log: last.then(|| (wal_first, ledger.clone())) };
        if !segment.is_empty() {
            written.push((segment.finish(&meta)?, order));
        }
    }
    let stored_other = ledger.totals.stored_other - manifest.ledger.totals.stored_other;
    manifest::swap(layout, |now| {
        if now.wal_first != manifest.wal_first {
            return Err(Error::GivenUp);
        }
        for (segment, order) in written {
            segment.list(now, order, 0)?;
        }
        now.wal_first = wal_first;
        now.obsolete.extend(files.iter().map(|file| Layout::wal_name(file.id)));
        // Others count replaced and damaged dots meanwhile; all else only a seal moves.
        let totals = now.ledger.totals;
        now.ledger = Ledger::clone(&ledger);
        now.ledger.totals = Totals {
            stored_other: totals.stored_other + stored_other,
            replaced: totals.replaced + replaced,
            damaged: totals.damaged + damaged,
            ..totals
        };
        Ok(())
    })?;
    Ok(dots)
}

/// Adds the dots of one frame to a piece; returns how many those were.
fn gather(dots: &mut wal::DotGroups<'_>, names: &Names, piece: &mut Piece) -> u64 {
    let mut gathered = 0;
    let mut unnamed = Columns::default();
    while let Some((id, clock)) = dots.peek() {
        let Some(name) = names.series.get(&id) else {
            unnamed.clear();
            if dots.take(&mut unnamed).is_none() {
                break;
            }
            continue;
        };
        if !piece.series.contains_key(name) {
            piece.series.insert(name.clone(), Both::default());
        }
        let both = piece.series.get_mut(name).expect("it was just put there");
        match dots.take(&mut both[clock as usize]) {
            Some(count) => gathered += count as u64,
            // Fewer bytes than the groups promise: what came so far is whole.
            None => break,
        }
    }
    gathered
}
