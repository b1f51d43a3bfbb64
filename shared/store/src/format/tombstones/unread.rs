//! Tombstones as the list has them on disk, each checked but not decoded.
//!
//! Of each there is kept what tells of nearly all series that it does not mean them. The few that are left are decoded,
//! each once.

use std::sync::OnceLock;

use super::sets::Sets;
use crate::format::bytes::Fields;
use crate::format::listing::Order;
use crate::format::tombstone::{Told, Tombstone};

/// Beyond so many they are decoded: each of them is looked at for each series that is read.
const UNREAD_MAX: usize = 2048;

#[derive(Clone, Debug, Default)]
pub(super) struct Unread {
    /// As [`Tombstone::encode`] writes them, one behind the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Of those whose pattern is a name as it stands: a digest of the name, and which of all they are.
    names: Vec<(u32, u32)>,
    /// Of the others: how names begin that they mean, and which of all they are.
    others: Vec<(Beginning, u32)>,
    /// All of them, once somebody has asked for that.
    sets: OnceLock<Sets>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Where it begins in the bytes.
    at: usize,
    order: Order,
    decoded: OnceLock<Box<Tombstone>>,
}

/// What tells of a text whether a name may begin with it: its length in bytes, and its last bytes.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    bytes: usize,
    end: u64,
}

impl Beginning {
    fn of(text: &[u8]) -> Beginning {
        let mut end = [0; 8];
        let count = text.len().min(8);
        end[..count].copy_from_slice(&text[text.len() - count..]);
        Beginning { bytes: text.len(), end: u64::from_le_bytes(end) }
    }

    fn may_begin(&self, name: &[u8]) -> bool {
        name.get(..self.bytes).is_some_and(|front| Beginning::of(front).end == self.end)
    }
}

impl Unread {
    /// Whether so many more may be added.
    pub(super) fn has_room_for(&self, count: usize) -> bool {
        self.entries.len() + count <= UNREAD_MAX && self.read().is_none()
    }

    /// Adds some, for which there is room. `None` where one makes no sense.
    pub(super) fn take(&mut self, count: usize, fields: &mut Fields<'_>) -> Option<()> {
        let (all, before) = (fields.0, self.bytes.len());
        self.entries.reserve(count);
        for _ in 0..count {
            let at = before + all.len() - fields.0.len();
            let Told { order, pattern, .. } = Told::decode(fields)?;
            let (pattern, which) = (pattern.as_bytes(), self.entries.len() as u32);
            self.entries.push(Entry { at, order, decoded: OnceLock::new() });
            match pattern.iter().position(|byte| b"%\\".contains(byte)) {
                None => self.names.push((digest(pattern), which)),
                Some(special) => self.others.push((Beginning::of(&pattern[..special]), which)),
            }
        }
        self.bytes.extend_from_slice(&all[..all.len() - fields.0.len()]);
        Some(())
    }

    /// Those that mean a series.
    pub(super) fn of(&self, name: &str) -> Vec<&Tombstone> {
        let (text, wanted) = (name.as_bytes(), digest(name.as_bytes()));
        let names = self.names.iter().filter(|(digest, _)| *digest == wanted).map(|(_, which)| *which);
        let others = self.others.iter().filter(|(beginning, _)| beginning.may_begin(text));
        let decoded = names.chain(others.map(|(_, which)| *which)).map(|which| self.decoded(which));
        decoded.filter(|tombstone| tombstone.names(name)).collect()
    }

    /// The sequences at which they stand.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.order.sequence)
    }

    /// All of them, where they are decoded already.
    pub(super) fn read(&self) -> Option<&Sets> {
        self.sets.get()
    }

    /// All of them.
    pub(super) fn sets(&self) -> &Sets {
        self.sets.get_or_init(|| {
            let mut fields = Fields(&self.bytes);
            self.entries.iter().map(|_| Tombstone::decode(&mut fields).expect("it was checked")).collect()
        })
    }

    fn decoded(&self, which: u32) -> &Tombstone {
        let entry = &self.entries[which as usize];
        entry.decoded.get_or_init(|| {
            let mut fields = Fields(&self.bytes[entry.at..]);
            Box::new(Tombstone::decode(&mut fields).expect("it was checked"))
        })
    }
}

/// A number that nearly always differs where texts do.
fn digest(text: &[u8]) -> u32 {
    let mut sum = text.len() as u64;
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    (sum >> 16) as u32
}
