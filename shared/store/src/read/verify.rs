//! Verifying a store: reading every live file and comparing it with its checksums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::layout::Layout;
use crate::disk::names::{Merge, NamesFile};
use crate::disk::{manifest, wal};
use crate::error::Error;
use crate::format::names::NamesEntry;
use crate::format::place::nanos;
use crate::format::wal::{HEADER_BYTES, Item, Items, count_dots};
use crate::read::segment::Segment;
use dotter_dot::{Column, Timestamp};

/// What [`verify`] found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Live files.
    pub files: u64,
    /// Bytes of the live files.
    pub bytes: u64,
    /// Dots whose checksum is right.
    pub dots: u64,
    /// What is damaged; empty where nothing is.
    pub damage: Vec<Damage>,
}

/// A place in a file whose bytes are not those that were written.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Which file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was found and what was expected.
    pub what: String,
}

/// Reads every live file of a store; takes no lock, changes nothing.
///
/// The WAL file that is being written is read up to its published length.
///
/// # Errors
///
/// The system's, and [`Error::NoStore`]. Damage is no error: it is in the result.
pub fn verify(dir: &Path) -> Result<Verified, Error> {
    verify_with(dir, &|_, _| ())
}

/// As [`verify`].
///
/// - `progress`: called now and then with the bytes done and the bytes to do
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Verified, Error> {
    let layout = Layout::new(dir);
    let mut verified = Verified::default();
    let manifest = manifest::read(&layout)?;
    for (path, offset, what) in manifest::damage(&layout)? {
        verified.note(path, offset, what);
    }
    verified.files += 2;
    let mark = layout.rebuilt_mark();
    if mark.exists() {
        let what =
            "MANIFEST was damaged or missing, and was rebuilt: the last deletes may be missing; 'dotter-store repair' \
                    makes the rebuilt list the list"
                .to_owned();
        verified.note(mark, 0, what);
    }
    for (file, offset, what) in manifest.ledger.files().damage() {
        verified.note(layout.ledger(&file.name), offset, what);
    }
    for file in &manifest.ledger_files {
        verified.files += 1;
        verified.bytes += file.bytes;
    }
    let rules = &manifest.rules;
    let (mark, running) = (rules.mark(), nanos(manifest.clock.running()));
    let total = manifest.in_seg().map(|(_, bytes)| bytes).sum();
    let mut done = 0;
    for entry in &manifest.segments {
        let path = layout.segment(&entry.name);
        let told = |bytes| progress(done + bytes, total);
        // By other rules its tier cannot be told.
        let tier = entry.place.filter(|place| place.rules == mark).map(|place| place.tier);
        let is_of_hold = |name: &str| rules.held(name, running) == entry.held_now(running);
        let tiers =
            |name: &str| tier.is_none_or(|tier| rules.tier(name, tier.step) == tier && is_of_hold(name));
        let outcome = Segment::open(&path, entry)
            .and_then(|segment| verify_segment(&segment, &path, &mut verified, &tiers, &told));
        done += entry.bytes;
        match outcome {
            // The segment was replaced and unlinked while this ran; the files of the list that was read are verified,
            // and this one no longer counts.
            Err(error)
                if error.is_not_found() && manifest::read(&layout)?.generation != manifest.generation =>
            {
                continue;
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                verified.note(path, 0, "listed in MANIFEST and missing".to_owned());
            }
            Err(Error::Damaged { path, offset, what }) => verified.note(path, offset, what),
            other => other?,
        }
        verified.files += 1;
        verified.bytes += entry.bytes;
    }
    let mut whole_names: BTreeMap<u64, Vec<NamesFile>> = BTreeMap::new();
    for entry in &manifest.names {
        let path = layout.segment(&entry.name);
        let outcome = NamesFile::open(&path, entry, manifest.store).and_then(|file| {
            if verify_names(&file, &path, entry, &mut verified)? {
                whole_names.entry(entry.epoch).or_default().push(file);
            }
            Ok(())
        });
        done += entry.bytes;
        progress(done, total);
        match outcome {
            // As above.
            Err(error)
                if error.is_not_found() && manifest::read(&layout)?.generation != manifest.generation =>
            {
                continue;
            }
            Err(error) if error.is_not_found() => {
                verified.note(path, 0, "listed in MANIFEST and missing".to_owned());
            }
            Err(Error::Damaged { path, offset, what }) => verified.note(path, offset, what),
            other => other?,
        }
        verified.files += 1;
        verified.bytes += entry.bytes;
    }
    for files in whole_names.into_values() {
        verified.compare_names(files)?;
    }
    for file in wal::all_files(&layout, manifest.log_start())? {
        if file.is_short()? {
            let what = format!(
                "{} bytes, expected at least {HEADER_BYTES}: the header of a WAL file; its frames are gone",
                file.size()?
            );
            verified.note(file.path.clone(), 0, what);
            verified.files += 1;
            continue;
        }
        if let Some(flaw) = &file.flaw {
            verified.note(file.path.clone(), 0, format!("no valid header of this WAL file: {flaw}"));
        }
        if file.is_foreign {
            verified.files += 1;
            continue;
        }
        let until = file.bytes_that_count()?;
        let bytes = file.read(HEADER_BYTES as u64, until)?;
        for item in Items::new(&bytes, HEADER_BYTES as u64, file.id) {
            match item {
                Item::Frame(frame) => verified.dots += count_dots(&frame),
                Item::Damage { at, until, what } => {
                    verified.note(file.path.clone(), at, format!("{what}; skipped to {until}"));
                }
            }
        }
        if (bytes.len() as u64) < until.saturating_sub(HEADER_BYTES as u64) {
            let what = format!("{} bytes, expected {until}", bytes.len() + HEADER_BYTES);
            verified.note(file.path.clone(), bytes.len() as u64 + HEADER_BYTES as u64, what);
        }
        verified.files += 1;
        verified.bytes += until;
    }
    Ok(verified)
}

/// Notes every damaged block; a file without one has as many names as its listing says. Returns whether nothing is damaged.
fn verify_names(
    file: &NamesFile,
    path: &Path,
    entry: &NamesEntry,
    verified: &mut Verified,
) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    let (mut count, mut is_whole) = (0, true);
    for block in 0..file.blocks().len() {
        let each = |_, _, _: &_| {
            count += 1;
            true
        };
        match file.block(block, &mut bytes, each, |_| true) {
            Err(Error::Damaged { path, offset, what }) => {
                is_whole = false;
                verified.note(path, offset, what);
            }
            other => other?,
        }
    }
    if is_whole && count != entry.count {
        is_whole = false;
        verified.note(path.to_owned(), 0, format!("{count} names, expected {}", entry.count));
    }
    Ok(is_whole)
}

/// - `is_of_tier`: whether a series lies in the tier of the segment
fn verify_segment(
    segment: &Segment,
    path: &Path,
    verified: &mut Verified,
    is_of_tier: &dyn Fn(&str) -> bool,
    told: &dyn Fn(u64),
) -> Result<(), Error> {
    let before = verified.damage.len();
    let mut run = Column::default();
    let mut bytes = 0;
    let place = segment.entry().place;
    let mut series = segment.series("");
    while let Some(step) = series.next() {
        if let Err(error) = step {
            verified.note_damage(error, "the series of a key block")?;
            continue;
        }
        let name = series.name()?;
        let mut chunks = Vec::new();
        if let Err(error) = series.chunks(|chunk| chunks.push(chunk)) {
            verified.note_damage(error, &format!("dots of {name} and of its neighbours"))?;
        }
        if !is_of_tier(name.as_str()) {
            let place = place.unwrap_or_default();
            verified.note(path.to_owned(), 0, format!("{name} lies in another tier than {place}"));
        }
        for chunk in chunks {
            run.clear();
            bytes += chunk.bytes_alone();
            told(bytes);
            match segment.read(&chunk, &mut run) {
                Ok(()) => {
                    verified.dots += run.len() as u64;
                    let ends = run.times().first().zip(run.times().last());
                    let ends = ends.map(|(first, last)| [*first, *last].map(Timestamp::from_nanos));
                    if let (Some(place), Some([first, last])) = (place, ends)
                        && !place.holds(first, last)
                    {
                        let (first, last) = (first.nanos(), last.nanos());
                        let what = format!("dots of {name} from {first} to {last} in a segment of {place}");
                        verified.note(path.to_owned(), chunk.at as u64, what);
                    }
                }
                Err(Error::Damaged { path, offset, what }) => {
                    verified.note(path, offset, format!("{what}, {} dots of {name}", chunk.dots));
                }
                Err(error) => return Err(error),
            }
        }
    }
    if verified.damage.len() == before { segment.check_all() } else { Ok(()) }
}

impl Verified {
    /// Notes what an error says is damaged, once for each place: a shared block has dots of many series.
    ///
    /// # Errors
    ///
    /// Any error that is not [`Error::Damaged`].
    fn note_damage(&mut self, error: Error, of: &str) -> Result<(), Error> {
        let Error::Damaged { path, offset, what } = error else { return Err(error) };
        let is_noted = |last: &Damage| (&last.path, last.offset) == (&path, offset);
        if !self.damage.last().is_some_and(is_noted) {
            self.note(path, offset, format!("{what}, {of}"));
        }
        Ok(())
    }

    /// Notes the first id that means different things in two of the names files of one epoch.
    fn compare_names(&mut self, files: Vec<NamesFile>) -> Result<(), Error> {
        let mut names = Merge::new(files);
        loop {
            match names.next() {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(Error::Damaged { path, offset, what }) => {
                    self.note(path, offset, format!("{what}; ids behind it are not compared"));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn note(&mut self, path: PathBuf, offset: u64, what: String) {
        self.damage.push(Damage { path, offset, what });
    }
}
