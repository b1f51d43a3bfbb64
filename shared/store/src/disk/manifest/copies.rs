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

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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
    /// Every whole edit by its number: its offset in the file, and where in `bytes` its payload is.
    edits: BTreeMap<u64, (u64, std::ops::Range<usize>)>,
    /// One past the last whole frame, as an offset in the file.
    pub(super) good_until: u64,
}

impl Copy {
    /// Reads one; `None` where there is no such file.
    ///
    /// - `all`: read also frames behind the published length
    ///
    /// # Errors
    ///
    /// [`Error::Version`], and the system's.
    pub(super) fn read(path: &Path, all: bool) -> Result<Option<Copy>, Error> {
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
        let published = read_published_surely(&file, path)?;
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
        let mut copy = Copy {
            path: path.to_owned(),
            header,
            published,
            bytes,
            damage,
            edits: BTreeMap::new(),
            good_until: HEADER_BYTES as u64,
        };
        copy.find_edits();
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
                        self.edits.insert(frame.sequence, (place, from..from + frame.payload.len()));
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
        self.edits.last_key_value().map(|(number, _)| *number)
    }

    /// The payload of an edit.
    pub(super) fn payload(&self, number: u64) -> Option<&[u8]> {
        self.edits.get(&number).map(|(_, range)| &self.bytes[range.clone()])
    }

    /// Whether every published edit is there, as far as the published words tell.
    pub(super) fn has_what_is_published(&self) -> bool {
        self.published.is_none_or(|published| self.last_edit() >= Some(published.sequence))
    }

    /// Whether its edits are numbered without a gap from a base on, and nothing between them is damaged.
    pub(super) fn is_whole(&self) -> bool {
        self.header.is_some() && self.damage.is_empty() && !self.edits.is_empty()
    }
}

/// Whether anything was written behind what is published: room that is set aside is zero.
fn has_more(file: &File, published: u64) -> bool {
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
}

/// Applies the edits of both files in order; an edit that is damaged in one file is taken from the other.
pub(super) fn fold(copies: &[Copy]) -> Folded {
    let nothing = |what: &str| Folded {
        manifest: Manifest::default(),
        broken: Some(what.to_owned()),
        later: Vec::new(),
    };
    let Some(header) = copies.iter().find_map(|copy| copy.header) else {
        return nothing("no valid header in MANIFEST and MANIFEST.2");
    };
    let payload = |number: u64| copies.iter().find_map(|copy| copy.payload(number));
    let mut numbers: Vec<u64> = copies.iter().flat_map(|copy| copy.edits.keys().copied()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let is_base = |number: &&u64| payload(**number).is_some_and(Edit::is_base);
    let Some(base) = numbers.iter().rev().find(is_base).copied() else {
        return nothing("no edit in MANIFEST and MANIFEST.2 that holds the whole list");
    };
    let behind: Vec<u64> = numbers.into_iter().filter(|number| *number >= base).collect();
    let folded = |until: u64| {
        let mut manifest = Manifest { store: header.store, lineage: header.lineage, ..Manifest::default() };
        for number in behind.iter().copied().take_while(|number| *number < until) {
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
                return Folded { manifest, broken: broken.map(|(_, what)| what), later: later.collect() };
            }
            Err(number) => broken = Some((number, format!("edit {number} of MANIFEST makes no sense"))),
        }
    }
}

/// The paths of both, in the order in which they are written.
pub(super) fn paths(layout: &Layout) -> [PathBuf; 2] {
    [layout.manifest(), layout.manifest_copy()]
}
