//! Frames of a log: a checked header, a checked payload, and how a reader gets from a damaged frame to the next whole
//! one.

use crate::format::bytes::{u32_at, u64_at};

pub(crate) const FRAME_HEADER_BYTES: usize = 40;
/// The most payload bytes of a frame in a WAL file.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// The most payload bytes of an edit: the first edit of MANIFEST holds the whole list.
const EDIT_BYTES_MAX: usize = 1 << 30;
const MAGIC: &[u8; 4] = b"DFRM";

/// What a frame holds. A frame of an unknown kind is passed over and is no damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Names,
    Dots,
    Finish,
    End,
    /// An edit: what a commit changes in the list.
    Edit,
    Unknown,
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            FrameKind::Names => 1,
            FrameKind::Dots => 2,
            FrameKind::Finish => 4,
            FrameKind::End => 6,
            FrameKind::Edit => 7,
            FrameKind::Unknown => 0,
        }
    }

    fn of(code: u8) -> FrameKind {
        [FrameKind::Names, FrameKind::Dots, FrameKind::Finish, FrameKind::End, FrameKind::Edit]
            .into_iter()
            .find(|kind| kind.code() == code)
            .unwrap_or(FrameKind::Unknown)
    }

    const fn payload_bytes_max(self) -> usize {
        match self {
            FrameKind::Edit => EDIT_BYTES_MAX,
            _ => PAYLOAD_BYTES_MAX,
        }
    }
}

/// The file that a frame is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameFile {
    /// The number of the file.
    pub(crate) number: u64,
    /// How many file ids before this one the id epoch of a WAL file began; 0 in MANIFEST. Each frame says it, so that a
    /// damaged header costs no name.
    pub(crate) age: u16,
}

impl FrameFile {
    /// MANIFEST, or a WAL file in which an id epoch begins.
    pub(crate) fn first(number: u64) -> FrameFile {
        FrameFile { number, age: 0 }
    }
}

/// One whole frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) sequence: u64,
    /// As in [`FrameFile`].
    pub(crate) age: u16,
    pub(crate) payload: &'a [u8],
    /// Of the payload.
    pub(crate) checksum: u32,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    Frame(Frame<'a>),
    /// Bytes that are no frame; behind them there is a whole frame, or the end of the bytes.
    Damage {
        at: u64,
        until: u64,
        what: String,
    },
}

/// Appends a frame whose payload `fill` writes. Where the payload is too big, appends nothing and returns its size in
/// bytes.
pub(crate) fn push_frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    file: FrameFile,
    sequence: u64,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<(), usize> {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    fill(out);
    let payload_bytes = out.len() - start - FRAME_HEADER_BYTES;
    if payload_bytes > kind.payload_bytes_max() {
        out.truncate(start);
        return Err(payload_bytes);
    }
    let checksum = crc32c::crc32c(&out[start + FRAME_HEADER_BYTES..]);
    out.resize(start + FRAME_HEADER_BYTES + payload_bytes.next_multiple_of(8), 0);
    let header = &mut out[start..start + FRAME_HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4] = kind.code();
    header[6..8].copy_from_slice(&file.age.to_le_bytes());
    header[8..16].copy_from_slice(&file.number.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    header[24..28].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
    header[28..32].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The checksum of the payload of a frame.
///
/// - `frame`: as [`push_frame`] made it
pub(crate) fn payload_checksum(frame: &[u8]) -> u32 {
    u32_at(frame, 28)
}

/// For the fuzz targets: a frame of any type with any payload.
#[cfg(any(test, fuzzing))]
pub(crate) fn push_raw(out: &mut Vec<u8>, code: u8, file_id: u64, sequence: u64, payload: &[u8]) {
    let fill = |out: &mut Vec<u8>| out.extend_from_slice(payload);
    let _ = push_frame(out, FrameKind::of(code), FrameFile::first(file_id), sequence, fill);
}

/// Walks the frames of one file, or of a part of it that begins at a frame.
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    /// Offset in the file of the first of `bytes`.
    base: u64,
    place: usize,
    file_id: u64,
    /// One past the last whole frame.
    good: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64, file_id: u64) -> Items<'a> {
        Items { bytes, base, place: 0, file_id, good: 0 }
    }

    /// One past the last whole frame so far, as an offset in the file.
    pub(crate) fn good_until(&self) -> u64 {
        self.base + self.good as u64
    }

    /// The header at `place`, where there is a valid one: kind, sequence, payload bytes, payload checksum.
    fn header(&self, place: usize) -> Option<(FrameKind, u64, usize, u32)> {
        let header = self.bytes.get(place..place + FRAME_HEADER_BYTES)?;
        let valid = &header[..4] == MAGIC
            && u64_at(header, 8) == self.file_id
            && u32_at(header, 32) == crc32c::crc32c(&header[..32])
            && u32_at(header, 24) as usize <= FrameKind::of(header[4]).payload_bytes_max();
        valid.then(|| {
            (FrameKind::of(header[4]), u64_at(header, 16), u32_at(header, 24) as usize, u32_at(header, 28))
        })
    }

    /// The next place with a valid header, from `place` on; the end where there is none.
    fn next_header(&self, place: usize) -> usize {
        let mut place = place;
        while place + FRAME_HEADER_BYTES <= self.bytes.len() {
            if &self.bytes[place..place + 4] == MAGIC && self.header(place).is_some() {
                return place;
            }
            place += 8;
        }
        self.bytes.len()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.place >= self.bytes.len() {
            return None;
        }
        let place = self.place;
        let at = self.base + place as u64;
        let damage = |until: usize, what: String| Item::Damage { at, until: self.base + until as u64, what };
        let Some((kind, sequence, payload_bytes, expected)) = self.header(place) else {
            let until = self.next_header(place + 8);
            let item = damage(until, "no frame header".to_owned());
            self.place = until;
            return Some(item);
        };
        let start = place + FRAME_HEADER_BYTES;
        let until = start + payload_bytes.next_multiple_of(8);
        let Some(payload) =
            self.bytes.get(start..start + payload_bytes).filter(|_| until <= self.bytes.len())
        else {
            // The header says more bytes than there are: the file was cut, or the payload was never written.
            let until = self.next_header(place + 8);
            let item = damage(until, format!("a frame of {payload_bytes} bytes that ends beyond the file"));
            self.place = until;
            return Some(item);
        };
        let found = crc32c::crc32c(payload);
        if found != expected {
            // The length in it may be wrong too, so the search goes on right behind the header.
            let until = self.next_header(place + 8);
            let item = damage(until, format!("checksum {found:08x}, expected {expected:08x}"));
            self.place = until;
            return Some(item);
        }
        self.place = until;
        self.good = until;
        let age = u16::from_le_bytes([self.bytes[place + 6], self.bytes[place + 7]]);
        Some(Item::Frame(Frame { kind, sequence, age, payload, checksum: found }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        for sequence in 1..=5 {
            let fill =
                |out: &mut Vec<u8>| out.extend_from_slice(&vec![sequence as u8; sequence as usize * 9]);
            let file = FrameFile { number: 7, age: sequence as u16 * 1000 };
            push_frame(&mut bytes, FrameKind::Dots, file, sequence, fill).unwrap();
        }
        bytes
    }

    fn sequences(bytes: &[u8]) -> (Vec<u64>, usize) {
        let mut items = Items::new(bytes, 4096, 7);
        let mut damaged = 0;
        let mut found = Vec::new();
        for item in &mut items {
            match item {
                Item::Frame(frame) => {
                    assert_eq!(u64::from(frame.age), frame.sequence * 1000);
                    found.push(frame.sequence);
                }
                Item::Damage { .. } => damaged += 1,
            }
        }
        (found, damaged)
    }

    #[test]
    fn a_damaged_frame_costs_no_other() {
        let clean = file();
        assert_eq!(sequences(&clean), (vec![1, 2, 3, 4, 5], 0));
        for bit in 0..clean.len() * 8 {
            let mut bytes = clean.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (found, _) = sequences(&bytes);
            // Bits between fields belong to no checksum; all others cost exactly their own frame.
            assert!(found.len() >= 4, "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn a_torn_tail_ends_after_the_last_whole_frame() {
        let clean = file();
        for cut in 0..clean.len() {
            let mut items = Items::new(&clean[..cut], 4096, 7);
            let whole = items.by_ref().filter(|item| matches!(item, Item::Frame(_))).count();
            assert!(items.good_until() <= 4096 + cut as u64);
            assert!(whole <= 5);
        }
        let mut zeros = clean.clone();
        zeros.resize(clean.len() + 1000, 0);
        let mut items = Items::new(&zeros, 0, 7);
        items.by_ref().for_each(drop);
        assert_eq!(items.good_until(), clean.len() as u64);
    }

    #[test]
    fn frames_of_another_file_do_not_count() {
        assert_eq!(Items::new(&file(), 0, 8).filter(|item| matches!(item, Item::Frame(_))).count(), 0);
    }
}
