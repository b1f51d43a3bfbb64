//! The registry: the names behind the series numbers of a ring, append-only.
//!
//! Always true: everything below `committed` is whole entries, numbered 0, 1, 2, ... in order.

use dotter_dot::{Format, NameError, SeriesName};

use crate::crc::crc32c;
use crate::layout::{ENTRY_HEAD_BYTES, REGISTRY_COMMITTED, REGISTRY_ENTRIES, SERIES_MAX, word};
use crate::record::{Kind, Shape};
use crate::sync::{Acquire, AtomicU64, Relaxed, Release};

/// A series as the ring names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesEntry {
    /// The number its records carry.
    pub id: u32,
    /// Its name; the publisher may be anybody, so it may be none.
    pub name: Result<SeriesName, NameError>,
    /// The name as it stands in the ring.
    pub raw_name: Vec<u8>,
    /// The kind of its records, where this build knows it; those of another kind are not this series'.
    pub kind: Option<Kind>,
    /// The shape of its values.
    pub format: Format,
    /// The unit for the page; empty where there is none.
    pub unit: String,
    /// Names of the columns; empty where they have none.
    pub columns: Vec<String>,
}

/// The bytes of one entry; `None` where a part is too long for its field.
pub(crate) fn encode(id: u32, name: &SeriesName, shape: &Shape, unit: &str) -> Option<Vec<u8>> {
    let letters = shape.format.as_str().as_bytes();
    let mut entry = vec![0; 8];
    entry.extend_from_slice(&id.to_le_bytes());
    entry.extend_from_slice(&[shape.kind as u8, letters.len() as u8]);
    entry.extend_from_slice(&u16::try_from(name.as_str().len()).ok()?.to_le_bytes());
    entry.extend_from_slice(&u16::try_from(unit.len()).ok()?.to_le_bytes());
    entry.extend_from_slice(&0_u16.to_le_bytes());
    entry.extend_from_slice(letters);
    for index in 0..letters.len() {
        // A column without a name has an empty one.
        let column = shape.columns.get(index).map_or("", String::as_str);
        entry.push(u8::try_from(column.len()).ok()?);
        entry.extend_from_slice(column.as_bytes());
    }
    entry.extend_from_slice(name.as_str().as_bytes());
    entry.extend_from_slice(unit.as_bytes());
    entry.resize(entry.len().next_multiple_of(8), 0);
    let length = entry.len() as u32;
    entry[..4].copy_from_slice(&length.to_le_bytes());
    let sum = crc32c(&[&entry]);
    entry[4..8].copy_from_slice(&sum.to_le_bytes());
    Some(entry)
}

/// Reads one whole entry, `None` where it makes no sense.
fn decode(entry: &[u8], id: u32) -> Option<SeriesEntry> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(entry.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
    if crc32c(&[&entry[..4], &[0; 4], entry.get(8..)?]) != u32_at(4)? || u32_at(8)? != id {
        return None;
    }
    let (kind, columns_count) = (Kind::of_code(*entry.get(12)?), *entry.get(13)? as usize);
    let (name_bytes, unit_bytes) = (u16_at(14)?, u16_at(16)?);
    let mut rest = entry.get(ENTRY_HEAD_BYTES..)?;
    let mut take = |bytes: usize| {
        let part = rest.get(..bytes)?;
        rest = &rest[bytes..];
        Some(part)
    };
    let format = Format::new(std::str::from_utf8(take(columns_count)?).ok()?).ok()?;
    let mut columns = Vec::new();
    for _ in 0..columns_count {
        let bytes = take(1)?[0] as usize;
        columns.push(String::from_utf8(take(bytes)?.to_vec()).ok()?);
    }
    if columns.iter().all(String::is_empty) {
        columns.clear();
    }
    let raw_name = take(name_bytes)?.to_vec();
    let unit = String::from_utf8(take(unit_bytes)?.to_vec()).ok()?;
    Some(SeriesEntry { id, name: SeriesName::from_bytes(&raw_name), raw_name, kind, format, unit, columns })
}

/// The writer's end: appends entries.
pub(crate) struct Writer {
    used: usize,
    count: u32,
}

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer { used: REGISTRY_ENTRIES, count: 0 }
    }

    /// Appends a series and gives its number; `None` where there is no room for it.
    pub(crate) fn push(
        &mut self,
        words: &[AtomicU64],
        name: &SeriesName,
        shape: &Shape,
        unit: &str,
    ) -> Option<u32> {
        if self.count == SERIES_MAX {
            return None;
        }
        let id = self.count;
        let entry = encode(id, name, shape, unit)?;
        let cells = words.get(self.used / 8..(self.used + entry.len()) / 8)?;
        for (cell, bytes) in cells.iter().zip(entry.as_chunks::<8>().0) {
            cell.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        self.used += entry.len();
        self.count += 1;
        // Release, pair "series named": whoever sees the new length sees the entry. The Acquire half is in
        // `Reader::read_on`.
        words[word(REGISTRY_COMMITTED)].store(self.used as u64, Release);
        Some(id)
    }
}

/// A reader's end: entries as far as they were read and make sense.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    entries: Vec<SeriesEntry>,
    /// Bytes read so far, from the first entry on.
    used: usize,
    /// An entry made no sense: nothing behind it can be found.
    damaged: bool,
}

impl Reader {
    /// The series numbered `id`, reading on where it is new; `None` where the registry does not have it.
    pub(crate) fn series(&mut self, words: &[AtomicU64], id: u32) -> Option<&SeriesEntry> {
        if id as usize >= self.entries.len() && !self.damaged {
            self.damaged = self.read_on(words).is_none();
        }
        self.entries.get(id as usize)
    }

    /// Takes all entries that are new; `None` where one makes no sense.
    fn read_on(&mut self, words: &[AtomicU64]) -> Option<()> {
        // Acquire, pair "series named": the Release half is in `Writer::push`.
        let committed = usize::try_from(words[word(REGISTRY_COMMITTED)].load(Acquire)).ok()?;
        if committed == 0 {
            return Some(());
        }
        if committed > words.len() * 8 || !committed.is_multiple_of(8) {
            return None;
        }
        while REGISTRY_ENTRIES + self.used < committed {
            let start = REGISTRY_ENTRIES + self.used;
            let length = words[start / 8].load(Relaxed) as u32 as usize;
            if length < ENTRY_HEAD_BYTES || !length.is_multiple_of(8) || length > committed - start {
                return None;
            }
            let cells = &words[start / 8..(start + length) / 8];
            let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.load(Relaxed).to_le_bytes()).collect();
            let id = self.entries.len() as u32;
            if id == SERIES_MAX {
                return None;
            }
            self.entries.push(decode(&bytes, id)?);
            self.used += length;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: usize) -> Vec<AtomicU64> {
        (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn entries_read_as_they_were_written_also_later_ones() {
        let words = words(4096);
        let (mut writer, mut reader) = (Writer::new(), Reader::default());
        assert_eq!(reader.series(&words, 0), None);
        let check = |writer: &mut Writer, reader: &mut Reader, id: u32, name: &str, unit: &str| {
            let name = SeriesName::new(name).unwrap();
            assert_eq!(writer.push(&words, &name, &Shape::number::<f64>(), unit), Some(id));
            let entry = reader.series(&words, id).unwrap();
            assert_eq!((entry.name.as_ref(), &*entry.unit, entry.kind), (Ok(&name), unit, Some(Kind::F64)));
            assert!(entry.format.is_number());
        };
        check(&mut writer, &mut reader, 0, "a", "");
        check(&mut writer, &mut reader, 1, "größe;b=c", "ms");
        check(&mut writer, &mut reader, 2, &"x".repeat(1000), "°C");
    }

    #[test]
    fn every_shape_reads_as_it_was_written() {
        let words = words(8192);
        let (mut writer, mut reader) = (Writer::new(), Reader::default());
        let row = |format: &str, columns: &[&str]| {
            Shape::row(Format::new(format).unwrap(), columns.iter().map(|name| (*name).to_owned()).collect())
        };
        let wide = row(&"fFuUiI".repeat(11)[..64], &["column"; 64]);
        let shapes = [
            Some(Shape::number::<i64>()),
            Some(Shape::number::<u64>()),
            Some(Shape::number::<f32>()),
            Some(Shape::text()),
            Some(Shape::bytes()),
            row("F", &[]),
            row("Fu", &["größe", ""]),
            wide,
        ];
        for (id, shape) in (0..).zip(shapes) {
            let (shape, name) = (shape.unwrap(), SeriesName::new("a").unwrap());
            assert_eq!(writer.push(&words, &name, &shape, "ms"), Some(id));
            let entry = reader.series(&words, id).unwrap();
            assert_eq!(entry.kind, Some(shape.kind));
            assert_eq!((&entry.format, &entry.columns), (&shape.format, &shape.columns));
        }
        assert_eq!(row("Fs", &["a", "b"]), None, "a row holds no text");
        assert_eq!(row("Fb", &["a", "b"]), None, "a row holds no raw bytes");
        assert_eq!(row("FF", &["a"]), None, "a name for each column or none");
        assert_eq!(row("F", &[&"x".repeat(256)]), None);
    }

    #[test]
    fn a_full_registry_takes_no_more_and_keeps_what_it_has() {
        let words = words(4096);
        let mut writer = Writer::new();
        let mut count = 0;
        while writer
            .push(&words, &SeriesName::new(&format!("series.{count}")).unwrap(), &Shape::number::<f64>(), "")
            .is_some()
        {
            count += 1;
        }
        assert!(count > 50, "{count}");
        let mut reader = Reader::default();
        let last = reader.series(&words, count - 1).unwrap();
        assert_eq!(last.raw_name, format!("series.{}", count - 1).as_bytes());
        assert_eq!(reader.series(&words, count), None);
    }

    #[test]
    fn a_damaged_entry_hides_what_lies_behind_it_and_nothing_else() {
        let words = words(4096);
        let mut writer = Writer::new();
        for name in ["a", "b", "c"] {
            writer.push(&words, &SeriesName::new(name).unwrap(), &Shape::number::<f64>(), "").unwrap();
        }
        words[(REGISTRY_ENTRIES + 24) / 8 + 2].fetch_xor(1 << 40, Relaxed);
        let mut reader = Reader::default();
        assert!(reader.series(&words, 0).is_some());
        assert_eq!(reader.series(&words, 1), None);
        assert_eq!(reader.series(&words, 2), None);
    }
}
