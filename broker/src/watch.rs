//! Which ring files there are, and which of them are open.
//!
//! Always true: a ring is known by its incarnation, whatever its file is called; at most `open_max` rings are open
//! at once, and where there are more the idle ones give way in turn, so that every one is looked at again and again
//! while memory stays within its bound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dotter_daemon::{Log, chain};
use dotter_dot::Incarnation;
use dotter_ring::{FileId, RingReader, directory};

use crate::follow::{Follow, Memory};
use crate::totals::Totals;

/// When a file that is no ring is looked at again.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);
/// When a ring that was finished and could not be removed is looked at again.
const FINISHED_AGAIN: Duration = Duration::from_secs(60);
/// How long a ring is open at least before it gives way.
const TURN: Duration = Duration::from_millis(250);
/// How soon a ring that gave way is looked at again at the earliest.
const IDLE_AGAIN: Duration = Duration::from_secs(1);

/// Names of series held in memory over all rings, of some hundred bytes each.
const NAMES_MAX: usize = 32_768;

/// The rings at one place.
pub(crate) struct Watch {
    place: directory::Place,
    open_max: usize,
    pub(crate) rings: BTreeMap<Incarnation, Follow>,
    /// Where an open ring was found last.
    paths: HashMap<PathBuf, (FileId, Incarnation)>,
    /// Names that are not open now.
    closed: HashMap<PathBuf, Closed>,
    broker: String,
    unseen: usize,
}

/// A name whose file is not open.
struct Closed {
    file: Option<FileId>,
    /// Not to be opened before, unless it is another file by then.
    not_before: Instant,
    memory: Option<(Incarnation, Memory)>,
}

impl Watch {
    pub(crate) fn new(place: directory::Place, broker: String, open_max: usize) -> Watch {
        let (rings, paths, closed) = Default::default();
        Watch { place, open_max, rings, paths, closed, broker, unseen: 0 }
    }

    /// Looks at the names that are there: opens what is new, notes what is gone, lets idle rings give way.
    pub(crate) fn scan(&mut self, now: Instant, log: &Log, totals: &mut Totals) -> io::Result<()> {
        let names = directory::scan(&self.place)?;
        let mut seen = HashSet::new();
        let mut candidates = Vec::new();
        let listed: HashSet<&PathBuf> = names.iter().collect();
        self.closed.retain(|path, _| listed.contains(path));
        self.paths.retain(|path, _| listed.contains(path));
        for path in &names {
            if let Some((file, incarnation)) = self.paths.get(path) {
                if file_at(path) == Some(*file) {
                    seen.insert(*incarnation);
                    continue;
                }
                self.paths.remove(path);
            }
            match self.closed.get(path) {
                Some(closed) if now < closed.not_before && file_at(path) == closed.file => {}
                Some(closed) => candidates.push((Some(closed.not_before), path)),
                None => candidates.push((None, path)),
            }
        }
        // New names first, then those that have waited longest.
        candidates.sort();
        if candidates.len() > self.open_max.saturating_sub(self.rings.len()) {
            self.give_way(now, candidates.len());
        }
        self.unseen = 0;
        for (not_before, path) in candidates {
            if self.rings.len() >= self.open_max {
                self.unseen += usize::from(not_before.is_none());
                continue;
            }
            if let Some(incarnation) = self.open(path, now, log, totals) {
                seen.insert(incarnation);
            }
        }
        for (incarnation, ring) in &mut self.rings {
            ring.present = seen.contains(incarnation);
        }
        Ok(())
    }

    /// Reads another place from the next scan on.
    pub(crate) fn set_place(&mut self, place: directory::Place) {
        self.place = place;
    }

    /// Another store answers now: what is remembered of the one before is worth nothing.
    pub(crate) fn ask_store(&mut self, store: &str) {
        self.rings.values_mut().for_each(|ring| ring.ask_store(store));
        self.closed.values_mut().for_each(|closed| closed.memory = None);
    }

    /// Keeps the memory for names of series within its bound; the ring that was read last keeps its own.
    pub(crate) fn let_names_go(&mut self, keep: Incarnation) {
        let held = |rings: &BTreeMap<_, Follow>| rings.values().map(Follow::names_held).sum::<usize>();
        if held(&self.rings) <= NAMES_MAX {
            return;
        }
        for (incarnation, ring) in &mut self.rings {
            if *incarnation != keep && ring.names_held() > 0 {
                ring.let_names_go();
            }
        }
    }

    /// Names that found no place yet.
    pub(crate) fn unseen(&self) -> usize {
        self.unseen
    }

    fn open(&mut self, path: &Path, now: Instant, log: &Log, totals: &mut Totals) -> Option<Incarnation> {
        let mut reader = match RingReader::open(path) {
            Ok(reader) => reader,
            Err(error) => {
                let file = file_at(path);
                let known = self.closed.get(path).is_some_and(|closed| closed.file == file);
                // Gone between the scan and now is no news.
                if !known && file.is_some() {
                    totals.files_refused += 1;
                    log.info(&format!(
                        "skipped {}, to be looked at again: {}",
                        path.display(),
                        chain(&error)
                    ));
                }
                self.close(path, file, now + REFUSED_AGAIN, None);
                return None;
            }
        };
        let (file, incarnation) = (reader.file_id(), reader.incarnation());
        if let Some(ring) = self.rings.get_mut(&incarnation) {
            if ring.reader.file_id() != file {
                if !self.closed.contains_key(path) {
                    log.info(&format!(
                        "skipped {}: a copy of {}, which is the same ring",
                        path.display(),
                        ring.reader.path().display()
                    ));
                }
                self.close(path, Some(file), now + REFUSED_AGAIN, None);
                return None;
            }
            ring.reader.set_path(path.to_owned());
        } else {
            reader.set_path(path.to_owned());
            let mut ring = Follow::new(reader, &self.broker, now);
            let memory = self.closed.get_mut(path).and_then(|closed| closed.memory.take());
            if let Some((_, memory)) = memory.filter(|(of, _)| *of == incarnation) {
                ring.recall(memory);
            }
            self.rings.insert(incarnation, ring);
        }
        self.closed.remove(path);
        self.paths.insert(path.to_owned(), (file, incarnation));
        Some(incarnation)
    }

    fn close(
        &mut self,
        path: &Path,
        file: Option<FileId>,
        not_before: Instant,
        memory: Option<(Incarnation, Memory)>,
    ) {
        self.closed.insert(path.to_owned(), Closed { file, not_before, memory });
    }

    /// Closes up to `count` rings that have nothing to post, those that were quiet longest first.
    fn give_way(&mut self, now: Instant, count: usize) {
        let idle = |ring: &Follow| {
            ring.present && ring.is_idle(now) && now.saturating_duration_since(ring.opened()) >= TURN
        };
        let mut quiet: Vec<_> = self
            .rings
            .iter()
            .filter(|(_, ring)| idle(ring))
            .map(|(incarnation, ring)| (ring.quiet_since(), *incarnation))
            .collect();
        quiet.sort();
        for (_, incarnation) in quiet.into_iter().take(count) {
            self.forget(incarnation, now + IDLE_AGAIN, true);
        }
    }

    /// Closes rings whose files were cut short under us; they are looked at again later.
    pub(crate) fn drop_broken(&mut self, now: Instant, log: &Log, totals: &mut Totals) {
        let broken: Vec<_> = self
            .rings
            .iter()
            .filter(|(_, ring)| ring.is_broken())
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in broken {
            let path = self.rings[&incarnation].reader.path().display().to_string();
            totals.files_refused += 1;
            log.info(&format!(
                "ring {path} was cut short while it was open: what it held and was not posted is lost, \
                 its end stays unknown; to be looked at again"
            ));
            self.forget(incarnation, now + REFUSED_AGAIN, false);
        }
    }

    /// Closes a ring that is finished; its name, if it is still there, is left alone for a while.
    pub(crate) fn forget_finished(&mut self, incarnation: Incarnation, now: Instant) {
        self.forget(incarnation, now + FINISHED_AGAIN, false);
    }

    fn forget(&mut self, incarnation: Incarnation, not_before: Instant, remember: bool) {
        let Some(ring) = self.rings.remove(&incarnation) else { return };
        self.paths.retain(|_, (_, known)| *known != incarnation);
        let (path, file) = (ring.reader.path().to_owned(), ring.reader.file_id());
        let memory = if remember { ring.memory().map(|memory| (incarnation, memory)) } else { None };
        self.close(&path, Some(file), not_before, memory);
    }
}

/// Which file a name leads to, without following it further.
fn file_at(path: &Path) -> Option<FileId> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some(FileId { device: metadata.dev(), inode: metadata.ino() })
}
