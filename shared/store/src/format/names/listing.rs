//! A listing of a names file: what the list says of it.

use dotter_dot::put_varint;

use crate::format::bytes::{Fields, put_text};
use crate::format::listing::words_and_number;

/// The listing of one names file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NamesEntry {
    /// File name within `seg/`.
    pub(crate) name: String,
    /// The id epoch of its ids.
    pub(crate) epoch: u64,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// The least id in it.
    pub(crate) first: u32,
    /// The greatest id in it.
    pub(crate) last: u32,
    /// How many ids are in it.
    pub(crate) count: u64,
}

impl NamesEntry {
    /// The number that its name ends in.
    pub(crate) fn number(&self) -> u64 {
        words_and_number(&self.name).map_or(0, |(_, number)| number)
    }

    /// Its place among the names files of a list: by epoch, then number.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.epoch, self.number())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        for field in [self.epoch, self.bytes, self.first.into(), self.last.into(), self.count] {
            put_varint(out, field);
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<NamesEntry> {
        Some(NamesEntry {
            name: fields.text().filter(|name| words_and_number(name).is_some())?.to_owned(),
            epoch: fields.varint()?,
            bytes: fields.varint()?,
            first: fields.number()?,
            last: fields.number()?,
            count: fields.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::listing::numbered_name;

    #[test]
    fn a_listing_reads_as_what_was_written() {
        let name = numbered_name("names", 0xc5);
        let entry = NamesEntry { name, epoch: 1 << 40, bytes: 70_000, first: 3, last: u32::MAX, count: 9 };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!(NamesEntry::decode(&mut fields), Some(entry.clone()));
        assert!(fields.0.is_empty());
        assert_eq!(entry.number(), 0xc5);
        for cut in 0..bytes.len() {
            assert_eq!(NamesEntry::decode(&mut Fields(&bytes[..cut])), None, "cut at {cut}");
        }
    }
}
