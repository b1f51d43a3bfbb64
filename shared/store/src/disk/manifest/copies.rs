//! The two files of the list, MANIFEST and MANIFEST.2: the same log of edits, written one after the other.
//!
//! Always true on disk, whenever a process or the machine stops:
//!
//! - an edit in MANIFEST.2 is in MANIFEST too, except where MANIFEST is damaged: MANIFEST is synced first
//! - an edit counts whole or not at all, and no two edits have the same number
//! - both files begin with a base, which is the whole list, and the edits behind it are numbered without a gap
//!
//! Whoever takes MANIFEST.lock completes both files before anything else. So it is decided for good whether a commit
//! that was cut short counts, before the next one begins.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::known::{Digest, Known};
use crate::disk::layout::Layout;
use crate::disk::log::{open, read_around, read_header, read_published_surely, this_boot};
use crate::error::Error;
use crate::format::log::frame::{FRAME_HEADER_BYTES, FrameKind, Item, Items};
use crate::format::log::header::{HEADER_BYTES, Header, LogKind, Published};
use crate::format::manifest::Manifest;
use crate::format::manifest::edit::Edit;

/// One of the two files as it was read.
pub(super) struct Copy {
    pub(super) path: PathBuf,
    /// `None` where the header is damaged.
    pub(super) header: Option<Header>,
    /// `None` where the published words are damaged.
    pub(super) published: Option<Published>,
    /// The bytes behind the header.
    pub(super) bytes: Vec<u8>,
    /// What is wrong with the file: offset, and what was found there.
    pub(super) damage: Vec<(u64, String)>,
    edits: Edits,
    /// One past the last whole frame, as an offset in the file.
    pub(super) good_until: u64,
}

/// Where an edit is.
#[derive(Clone)]
struct EditPlace {
    /// The offset of its frame in the file.
    at: u64,
    /// Where in the bytes behind the header its payload is.
    payload: Range<usize>,
    /// Of the payload.
    checksum: u32,
}

/// Every whole edit of a file, in the order of their numbers.
#[derive(Clone, Default)]
struct Edits(Vec<(u64, EditPlace)>);

impl Edits {
    /// Adds one; of two with one number the later counts.
    fn insert(&mut self, number: u64, place: EditPlace) {
        match self.find(number) {
            Ok(at) => self.0[at].1 = place,
            Err(at) => self.0.insert(at, (number, place)),
        }
    }

    fn get(&self, number: u64) -> Option<&EditPlace> {
        self.find(number).ok().map(|at| &self.0[at].1)
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        // Nearly always they are numbered without a gap.
        let first = self.0.first().map_or(number, |(first, _)| *first);
        let at = number.wrapping_sub(first) as usize;
        match self.0.get(at) {
            Some((found, _)) if *found == number => Ok(at),
            None if self.0.last().is_none_or(|(last, _)| *last < number) => Err(self.0.len()),
            _ => self.0.binary_search_by_key(&number, |(number, _)| *number),
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(number, _)| *number)
    }
}

impl Copy {
    /// Reads one; `None` where there is no such file.
    ///
    /// - `all`: read also frames behind the published length
    /// - `other`: the other file, which nearly always has the same bytes
    ///
    /// # Errors
    ///
    /// [`Error::Version`], and the system's.
    pub(super) fn read(path: &Path, all: bool, other: Option<&Copy>) -> Result<Option<Copy>, Error> {
        let file = match open(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let mut damage = Vec::new();
        let header = match read_header(LogKind::Manifest, &file, path) {
            Ok(header) => Some(header),
            Err(Error::Damaged { offset, what, .. }) => {
                damage.push((offset, what));
                None
            }
            Err(error) => return Err(error),
        };
        let mut published = read_published_surely(&file, path)?;
        // The published words count only in the boot that wrote them, since they are never synced.
        let lasting = published.filter(|published| published.boot == this_boot());
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        let until = match lasting {
            Some(published) if !all || !has_more(&file, published.bytes) => published.bytes.min(length),
            _ => length,
        };
        let mut bytes = vec![0; until.saturating_sub(HEADER_BYTES as u64) as usize];
        // A bad sector is what the other file is for.
        read_around(&mut bytes, HEADER_BYTES as u64, |bytes, at| file.read_exact_at(bytes, at))
            .map_err(Error::io("read", path))?;
        if lasting.is_none() && !all {
            // Where somebody has published it meanwhile, what stands behind may not be synced yet.
            let now = read_published_surely(&file, path)?;
            if let Some(now) = now.filter(|now| now.boot == this_boot()) {
                bytes.truncate(now.bytes.saturating_sub(HEADER_BYTES as u64) as usize);
                published = Some(now);
            }
        }
        let mut copy = Copy {
            path: path.to_owned(),
            header,
            published,
            bytes,
            damage,
            edits: Edits::default(),
            good_until: HEADER_BYTES as u64,
        };
        match other.filter(|other| header.is_some() && (header, &copy.bytes) == (other.header, &other.bytes))
        {
            Some(other) => {
                (copy.edits, copy.good_until) = (other.edits.clone(), other.good_until);
                copy.damage.extend(other.damage.iter().cloned());
            }
            None => copy.find_edits(),
        }
        Ok(Some(copy))
    }

    fn find_edits(&mut self) {
        // A damaged header does not say the number of the file; each frame carries it too.
        let number = self.header.map(|header| header.number).or_else(|| first_number(&self.bytes));
        let Some(number) = number else { return };
        let mut items = Items::new(&self.bytes, HEADER_BYTES as u64, number);
        let mut place = HEADER_BYTES as u64;
        let mut torn = None;
        while let Some(item) = items.next() {
            match item {
                Item::Frame(frame) => {
                    self.damage.extend(torn.take());
                    if frame.kind == FrameKind::Edit {
                        let from = frame.payload.as_ptr() as usize - self.bytes.as_ptr() as usize;
                        let (payload, checksum) = (from..from + frame.payload.len(), frame.checksum);
                        self.edits.insert(frame.sequence, EditPlace { at: place, payload, checksum });
                    }
                    place = items.good_until();
                }
                Item::Damage { at, until, what } => {
                    // Behind the last frame there is preallocated room, or a commit that was cut short.
                    torn = Some((at, format!("{what}; skipped to {until}")));
                    place = until;
                }
            }
        }
        self.good_until = items.good_until();
    }

    /// The number of the last whole edit.
    pub(super) fn last_edit(&self) -> Option<u64> {
        self.edits.0.last().map(|(number, _)| *number)
    }

    /// Where its first edit ends, which is the base of a whole file.
    pub(super) fn base_until(&self) -> u64 {
        self.edits.0.get(1).map_or(self.good_until, |(_, edit)| edit.at)
    }

    /// The payload of an edit.
    pub(super) fn payload(&self, number: u64) -> Option<&[u8]> {
        self.edits.get(number).map(|edit| &self.bytes[edit.payload.clone()])
    }

    /// Whether every published edit is there, as far as the published words tell.
    pub(super) fn has_what_is_published(&self) -> bool {
        self.published.is_none_or(|published| self.last_edit() >= Some(published.sequence))
    }

    /// Whether its edits are numbered without a gap from a base on, and nothing between them is damaged.
    pub(super) fn is_whole(&self) -> bool {
        self.header.is_some() && self.damage.is_empty() && !self.edits.0.is_empty()
    }
}

/// Whether anything was written behind what is published: room that is set aside is zero.
pub(super) fn has_more(file: &File, published: u64) -> bool {
    let mut next = [0; FRAME_HEADER_BYTES];
    // A file may end there, or have a bad sector: then all of it is looked at.
    file.read_exact_at(&mut next, published).map_or(true, |()| next != [0; FRAME_HEADER_BYTES])
}

/// The number in the first frame header that says one.
fn first_number(bytes: &[u8]) -> Option<u64> {
    let at = (0..bytes.len().saturating_sub(40)).step_by(8).find(|at| &bytes[*at..at + 4] == b"DFRM")?;
    Some(crate::format::bytes::u64_at(bytes, at + 8))
}

/// The list that the edits of both files make.
pub(super) struct Folded {
    pub(super) manifest: Manifest,
    /// What is wrong, where an edit is damaged in both files, or neither file can be read.
    pub(super) broken: Option<String>,
    /// Deletes from edits behind the missing one.
    pub(super) later: Vec<(u64, Vec<u8>)>,
    /// Of all edits from the base on.
    pub(super) digest: Digest,
}

/// Applies the edits of both files in order; an edit that is damaged in one file is taken from the other.
pub(super) fn fold(copies: &[Copy]) -> Folded {
    fold_on(copies, None)
}

/// As [`fold`], for whoever knows the list as an earlier edit left it. All edits are looked for all the same.
pub(super) fn fold_on(copies: &[Copy], known: Option<&Known>) -> Folded {
    let nothing = |what: &str| Folded {
        manifest: Manifest::default(),
        broken: Some(what.to_owned()),
        later: Vec::new(),
        digest: Digest::default(),
    };
    let Some(header) = copies.iter().find_map(|copy| copy.header) else {
        return nothing("no valid header in MANIFEST and MANIFEST.2");
    };
    let payload = |number: u64| copies.iter().find_map(|copy| copy.payload(number));
    let mut numbers: Vec<u64> = copies.iter().flat_map(|copy| copy.edits.numbers()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let is_base = |number: &&u64| payload(**number).is_some_and(Edit::is_base);
    let Some(base) = numbers.iter().rev().find(is_base).copied() else {
        return nothing("no edit in MANIFEST and MANIFEST.2 that holds the whole list");
    };
    let behind: Vec<u64> = numbers.into_iter().filter(|number| *number >= base).collect();
    let checksum =
        |number: u64| copies.iter().find_map(|copy| copy.edits.get(number)).map(|edit| edit.checksum);
    let digest_of = |numbers: &[u64]| {
        let with = |digest: Digest, number: &u64| digest.with(*number, checksum(*number).unwrap_or(0));
        numbers.iter().fold(Digest::default(), with)
    };
    // The edits themselves are compared: a copy of a store has the same numbers, and may have gone on by itself.
    let known = known.filter(|known| {
        let until = behind.partition_point(|number| *number <= known.manifest.generation);
        known.number == header.number && known.digest == digest_of(&behind[..until])
    });
    let folded = |until: u64| {
        let known = known.map(|known| &known.manifest).filter(|list| list.generation < until);
        let nothing = || Manifest { store: header.store, lineage: header.lineage, ..Manifest::default() };
        let mut manifest = known.cloned().unwrap_or_else(nothing);
        let from = known.map_or(0, |list| list.generation + 1);
        let applied = behind.iter().copied().skip_while(|number| *number < from);
        for number in applied.take_while(|number| *number < until) {
            if manifest.apply(number, payload(number).expect("it was just found")).is_none() {
                return Err(number);
            }
        }
        Ok(manifest)
    };
    let gap =
        (base..).zip(&behind).find(|(expected, number)| expected != *number).map(|(expected, _)| expected);
    // The last ones may be missing too.
    let published = copies.iter().filter_map(|copy| copy.published).map(|published| published.sequence).max();
    let end = base + behind.len() as u64;
    let gap = gap.or(published.filter(|published| *published >= end).map(|_| end));
    let mut broken = gap.map(|gap| (gap, format!("edit {gap} is damaged in MANIFEST and in MANIFEST.2")));
    loop {
        let until = broken.as_ref().map_or(u64::MAX, |(number, _)| *number);
        match folded(until) {
            Ok(manifest) => {
                let later = behind.iter().filter(|number| **number >= until);
                let later =
                    later.map(|number| (*number, payload(*number).expect("it was just found").to_vec()));
                let (later, digest) = (later.collect(), digest_of(&behind));
                return Folded { manifest, broken: broken.map(|(_, what)| what), later, digest };
            }
            Err(number) => broken = Some((number, format!("edit {number} of MANIFEST makes no sense"))),
        }
    }
}

/// The paths of both, in the order in which they are written.
pub(super) fn paths(layout: &Layout) -> [PathBuf; 2] {
    [layout.manifest(), layout.manifest_copy()]
}
