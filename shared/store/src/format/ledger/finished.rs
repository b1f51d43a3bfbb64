//! Files of finished rings: which rings have finished, 16 bytes each, sorted. Whoever asks maps them and searches;
//! nothing is decoded.
//!
//! A file never changes. Some files next to each other in time become one; a file goes when its newest ring is old
//! enough. Bytes: FORMAT.md, "Finished rings".
//!
//! Always true: a ring that is found has finished, whatever is damaged. A ring that is not found where something is
//! damaged may have finished: [`Found::Unsure`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dotter_dot::{Incarnation, put_varint};

use crate::format::bytes::{Fields, u32_at, u64_at};
use crate::format::ledger::application::Application;
use crate::format::ledger::files::{LedgerFile, nanos};
use crate::format::listing::StoreId;

const MAGIC: &[u8; 8] = b"DOTTRLED";
pub(crate) const VERSION: u32 = 3;
pub(crate) const HEADER_BYTES: usize = 96;
const RING_BYTES: usize = 16;
/// Rings that one checksum vouches for.
const BLOCK_RINGS: usize = 256;
const BLOCK_BYTES: usize = BLOCK_RINGS * RING_BYTES;
/// Of each block in the directory: its first ring, its checksum.
const PLACE_BYTES: usize = RING_BYTES + 4;
/// The most applications' sums in a file, in bytes; a file has all of them or none.
const SUMS_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(HEADER_BYTES.is_multiple_of(RING_BYTES), "no ring lies across a page");

/// The sums of all applications, by name; shared by the copies of a ledger.
pub(crate) type Sums = BTreeMap<String, Arc<Application>>;

/// The bytes of a file.
pub(crate) trait Content: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Whether some could not be read, and are zeros.
    fn is_broken(&self) -> bool;
}

impl Content for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn is_broken(&self) -> bool {
        false
    }
}

/// What is known of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has finished.
    Yes,
    /// It has not, or long ago.
    No,
    /// It is not found, and something is damaged where it would stand.
    Unsure,
}

/// A file, open.
pub(crate) struct FinishedFile {
    /// As the list has it.
    pub(crate) listing: LedgerFile,
    content: Box<dyn Content>,
    /// Why it cannot be searched, where it is missing, or header or directory are damaged.
    flaw: Option<String>,
    /// A bit for each block: whether its checksum was found right.
    checked: Vec<AtomicU64>,
}

impl fmt::Debug for FinishedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FinishedFile { listing, flaw, .. } = self;
        f.debug_struct("FinishedFile").field("listing", listing).field("flaw", flaw).finish()
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    pub(crate) number: u64,
    pub(crate) rings: u64,
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    sums_bytes: u32,
    sums_checksum: u32,
    directory_checksum: u32,
}

impl Header {
    /// The version of a header whose checksum is right.
    pub(crate) fn version(bytes: &[u8]) -> Option<u32> {
        let header = bytes.get(..HEADER_BYTES)?;
        (&header[..8] == MAGIC && checksum(header) == u32_at(header, 12)).then(|| u32_at(header, 8))
    }

    /// `None` where the checksum is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        Header::version(bytes)?;
        let mut store = StoreId([0; 16]);
        store.0.copy_from_slice(&bytes[16..32]);
        Some(Header {
            store,
            number: u64_at(bytes, 32),
            rings: u64_at(bytes, 40),
            first: Duration::from_nanos(u64_at(bytes, 48)),
            last: Duration::from_nanos(u64_at(bytes, 56)),
            sums_bytes: u32_at(bytes, 64),
            sums_checksum: u32_at(bytes, 68),
            directory_checksum: u32_at(bytes, 72),
        })
    }

    /// The bytes of the whole file; `None` where that is more than there can be.
    fn file_bytes(&self) -> Option<u64> {
        let blocks = self.rings.div_ceil(BLOCK_RINGS as u64);
        let rings = self.rings.checked_mul(RING_BYTES as u64)?;
        rings
            .checked_add(blocks.checked_mul(PLACE_BYTES as u64)?)?
            .checked_add(HEADER_BYTES as u64 + u64::from(self.sums_bytes))
    }
}

/// The bytes of a file.
///
/// - `rings`: sorted, each once
/// - `sums`: those of all applications, as they are in the list at that moment
pub(crate) fn encode(
    store: StoreId,
    number: u64,
    (first, last): (Duration, Duration),
    rings: &[Incarnation],
    sums: &Sums,
) -> Vec<u8> {
    debug_assert!(rings.is_sorted_by(|a, b| a < b), "sorted, each once");
    let mut out = vec![0; HEADER_BYTES];
    rings.iter().for_each(|ring| out.extend_from_slice(&ring.0));
    let directory = out.len();
    for block in rings.chunks(BLOCK_RINGS) {
        let checksum = block.iter().fold(0, |sum, ring| crc32c::crc32c_append(sum, &ring.0));
        out.extend_from_slice(&block[0].0);
        out.extend_from_slice(&checksum.to_le_bytes());
    }
    let directory_checksum = crc32c::crc32c(&out[directory..]);
    let sums_at = out.len();
    put_varint(&mut out, sums.len() as u64);
    sums.iter().for_each(|(name, application)| application.encode(name, &mut out));
    if out.len() - sums_at > SUMS_BYTES_MAX {
        out.truncate(sums_at);
    }
    let sums_checksum = crc32c::crc32c(&out[sums_at..]);
    let sums_bytes = (out.len() - sums_at) as u32;
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..32].copy_from_slice(&store.0);
    for (at, word) in [(32, number), (40, rings.len() as u64), (48, nanos(first)), (56, nanos(last))] {
        out[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    for (at, word) in [(64, sums_bytes), (68, sums_checksum), (72, directory_checksum)] {
        out[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    let header = checksum(&out[..HEADER_BYTES]);
    out[12..16].copy_from_slice(&header.to_le_bytes());
    out
}

impl FinishedFile {
    /// A file with this content. Header and directory are checked, blocks are when they are searched.
    ///
    /// - `number`: the number that its name ends in
    pub(crate) fn new(
        listing: LedgerFile,
        store: StoreId,
        number: Option<u64>,
        content: Box<dyn Content>,
    ) -> FinishedFile {
        let flaw = flaw(&listing, store, number, content.bytes());
        let blocks = if flaw.is_some() { 0 } else { (listing.rings as usize).div_ceil(BLOCK_RINGS) };
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        FinishedFile { listing, content, flaw, checked }
    }

    /// Stands for a file that is missing or cannot be read.
    pub(crate) fn missing(listing: LedgerFile, what: String) -> FinishedFile {
        FinishedFile { listing, content: Box::new(Vec::new()), flaw: Some(what), checked: Vec::new() }
    }

    /// The bytes as they are.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    fn rings_bytes(&self) -> &[u8] {
        match self.flaw {
            Some(_) => self.bytes().get(HEADER_BYTES..).unwrap_or_default(),
            None => &self.bytes()[HEADER_BYTES..HEADER_BYTES + self.listing.rings as usize * RING_BYTES],
        }
    }

    /// All rings, sorted where nothing is damaged.
    pub(crate) fn rings(&self) -> impl Iterator<Item = Incarnation> {
        self.rings_bytes().as_chunks::<RING_BYTES>().0.iter().map(|ring| Incarnation(*ring))
    }

    fn directory(&self) -> &[[u8; PLACE_BYTES]] {
        let rings = self.listing.rings as usize;
        let at = HEADER_BYTES + rings * RING_BYTES;
        let places = &self.bytes()[at..at + rings.div_ceil(BLOCK_RINGS) * PLACE_BYTES];
        places.as_chunks().0
    }

    /// What it says of a ring.
    pub(crate) fn find(&self, ring: &Incarnation) -> Found {
        let rings = self.rings_bytes().as_chunks::<RING_BYTES>().0;
        if self.flaw.is_some() {
            return if rings.contains(&ring.0) { Found::Yes } else { Found::Unsure };
        }
        let directory = self.directory();
        let block = directory.partition_point(|place| place[..RING_BYTES] <= ring.0[..]);
        let found = match block.checked_sub(1) {
            None => Found::No,
            Some(block) => {
                let rings = &rings[block * BLOCK_RINGS..rings.len().min((block + 1) * BLOCK_RINGS)];
                if rings.binary_search(&ring.0).is_ok() {
                    Found::Yes
                } else if self.is_right(block) {
                    Found::No
                } else if rings.contains(&ring.0) {
                    Found::Yes
                } else {
                    Found::Unsure
                }
            }
        };
        // A page that cannot be read is zeros, in the directory too.
        if found == Found::No && self.content.is_broken() { Found::Unsure } else { found }
    }

    /// Whether the checksum of a block is right; looked at until it is, and then no more.
    fn is_right(&self, block: usize) -> bool {
        // Another thread that looks at the same time finds the same.
        let (word, bit) = (&self.checked[block / 64], 1 << (block % 64));
        if word.load(Relaxed) & bit != 0 {
            return true;
        }
        let is_right = self.checksums(block).is_ok();
        if is_right {
            word.fetch_or(bit, Relaxed);
        }
        is_right
    }

    /// # Errors
    ///
    /// The checksum of the block, and that in the directory.
    fn checksums(&self, block: usize) -> Result<(), (u32, u32)> {
        let rings = self.rings_bytes();
        let bytes = &rings[block * BLOCK_BYTES..rings.len().min((block + 1) * BLOCK_BYTES)];
        let (found, expected) = (crc32c::crc32c(bytes), u32_at(&self.directory()[block], RING_BYTES));
        if found == expected { Ok(()) } else { Err((found, expected)) }
    }

    /// Reads all of it and says what is damaged: offset in bytes, and what is wrong there.
    pub(crate) fn damage(&self) -> Vec<(u64, String)> {
        if let Some(flaw) = &self.flaw {
            return vec![(
                0,
                format!("{flaw}; a ring of it that comes again may count twice, which the ledger says"),
            )];
        }
        let block = |block: usize| {
            let (found, expected) = self.checksums(block).err()?;
            let what = format!(
                "checksum {found:08x} of up to {BLOCK_RINGS} finished rings, expected {expected:08x}; one of them \
                 that comes again may count twice, which the ledger says"
            );
            Some(((HEADER_BYTES + block * BLOCK_BYTES) as u64, what))
        };
        let mut damage: Vec<_> = (0..self.directory().len()).filter_map(block).collect();
        if self.sums().is_none() {
            let at = self.sums_bytes().map_or(0, |sums| self.bytes().len() - sums.len());
            damage.push((at as u64, "the sums of applications are damaged; MANIFEST has them".to_owned()));
        }
        damage
    }

    fn sums_bytes(&self) -> Option<&[u8]> {
        let bytes = self.bytes();
        let header = Header::decode(bytes)?;
        bytes.get(bytes.len().checked_sub(header.sums_bytes as usize)?..)
    }

    /// The sums of applications when it was made; `None` where they are damaged.
    pub(crate) fn sums(&self) -> Option<Sums> {
        let bytes = self.sums_bytes()?;
        if crc32c::crc32c(bytes) != Header::decode(self.bytes())?.sums_checksum {
            return None;
        }
        if bytes.is_empty() {
            return Some(Sums::new());
        }
        let mut fields = Fields(bytes);
        let sums = decode_sums(&mut fields)?;
        fields.0.is_empty().then_some(sums)
    }
}

/// Reads how many sums there are, and each.
pub(super) fn decode_sums(fields: &mut Fields<'_>) -> Option<Sums> {
    let mut sums = Sums::new();
    for _ in 0..fields.count(11)? {
        let name = fields.text()?.to_owned();
        sums.insert(name, Arc::new(Application::decode(fields)?));
    }
    Some(sums)
}

/// Why a file cannot be searched.
fn flaw(listing: &LedgerFile, store: StoreId, number: Option<u64>, bytes: &[u8]) -> Option<String> {
    if bytes.len() as u64 != listing.bytes {
        return Some(format!("{} bytes, expected {}", bytes.len(), listing.bytes));
    }
    let Some(header) = Header::decode(bytes) else {
        return Some("no valid header of a file of finished rings".to_owned());
    };
    if header.store != store {
        return Some("a file of another store".to_owned());
    }
    if let Some(number) = number.filter(|number| *number != header.number) {
        return Some(format!("number {:016x}, expected {number:016x}", header.number));
    }
    if header.rings != listing.rings || header.file_bytes() != Some(listing.bytes) {
        return Some(format!("{} rings, expected {}", header.rings, listing.rings));
    }
    let rings = header.rings as usize;
    let directory = HEADER_BYTES + rings * RING_BYTES;
    let until = directory + rings.div_ceil(BLOCK_RINGS) * PLACE_BYTES;
    let (found, expected) = (crc32c::crc32c(&bytes[directory..until]), header.directory_checksum);
    (found != expected).then(|| format!("checksum {found:08x} of the directory, expected {expected:08x}"))
}

/// The checksum of the header, without the checksum's own bytes.
fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..HEADER_BYTES])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::ledger::application::tests::account;

    const STORE: StoreId = StoreId([3; 16]);

    /// Evenly spread over all that there can be.
    pub(crate) fn ring(number: u64) -> Incarnation {
        let mut bytes = [0x55; 16];
        bytes[..8].copy_from_slice(&(number << 48 | number).to_be_bytes());
        Incarnation(bytes)
    }

    pub(crate) fn sums() -> Sums {
        let mut sums = Sums::new();
        for number in 0..20 {
            let account = account(number);
            let sum = sums.entry(account.application.clone()).or_default();
            Arc::make_mut(sum).add(Incarnation([number; 16]), &account);
        }
        sums
    }

    /// The rings with an even number below `2 * count`.
    pub(crate) fn bytes(count: u64) -> Vec<u8> {
        let rings: Vec<_> = (0..count).map(|number| ring(2 * number)).collect();
        encode(STORE, 5, (Duration::from_nanos(7), Duration::from_nanos(9)), &rings, &sums())
    }

    pub(crate) fn listing(bytes: &[u8], rings: u64) -> LedgerFile {
        LedgerFile {
            name: "20261120-0000000000000005".to_owned(),
            bytes: bytes.len() as u64,
            rings,
            first: Duration::from_nanos(7),
            last: Duration::from_nanos(9),
        }
    }

    fn file(bytes: Vec<u8>, rings: u64) -> FinishedFile {
        FinishedFile::new(listing(&bytes, rings), STORE, Some(5), Box::new(bytes))
    }

    #[test]
    fn every_ring_is_found_and_no_other() {
        for count in [0, 1, 2, 255, 256, 257, 512, 1000] {
            let file = file(bytes(count), count);
            assert!(file.damage().is_empty(), "{count}: {:?}", file.damage());
            for number in 0..2 * count + 3 {
                let is_there = number % 2 == 0 && number < 2 * count;
                let expected = if is_there { Found::Yes } else { Found::No };
                assert_eq!(file.find(&ring(number)), expected, "{number} of {count}");
            }
            assert!(file.rings().eq((0..count).map(|number| ring(2 * number))));
            assert_eq!(file.sums(), Some(sums()));
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_whatever_is_found_is_there() {
        let count = 600;
        let whole = bytes(count);
        for bit in (0..whole.len() * 8).step_by(11) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let file = file(bytes, count);
            assert_eq!(file.damage().len(), 1, "bit {bit}");
            let mut lacking = 0;
            for number in (0..2 * count).step_by(17) {
                match (file.find(&ring(number)), number % 2) {
                    (Found::Yes, 0) | (Found::No | Found::Unsure, 1) => {}
                    (Found::Unsure, _) => lacking += 1,
                    (found, _) => panic!("bit {bit}: {number} is {found:?}"),
                }
            }
            assert!(lacking <= 1, "bit {bit}: {lacking} rings are lacking");
        }
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_store_finds_what_it_has_and_is_sure_of_nothing_else() {
        let whole = bytes(300);
        let check = |bytes: &[u8], store, number, rings, expected: &str| {
            let listing = LedgerFile { rings, ..listing(&whole, 300) };
            let file = FinishedFile::new(listing, store, number, Box::new(bytes.to_vec()));
            assert!(file.damage()[0].1.starts_with(expected), "{:?}", file.damage());
            assert_eq!((file.find(&ring(4)), file.find(&ring(5))), (Found::Yes, Found::Unsure));
        };
        check(&whole[..whole.len() - 1], STORE, Some(5), 300, &format!("{} bytes", whole.len() - 1));
        check(&whole, StoreId([4; 16]), Some(5), 300, "a file of another store");
        check(&whole, STORE, Some(6), 300, "number 0000000000000005, expected 0000000000000006");
        check(&whole, STORE, None, 299, "300 rings, expected 299");
        for cut in 0..whole.len() {
            let file = file(whole[..cut].to_vec(), 300);
            assert_eq!(file.damage().len(), 1, "cut at {cut}");
            file.find(&ring(4));
        }
    }
}
