//! The file of finished rings: the accounts of rings that finished lately, and for each application the sum over the
//! rings that finished long ago.
//!
//! A file never changes; a new file takes its place. Each record has its own checksum, so damage costs only the
//! records that it hits.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use dotter_dot::{Incarnation, Reason, Timestamp, put_varint};

use crate::format::bytes::{Fields, put_text, u32_at, u64_at};
use crate::format::clock::Clock;
use crate::format::ledger::account::{Account, counts, put_counts, total};
use crate::format::listing::StoreId;

const MAGIC: &[u8; 8] = b"DOTTRLED";
pub(crate) const VERSION: u32 = 3;
/// Bytes of the file's header.
const HEADER_BYTES: usize = 48;
const RECORD_BYTES: usize = 16;
/// Records begin at multiples of this, so that a reader finds the next record behind a damaged one.
const ALIGNMENT: usize = 8;
const APPLICATION: u8 = 0;
const ACCOUNT: u8 = 1;
const CLOCK: u8 = 2;

/// What became of the dots of those rings of an application that finished long ago and have no account of their own
/// any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Rings.
    pub rings: u64,
    /// When the store first received anything from the first of them.
    pub first_seen: Timestamp,
    /// When the last of them was finished.
    pub finished: Timestamp,
    /// Dots committed.
    pub stored: u64,
    /// Dots that another store of the cluster keeps.
    pub elsewhere: u64,
    /// Dots lost, by reason.
    pub lost: BTreeMap<Reason, u64>,
    /// Dots refused by the collector, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Dots the rings themselves refused, by reason.
    pub refused_in_ring: BTreeMap<Reason, u64>,
}

/// The content of one file; empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    bytes: Vec<u8>,
    /// Why the bytes are missing, where the list names a file that cannot be read.
    pub(crate) missing: Option<String>,
    /// Decoded when somebody first asks, which most users of a store never do.
    records: OnceLock<Records>,
}

/// An account, and the running time, by the clock of the file, at which it came into the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) account: Account,
    pub(crate) at: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// The clock by whose running time the age of accounts is judged. It is read when a file is written. No wall clock
    /// has a say, so one that is set wrong makes no account old.
    pub(crate) clock: Clock,
    pub(crate) accounts: BTreeMap<Incarnation, Moved>,
    pub(crate) applications: BTreeMap<String, Application>,
    /// Damage: offset in the file, and what is wrong there.
    damage: Vec<(u64, String)>,
}

/// The records where there is no file.
static NOTHING: Records = Records {
    clock: Clock::NEVER,
    accounts: BTreeMap::new(),
    applications: BTreeMap::new(),
    damage: Vec::new(),
};

impl PartialEq for Finished {
    fn eq(&self, other: &Finished) -> bool {
        (&self.missing, &self.bytes) == (&other.missing, &other.bytes)
    }
}

impl Eq for Finished {}

impl Finished {
    /// Stands for a file that is missing or cannot be read.
    pub(crate) fn missing(what: String) -> Finished {
        Finished { bytes: Vec::new(), missing: Some(what), records: OnceLock::new() }
    }

    /// The file as it was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The damage in the file: offset in bytes, and what is wrong there.
    pub(crate) fn damage(&self) -> Vec<(u64, String)> {
        let whole = self.missing.iter().map(|what| (0, what.clone()));
        whole.chain(self.records().damage.iter().cloned()).collect()
    }

    pub(crate) fn records(&self) -> &Records {
        if self.bytes.is_empty() {
            return &NOTHING;
        }
        self.records.get_or_init(|| Records::decode(&self.bytes))
    }

    /// Rings that it knows of, by themselves or in the sum of their application.
    pub(crate) fn rings(&self) -> u64 {
        let records = self.records();
        records
            .applications
            .values()
            .fold(records.accounts.len() as u64, |sum, of| sum.saturating_add(of.rings))
    }

    /// Its clock as of when it was written.
    pub(crate) fn clock(&self) -> Clock {
        // The clock is the first record of each file. Where it is missing, the file is damaged, or there is none.
        let record = record_at(&self.bytes, HEADER_BYTES);
        record
            .and_then(|payload| payload.strip_prefix(&[CLOCK]))
            .map_or(Clock::NEVER, |bytes| Clock::decode(&mut Fields(bytes)).unwrap_or(Clock::NEVER))
    }

    /// When the oldest of its accounts came into the file, in running time.
    pub(crate) fn first_moved(&self) -> Option<Duration> {
        // A damaged header is not used.
        version(&self.bytes)?;
        Some(u64_at(&self.bytes, 40)).filter(|at| *at < u64::MAX).map(Duration::from_nanos)
    }

    /// Its number; `None` where the header is damaged.
    pub(crate) fn number(&self) -> Option<u64> {
        version(&self.bytes).map(|_| u64_at(&self.bytes, 32))
    }

    /// A file with this content.
    ///
    /// - `number`: the number that the file's name ends in
    pub(crate) fn encode(records: &Records, store: StoreId, number: u64) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        let mut payload = Vec::new();
        payload.push(CLOCK);
        records.clock.encode(&mut payload);
        push_record(&mut payload, &mut out);
        for (name, application) in &records.applications {
            payload.push(APPLICATION);
            application.encode(name, &mut payload);
            push_record(&mut payload, &mut out);
        }
        for (incarnation, moved) in &records.accounts {
            payload.push(ACCOUNT);
            moved.account.encode(*incarnation, &mut payload);
            put_varint(&mut payload, nanos(moved.at));
            push_record(&mut payload, &mut out);
        }
        let first = records.accounts.values().map(|moved| nanos(moved.at)).min();
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&store.0);
        out[32..40].copy_from_slice(&number.to_le_bytes());
        out[40..48].copy_from_slice(&first.unwrap_or(u64::MAX).to_le_bytes());
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn of(bytes: Vec<u8>) -> Finished {
        Finished { bytes, ..Finished::default() }
    }

    /// For the fuzz target: a file of records whose checksums do not matter.
    #[cfg(fuzzing)]
    pub(crate) fn of_payloads<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Finished {
        let mut out = Finished::encode(&NOTHING, StoreId([0; 16]), 0);
        payloads.for_each(|payload| push_record(&mut payload.to_vec(), &mut out));
        Finished::of(out)
    }

    #[cfg(fuzzing)]
    pub(crate) fn encode_again(&self) -> Vec<u8> {
        Finished::encode(self.records(), StoreId([0; 16]), 0)
    }
}

impl Records {
    fn decode(bytes: &[u8]) -> Records {
        let mut records = Records::default();
        if version(bytes).is_none() {
            records.damage.push((0, "no valid header of a file of finished rings".to_owned()));
        }
        let mut place = HEADER_BYTES;
        let mut damaged_from = None;
        while place < bytes.len() {
            let Some(payload) = record_at(bytes, place) else {
                damaged_from.get_or_insert(place);
                place += ALIGNMENT;
                continue;
            };
            records.note(damaged_from.take(), place);
            if records.take(payload).is_none() {
                let what = format!("{} bytes of a record that make no sense", payload.len());
                records.damage.push((place as u64, what));
            }
            place += (RECORD_BYTES + payload.len()).next_multiple_of(ALIGNMENT);
        }
        records.note(damaged_from, bytes.len());
        records
    }

    fn note(&mut self, from: Option<usize>, until: usize) {
        if let Some(from) = from {
            self.damage.push((from as u64, format!("no record with a valid checksum; skipped to {until}")));
        }
    }

    fn take(&mut self, payload: &[u8]) -> Option<()> {
        let mut fields = Fields(payload);
        match fields.byte()? {
            APPLICATION => {
                let name = fields.text()?.to_owned();
                self.applications.insert(name, Application::decode(&mut fields)?);
            }
            ACCOUNT => {
                let incarnation = Incarnation(fields.array()?);
                let account = Account::decode(&mut fields)?;
                let at = Duration::from_nanos(fields.varint()?);
                self.accounts.insert(incarnation, Moved { account, at });
            }
            CLOCK => self.clock = Clock::decode(&mut fields)?,
            _ => return None,
        }
        fields.0.is_empty().then_some(())
    }

    /// Adds the accounts that came at `until` or before, in running time, and for which `is_old` holds to the sums of their applications.
    pub(crate) fn fold(&mut self, until: Duration, is_old: impl Fn(&Incarnation) -> bool) {
        let old = |of: &Incarnation, moved: &mut Moved| moved.at <= until && is_old(of);
        for (_, Moved { account, .. }) in self.accounts.extract_if(.., old) {
            self.applications.entry(account.application.clone()).or_default().add(&account);
        }
    }
}

impl Application {
    fn add(&mut self, account: &Account) {
        if self.rings == 0 || account.first_seen < self.first_seen {
            self.first_seen = account.first_seen;
        }
        self.rings = self.rings.saturating_add(1);
        self.finished = self.finished.max(account.finished.unwrap_or_default());
        self.stored = self.stored.saturating_add(account.stored());
        self.elsewhere = self.elsewhere.saturating_add(account.elsewhere());
        let lost = account.lost.iter().map(|(reason, tally)| (*reason, tally.count)).collect();
        for (sums, counts) in [
            (&mut self.lost, &lost),
            (&mut self.refused, &account.refused),
            (&mut self.refused_in_ring, &account.refused_in_ring),
        ] {
            for (reason, count) in counts {
                let sum = sums.entry(*reason).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }

    /// Dots for which publish returned.
    pub fn published(&self) -> u64 {
        total([self.stored, self.lost(), self.refused(), self.elsewhere])
    }

    /// Dots lost, for whatever reason.
    pub fn lost(&self) -> u64 {
        total(self.lost.values().copied())
    }

    /// Dots refused, in the ring and by the collector.
    pub fn refused(&self) -> u64 {
        total(self.refused.values().chain(self.refused_in_ring.values()).copied())
    }

    fn encode(&self, name: &str, out: &mut Vec<u8>) {
        put_text(out, name);
        let (first, last) = (self.first_seen.nanos(), self.finished.nanos());
        for field in [self.rings, first, last, self.stored, self.elsewhere] {
            put_varint(out, field);
        }
        for counts in [&self.lost, &self.refused, &self.refused_in_ring] {
            put_counts(out, counts);
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Application> {
        Some(Application {
            rings: fields.varint()?,
            first_seen: Timestamp::from_nanos(fields.varint()?),
            finished: Timestamp::from_nanos(fields.varint()?),
            stored: fields.varint()?,
            elsewhere: fields.varint()?,
            lost: counts(fields)?,
            refused: counts(fields)?,
            refused_in_ring: counts(fields)?,
        })
    }
}

/// The version of a header whose checksum is right.
pub(crate) fn version(bytes: &[u8]) -> Option<u32> {
    let header = bytes.get(..HEADER_BYTES)?;
    (&header[..8] == MAGIC && checksum(bytes) == u32_at(header, 12)).then(|| u32_at(header, 8))
}

/// Running time in nanoseconds; the most that fits says that there is none.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

/// The checksum of the header, without the checksum's own bytes.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..HEADER_BYTES])
}

/// Appends a record: length and checksum of its payload, checksum of these two, zeros; the payload; zeros up to the
/// next multiple of [`ALIGNMENT`].
fn push_record(payload: &mut Vec<u8>, out: &mut Vec<u8>) {
    let header = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out[header..]).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.append(payload);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

fn record_at(bytes: &[u8], place: usize) -> Option<&[u8]> {
    let (header, rest) = bytes.get(place..)?.split_at_checked(RECORD_BYTES)?;
    if crc32c::crc32c(&header[..8]) != u32_at(header, 8) {
        return None;
    }
    let payload = rest.get(..u32_at(header, 0) as usize)?;
    (crc32c::crc32c(payload) == u32_at(header, 4)).then_some(payload)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::clock::Machine;
    use crate::format::ledger::LaneAccount;

    fn lane(number: u8) -> LaneAccount {
        let elsewhere = u64::from(number) * 100;
        LaneAccount { next: elsewhere + 7, stored: 7, elsewhere, ..LaneAccount::default() }
    }

    pub(crate) fn records() -> Records {
        let mut records = Records::default();
        for number in 0..40_u8 {
            let account = Account {
                application: format!("app.{}", number % 3),
                first_seen: Timestamp::from_nanos(u64::from(number)),
                finished: Some(Timestamp::from_nanos(1000 + u64::from(number))),
                lanes: [(3, lane(number))].into(),
                ..Account::default()
            };
            let at = Duration::from_nanos(2000 + u64::from(number));
            records.accounts.insert(Incarnation([number; 16]), Moved { account, at });
        }
        records.clock.read(&Machine {
            wall: Timestamp::from_nanos(7),
            boot: [7; 16],
            since_boot: Duration::from_nanos(9),
        });
        records.fold(Duration::from_nanos(2019), |_| true);
        records
    }

    #[test]
    fn a_file_reads_as_what_was_written() {
        let records = records();
        assert_eq!((records.accounts.len(), records.applications.len()), (20, 3));
        let sum = |of: fn(&Application) -> u64| records.applications.values().map(of).sum::<u64>();
        assert_eq!(sum(|application| application.rings), 20);
        let elsewhere = (0..20).map(|number| number * 100).sum::<u64>();
        assert_eq!((sum(|of| of.elsewhere), sum(|of| of.stored)), (elsewhere, 20 * 7));
        assert_eq!(sum(Application::published), elsewhere + 20 * 7);
        let file = Finished::of(Finished::encode(&records, StoreId([3; 16]), 5));
        assert_eq!(file.number(), Some(5));
        assert_eq!(*file.records(), records);
        assert_eq!(file.first_moved(), Some(Duration::from_nanos(2020)));
        assert_eq!(file.clock(), records.clock);
        assert!(file.damage().is_empty());
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_costs_at_most_its_record() {
        let records = records();
        let bytes = Finished::encode(&records, StoreId([3; 16]), 5);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let file = Finished::of(bytes);
            let found = file.records();
            let missing = records.accounts.len() + records.applications.len()
                - found.accounts.len()
                - found.applications.len();
            assert!(missing <= 1, "bit {bit}");
            assert!(found.accounts.iter().all(|(of, account)| records.accounts.get(of) == Some(account)));
            assert!(
                found.applications.iter().all(|(of, sum)| records.applications.get(of) == Some(sum)),
                "bit {bit}"
            );
            // Zeros that fill up are no part of anything.
            assert!(!file.damage().is_empty() || *found == records, "bit {bit}");
        }
        for cut in (0..bytes.len() - ALIGNMENT).step_by(7) {
            let file = Finished::of(bytes[..cut].to_vec());
            assert!(file.records().accounts.len() < records.accounts.len(), "cut at {cut}");
        }
    }
}
