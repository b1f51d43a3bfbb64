//! Times of a chunk that stand in an earlier chunk of its segment.
//!
//! Only the times column of the earlier chunk is read, and compared with the checksum in the reference: damage of its
//! values costs no other chunk. Damage of its times costs each chunk that refers to them; wrong times are never given.

use std::rc::Rc;

use crate::error::Error;
use crate::format::bytes::Fields;
use crate::format::chunk;
use crate::format::codec::{Span, times};
use crate::format::earlier::{FRONT_BYTES, Front, Reference};
use crate::format::segment::ChunkRef;
use crate::format::segment::tail::HEADER_BYTES;
use crate::read::lately;
use crate::read::segment::Segment;

/// A chunk of a segment that is to be copied into another one.
pub(crate) struct Copied {
    pub(crate) bytes: Vec<u8>,
    pub(crate) front: Front,
    /// Its times column, or that of the earlier chunk that has its times.
    pub(crate) times: Vec<u8>,
}

impl Segment {
    /// Copies a chunk that is in no shared block.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where it, or the times that it refers to, do not match their checksum.
    pub(crate) fn copy(&self, chunk: &ChunkRef) -> Result<Copied, Error> {
        // The copy is checked, so what is checked cannot become zeros later.
        let bytes = self.get(chunk.at..chunk.at + chunk.bytes)?.to_vec();
        let copied = chunk::check(&bytes).map(|_| ()).and_then(|()| {
            let senseless = || "a chunk whose fields make no sense".to_owned();
            let front = Front::take(&bytes).filter(|front| front.end <= bytes.len()).ok_or_else(senseless)?;
            let times = if front.tag == times::EARLIER {
                let reference = Reference::take(&bytes[front.bytes..front.end]).ok_or_else(senseless)?;
                self.earlier_column(chunk.at, reference, front.count)?
            } else {
                bytes[front.column..front.end].to_vec()
            };
            Ok((front, times))
        });
        let (front, times) = copied.map_err(|what| self.damaged(chunk.at, what))?;
        Ok(Copied { bytes, front, times })
    }

    /// The times that a chunk at `at` refers to, `count` of them.
    pub(super) fn earlier_times(
        &self,
        at: usize,
        reference: Reference,
        count: usize,
    ) -> Result<Rc<Vec<u64>>, String> {
        let start = start(at, reference)?;
        lately::times(self.key(start), reference.checksum, || {
            let column = self.earlier_column(at, reference, count)?;
            let mut all = Vec::new();
            chunk::take_column(&mut Fields(&column), false)
                .and_then(|(tag, bytes)| times::decode(tag, bytes, count, Span::default(), &mut all))
                .map(|_| all)
                .ok_or_else(|| format!("times in the chunk at {start} that make no sense"))
        })
    }

    /// The times column that a chunk at `at` refers to. It is copied before it is checked.
    fn earlier_column(&self, at: usize, reference: Reference, count: usize) -> Result<Vec<u8>, String> {
        let start = start(at, reference)?;
        let unread = |error: Error| format!("times in the chunk at {start}: {error}");
        let front = Front::take(&self.get(start..at.min(start + FRONT_BYTES)).map_err(unread)?);
        let is_right =
            |front: &Front| front.count == count && front.tag != times::EARLIER && front.end <= at - start;
        let front = front.filter(is_right).ok_or_else(|| {
            format!("its times are those of the chunk at {start}, but no chunk with {count} times of its own is there")
        })?;
        let column = self.get(start + front.column..start + front.end).map_err(unread)?.to_vec();
        let found = crc32c::crc32c(&column);
        if found != reference.checksum {
            let expected = reference.checksum;
            return Err(format!(
                "times in the chunk at {start}: checksum {found:08x}, expected {expected:08x}"
            ));
        }
        Ok(column)
    }
}

/// Where the chunk begins that a chunk at `at` refers to.
fn start(at: usize, reference: Reference) -> Result<usize, String> {
    let distance = usize::try_from(reference.distance).ok();
    let start = distance.and_then(|distance| at.checked_sub(distance));
    start.filter(|start| (HEADER_BYTES..at).contains(start)).ok_or_else(|| {
        format!("its times are those of a chunk {} bytes before, where no chunk is", reference.distance)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use dotter_dot::{Column, SeriesName, Timestamp};

    use super::*;
    use crate::disk::layout::Layout;
    use crate::disk::manifest;

    fn open(dir: &Path) -> Segment {
        let layout = Layout::new(dir);
        let entry = manifest::read(&layout).unwrap().segments.last().unwrap().clone();
        Segment::open(&layout.segment(&entry.name), &entry).unwrap()
    }

    /// Three series with dots at the same times, which take more bytes than a reference.
    fn store(dir: &Path) -> Vec<ChunkRef> {
        let mut dots = Vec::new();
        for series in ["a", "b", "c"] {
            let name = SeriesName::new(series).unwrap();
            let time = |n: u64| Timestamp::from_nanos(n * 1_000_000 + n.wrapping_mul(0x9E37_79B9) % 999);
            dots.extend((1..200).map(|n| (name.clone(), time(n), n as f64)));
        }
        crate::add(dir, dots).unwrap();
        let segment = open(dir);
        let mut chunks = Vec::new();
        ["a", "b", "c"]
            .iter()
            .for_each(|name| segment.chunks(name, None, |chunk| chunks.push(chunk)).unwrap());
        chunks
    }

    #[test]
    fn a_reference_means_times_that_are_stored_in_an_earlier_chunk_or_it_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let chunks = store(dir.path());
        let [first, second, third] = &chunks[..] else { panic!("a chunk each") };
        let segment = open(dir.path());
        let path = Layout::new(dir.path()).segment(&segment.entry().name);
        let whole = fs::read(&path).unwrap();
        let column = |chunk: &ChunkRef| column_of(&whole, chunk);
        let checksum = |chunk: &ChunkRef| crc32c::crc32c(&column(chunk));
        let right = Reference { distance: (third.at - first.at) as u64, checksum: checksum(first) };
        assert_eq!(column(third), right.column());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let wrong = [
            // A chunk that refers to another one.
            (Reference { distance: (third.at - second.at) as u64, checksum: checksum(second) }, "of its own"),
            (Reference { checksum: !right.checksum, ..right }, "checksum"),
            (Reference { distance: third.at as u64 - 15, ..right }, "where no chunk is"),
            (Reference { distance: third.at as u64 + 1, ..right }, "where no chunk is"),
            (Reference { distance: right.distance - 1, ..right }, "the chunk at 17"),
            (Reference { distance: 0, ..right }, "where no chunk is"),
        ];
        for (reference, expected) in [(right, "")].into_iter().chain(wrong) {
            let mut bytes = whole.clone();
            // As many bytes as that of the right distance.
            let mut changed = reference.column();
            while changed.len() < right.column().len() {
                let last = changed.len() - 5;
                changed[last] |= 0x80;
                changed.insert(last + 1, 0);
                changed[1] += 1;
            }
            let chunk = &whole[third.at..third.at + third.bytes];
            let mut again = Vec::new();
            chunk::encode_again(chunk, &Front::take(chunk).unwrap(), &changed, &mut again);
            assert_eq!(again.len(), third.bytes);
            bytes[third.at..third.at + third.bytes].copy_from_slice(&again);
            fs::write(&path, &bytes).unwrap();
            let segment = open(dir.path());
            let (mut out, mut expected_dots) = (Column::default(), Column::default());
            segment.read(second, &mut expected_dots).unwrap();
            let read = segment.read(third, &mut out);
            if expected.is_empty() {
                assert_eq!((read.is_ok(), &out), (true, &expected_dots));
                assert_eq!(segment.copy(third).unwrap().times, column(first));
                continue;
            }
            let told = read.unwrap_err().to_string();
            assert!(told.contains(expected) && out.is_empty(), "{reference:?}: {told}");
            assert!(segment.copy(third).is_err(), "{reference:?}");
        }
    }

    fn column_of(file: &[u8], chunk: &ChunkRef) -> Vec<u8> {
        let bytes = &file[chunk.at..chunk.at + chunk.bytes];
        let front = Front::take(bytes).unwrap();
        bytes[front.column..front.end].to_vec()
    }
}
