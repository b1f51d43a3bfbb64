//! What is left of a dead ring that had to make room: how many records its lanes had, and what was refused.
//!
//! Always true: a stub is whole before it has its name, and it has its name before the ring loses its own; so
//! whatever happens between, one of the two says how many records there were.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::crc::crc32c;
use crate::error::Error;
use crate::header::Header;
use crate::layout::{
    GONE_MAGIC, HEADER_BYTES, HEADER_CHECKED_BYTES, HEADER_REFUSED_SERIES, HEADER_STATE, MAGIC,
};
use crate::reader::Refusals;
use crate::sys;
use crate::unmapped::UnmappedRing;

/// Bytes of a lane in a stub.
const LANE_BYTES: usize = 64;
/// Behind the lanes: the checksum and four zeros.
const TAIL_BYTES: usize = 8;

/// One lane of a ring that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoneLane {
    /// How many records it ever had.
    pub(crate) next: u64,
    pub(crate) refusals: Refusals,
    /// Wall clock at its newest block, nanoseconds; zero where it had none.
    pub(crate) last: u64,
}

/// A stub as it was read.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) lanes_used: u32,
    pub(crate) refused_series: u64,
    pub(crate) lanes: Vec<GoneLane>,
}

impl Gone {
    /// What was refused, over all lanes.
    pub(crate) fn refusals(&self) -> Refusals {
        let mut total = Refusals { series: self.refused_series, ..Refusals::default() };
        for lane in &self.lanes {
            total.signal_handler = total.signal_handler.saturating_add(lane.refusals.signal_handler);
            total.too_big = total.too_big.saturating_add(lane.refusals.too_big);
            total.other = total.other.saturating_add(lane.refusals.other);
        }
        total
    }
}

/// Whether these are the first bytes of a stub.
pub(crate) fn is_stub(bytes: &[u8; HEADER_CHECKED_BYTES]) -> bool {
    bytes[..8] == GONE_MAGIC
}

/// The bytes FORMAT.md describes; `head` is the header as the ring has it.
fn encode(head: &[u8; HEADER_BYTES as usize], lanes: &[GoneLane]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes[..8].copy_from_slice(&GONE_MAGIC);
    for lane in lanes {
        let Refusals { signal_handler, too_big, other, .. } = lane.refusals;
        for word in [lane.next, signal_handler, too_big, other, lane.last, 0, 0, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let sum = crc32c(&[&bytes]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Reads a stub; `start` is its beginning, already read.
pub(crate) fn read(
    file: &File,
    start: &[u8; HEADER_CHECKED_BYTES],
    path: &Path,
) -> Result<(Header, Gone), Error> {
    let wrong = |offset: usize, found: String, expected: String| Error::Header {
        path: path.to_owned(),
        offset,
        found,
        expected,
    };
    // Its header is the ring's but for the magic, which the header's own checksum covers.
    let mut head = *start;
    head[..8].copy_from_slice(&MAGIC);
    let header = Header::decode(&head, path)?;
    let lanes_max = header.geometry.lanes_max as usize;
    let expected = HEADER_BYTES as usize + lanes_max * LANE_BYTES + TAIL_BYTES;
    let length = file.metadata().map_err(Error::io("cannot look at stub", path))?.len();
    if length != expected as u64 {
        return Err(wrong(
            104,
            format!("a stub of {length} bytes"),
            format!("{expected} for {lanes_max} lanes"),
        ));
    }
    let mut bytes = vec![0; expected];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("cannot read stub", path))?;
    let (summed, tail) = bytes.split_at(expected - TAIL_BYTES);
    let (sum, found) = (crc32c(&[summed]), u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if sum != found {
        return Err(wrong(summed.len(), format!("checksum {found:08x}"), format!("{sum:08x}")));
    }
    let words: Vec<u64> = summed.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let lanes = words[HEADER_BYTES as usize / 8..].as_chunks::<{ LANE_BYTES / 8 }>().0;
    let lane = |lane: &[u64; LANE_BYTES / 8]| GoneLane {
        next: lane[0],
        refusals: Refusals { series: 0, signal_handler: lane[1], too_big: lane[2], other: lane[3] },
        last: lane[4],
    };
    let gone = Gone {
        lanes_used: ((words[HEADER_STATE / 8] >> 32) as u32).min(header.geometry.lanes_max),
        refused_series: words[HEADER_REFUSED_SERIES / 8],
        lanes: lanes.iter().map(lane).collect(),
    };
    // What no ring can have had would make losses without end.
    if let Some(lane) = gone.lanes.iter().find(|lane| lane.next >= 1 << 62) {
        return Err(wrong(
            HEADER_BYTES as usize,
            format!("{} records in a lane", lane.next),
            "less than 2^62".into(),
        ));
    }
    Ok((header, gone))
}

/// The name of the stub that stands for the ring of that name.
pub(crate) fn stub_path(ring: &Path) -> PathBuf {
    ring.with_extension("gone")
}

/// Puts a stub in the place of a dead ring, whose name holds its incarnation.
pub(crate) fn replace(ring: &UnmappedRing) -> Result<(), Error> {
    let (head, lanes) = ring.remains().map_err(Error::io("cannot read ring", ring.path()))?;
    let (path, dir) = (stub_path(ring.path()), ring.path().parent().unwrap_or(Path::new("")));
    let mut random = [0; 8];
    sys::random(&mut random).map_err(Error::io("cannot read random numbers for", dir))?;
    let temporary = dir.join(format!(".tmp-{:016x}", u64::from_le_bytes(random)));
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&temporary)
        .and_then(|file| file.write_all_at(&encode(&head, &lanes), 0))
        .and_then(|()| std::fs::rename(&temporary, &path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io("cannot leave stub", &path)(error));
    }
    crate::directory::unlink(ring.path(), ring.file_id()).map(|_| ())
}
