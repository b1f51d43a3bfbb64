//! A listing: what the list says of one segment. Also the names of files, store ids and the order of commits.

use dotter_dot::{Timestamp, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::place::Place;

/// The id of a store: 16 random bytes, shown as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The place of a commit in the order of commits: by sequence, then by edit number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Order {
    /// The last sequence of the log that it holds; for a foreign commit, the last one before it.
    pub(crate) sequence: u64,
    /// 0 for what came through the log; for a foreign commit the number of its edit.
    pub(crate) generation: u64,
}

/// For how long nothing goes of a series whose rule has changed, in nanoseconds of running time.
pub(crate) const HOLD: u64 = 86_400_000_000_000;

/// The listing of one live segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SegmentEntry {
    /// File name within `seg/`.
    pub(crate) name: String,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Time of its first dot.
    pub(crate) first_time: Timestamp,
    /// Time of its last dot.
    pub(crate) last_time: Timestamp,
    /// Its place in the order of commits.
    pub(crate) order: Order,
    /// How often its dots have been merged.
    pub(crate) level: u32,
    /// Dots in it.
    pub(crate) dots: u64,
    /// Series in it.
    pub(crate) series: u64,
    /// Dots hidden by tombstones up to this edit number are no longer in it.
    pub(crate) purged: u64,
    /// The store it belongs to.
    pub(crate) store: StoreId,
    /// The names of its first and last series.
    pub(crate) names: (String, String),
    /// Bytes of its top index.
    pub(crate) top_bytes: u64,
    /// CRC-32C of all its bytes before the tail.
    pub(crate) checksum: u32,
    /// The tier and the window that its dots lie in; `None` on level 0, which mixes everything.
    pub(crate) place: Option<Place>,
    /// It stays until the retention clock has run for so long, in nanoseconds, though its window may be over: the rule
    /// of its series has changed. Zero where it has not. By the rules in force it holds all series of a segment or none.
    pub(crate) held: u64,
}

/// How many hex digits the number has that a file's name ends in.
const NUMBER_DIGITS: usize = 16;

/// The name of the file with a number.
///
/// - `words`: the part that is for people: letters, digits, `-` and `.`
pub(crate) fn numbered_name(words: &str, number: u64) -> String {
    format!("{words}-{number:016x}")
}

/// The name of the WAL file with an id.
pub(crate) fn wal_file_name(id: u64) -> String {
    format!("{id:010}.wal")
}

/// The words and the number of a name that [`numbered_name`] made; `None` for any other name.
pub(crate) fn words_and_number(name: &str) -> Option<(&str, u64)> {
    let (words, digits) = name.rsplit_once('-')?;
    let is_of_words = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_ours = !words.is_empty() && words.bytes().all(is_of_words) && is_number(digits);
    Some((words, u64::from_str_radix(digits, 16).ok().filter(|_| is_ours)?))
}

/// Whether a text is a number as [`numbered_name`] writes it: 16 hex digits in lower case.
pub(crate) fn is_number(digits: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.len() == NUMBER_DIGITS && digits.bytes().all(is_digit)
}

impl SegmentEntry {
    /// The number that its name ends in.
    pub(crate) fn number(&self) -> u64 {
        words_and_number(&self.name).map_or(0, |(_, number)| number)
    }

    /// Whether it holds steps made from dots, and no dots.
    pub(crate) fn has_steps(&self) -> bool {
        self.place.is_some_and(|place| !place.tier.step.is_zero())
    }

    /// The running time until which it stays; zero where nothing holds it any more.
    ///
    /// - `running`: running time now, in nanoseconds
    pub(crate) fn held_now(&self, running: u64) -> u64 {
        if running < self.held { self.held } else { 0 }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        out.extend_from_slice(&self.store.0);
        for field in [
            self.bytes,
            self.first_time.nanos(),
            self.last_time.nanos(),
            self.order.sequence,
            self.order.generation,
            self.level as u64,
            self.dots,
            self.series,
            self.purged,
            self.top_bytes,
        ] {
            put_varint(out, field);
        }
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_text(out, &self.names.0);
        put_text(out, &self.names.1);
        Place::encode(self.place.as_ref(), out);
        put_varint(out, self.held);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<SegmentEntry> {
        Some(SegmentEntry {
            name: fields.text().filter(|name| words_and_number(name).is_some())?.to_owned(),
            store: StoreId(fields.array()?),
            bytes: fields.varint()?,
            first_time: Timestamp::from_nanos(fields.varint()?),
            last_time: Timestamp::from_nanos(fields.varint()?),
            order: Order { sequence: fields.varint()?, generation: fields.varint()? },
            level: fields.number()?,
            dots: fields.varint()?,
            series: fields.varint()?,
            purged: fields.varint()?,
            top_bytes: fields.varint()?,
            checksum: u32::from_le_bytes(fields.array()?),
            names: (fields.text()?.to_owned(), fields.text()?.to_owned()),
            place: Place::decode(fields)?,
            held: fields.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::place::Tier;

    #[test]
    fn a_name_ends_in_its_number_and_no_other_is_ours() {
        for (words, number) in [("L0-20261120T14", 0), ("spill", u64::MAX), ("0000000003.wal", 0xc5)] {
            assert_eq!(words_and_number(&numbered_name(words, number)), Some((words, number)));
        }
        for name in [
            "",
            "0123456789abcdef",
            "-0123456789abcdef",
            "a0123456789abcdef",
            "a-123456789abcdef",
            "a-00123456789abcdef",
            "a-0123456789ABCDEF",
            "a-+123456789abcdef",
            "a-0123456789abcdef.seg",
            "a/b-0123456789abcdef",
            "a b-0123456789abcdef",
        ] {
            assert_eq!(words_and_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_listing_reads_as_what_was_written() {
        let entry = SegmentEntry {
            name: numbered_name("L1-20261120T14", 0xc5),
            bytes: 1000,
            order: Order { sequence: 7, generation: 9 },
            level: 1,
            store: StoreId([3; 16]),
            names: ("a".to_owned(), "z;tag=é".to_owned()),
            top_bytes: 300,
            held: 77,
            checksum: 0xfedc_ba98,
            place: Some(Place {
                rules: 5,
                window: Tier::default().window(Timestamp::MAX),
                ..Place::default()
            }),
            ..SegmentEntry::default()
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!(SegmentEntry::decode(&mut fields), Some(entry.clone()));
        assert!(fields.0.is_empty());
        assert_eq!(entry.number(), 0xc5);
    }
}
