//! Times of a chunk that stand in an earlier chunk of its segment.
//!
//! Only the times column of the earlier chunk is read, and compared with the checksum in the reference: damage of its
//! values costs nobody else, and damage of its times costs each chunk that refers to them, never gives wrong times.

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
        let front = front
            .filter(|front| front.count == count && front.end <= at - start)
            .ok_or_else(|| format!("times in the chunk at {start}, where no chunk of {count} dots is"))?;
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
    start
        .filter(|start| (HEADER_BYTES..at).contains(start))
        .ok_or_else(|| format!("times in a chunk {} bytes before, where no chunk is", reference.distance))
}
