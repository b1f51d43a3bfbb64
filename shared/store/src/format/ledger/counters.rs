//! The last totals of the counters of one ring.
//!
//! A ring publishes the total of each counter since the ring was made. The store keeps sums over all rings: a total
//! adds its difference to the last total of the same ring.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use dotter_dot::{Letter, SeriesName, Shape, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::shapes::{Shapes, put_shape, take_shape};

/// Bytes that the counters of one ring may take in its account: some 70,000 with names of 40 bytes.
pub const COUNTERS_BYTES_MAX: usize = 4 << 20;

/// The fewest bytes of a counter: a name of one byte with its length, a shape of five bytes, a word.
const COUNTER_BYTES_MIN: usize = 2 + 5 + 8;

/// The last total of each counter of a ring.
///
/// Always true: every shape has one column, `U` or `F`. A total is a word: for `F` the bits of the f64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Shared by copies of the account until one of them is changed: a commit copies and compares all accounts.
    totals: Arc<BTreeMap<(SeriesName, Shape), u64>>,
    /// Of all entries, as they are encoded.
    bytes: usize,
}

impl Counters {
    /// The last total of a counter, as a word; `None` for one that is not kept.
    pub fn total(&self, name: &SeriesName, shape: &Shape) -> Option<u64> {
        self.totals.get(&(name.clone(), shape.clone())).copied()
    }

    /// Name, shape and last total of each, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&SeriesName, &Shape, u64)> {
        self.totals.iter().map(|((name, shape), total)| (name, shape, *total))
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Bytes that are left for further counters, of [`COUNTERS_BYTES_MAX`].
    pub fn room(&self) -> usize {
        COUNTERS_BYTES_MAX.saturating_sub(self.bytes)
    }

    /// Bytes that a further counter takes; 0 where it is kept already.
    pub fn bytes_wanted(&self, name: &SeriesName, shape: &Shape) -> usize {
        if self.total(name, shape).is_some() { 0 } else { bytes_of(name, shape) }
    }

    /// Replaces the last total of a counter. A total that is no value of a counter is left out, and so is a new
    /// counter for which there is no room.
    pub(super) fn book(&mut self, name: &SeriesName, shape: &Shape, total: u64) {
        if !is_of_counter(shape) || self.bytes_wanted(name, shape) > self.room() {
            return;
        }
        self.put(name.clone(), shape.clone(), total);
    }

    fn put(&mut self, name: SeriesName, shape: Shape, total: u64) {
        let entry = Arc::make_mut(&mut self.totals).entry((name, shape));
        if let Entry::Vacant(entry) = &entry {
            let (name, shape) = entry.key();
            self.bytes += bytes_of(name, shape);
        }
        *entry.or_default() = total;
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.totals.len() as u64);
        for (name, shape, total) in self.iter() {
            put_counter(out, name, shape);
            out.extend_from_slice(&total.to_le_bytes());
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Counters> {
        let (mut counters, mut shapes) = (Counters::default(), Shapes::default());
        for _ in 0..fields.count(COUNTER_BYTES_MIN)? {
            let name = SeriesName::new(fields.text()?).ok()?;
            let shape = shapes.intern(take_shape(fields)?);
            let total = u64::from_le_bytes(fields.array()?);
            if !is_of_counter(&shape) {
                return None;
            }
            counters.put(name, shape, total);
        }
        Some(counters)
    }
}

/// Whether a total can be a value of that shape.
pub(crate) fn is_of_counter(shape: &Shape) -> bool {
    matches!(shape.word(), Some(Letter::U64 | Letter::F64))
}

fn put_counter(out: &mut Vec<u8>, name: &SeriesName, shape: &Shape) {
    put_text(out, name.as_str());
    put_shape(out, shape);
}

fn bytes_of(name: &SeriesName, shape: &Shape) -> usize {
    let mut out = Vec::with_capacity(name.as_str().len() + 32);
    put_counter(&mut out, name, shape);
    out.len() + size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Format, Kind};
    use proptest::prelude::*;

    use super::*;

    fn shape(letter: &str, unit: &str) -> Shape {
        Shape::new::<&str>(Format::new(letter).unwrap(), unit, &[]).unwrap().with_kind(Kind::Counter)
    }

    fn name(text: &str) -> SeriesName {
        SeriesName::new(text).unwrap()
    }

    #[test]
    fn the_last_total_of_each_counter_stays() {
        let mut counters = Counters::default();
        let (whole, real) = (shape("U", ""), shape("F", ""));
        for (of, total) in [(&whole, 5), (&real, 2.5_f64.to_bits()), (&whole, 9)] {
            counters.book(&name("orders"), of, total);
        }
        assert_eq!(counters.total(&name("orders"), &whole), Some(9));
        assert_eq!(counters.total(&name("orders"), &real), Some(2.5_f64.to_bits()));
        assert_eq!(counters.total(&name("order"), &whole), None);
        for letters in ["s", "UU", "f", "I"] {
            counters.book(&name("others"), &shape(letters, ""), 1);
        }
        assert_eq!(counters.len(), 2, "a total is a u64 or an f64");
    }

    /// Shows P21.
    #[test]
    fn past_the_bound_no_counter_is_added_and_those_before_go_on() {
        let mut counters = Counters::default();
        let long = "x".repeat(4000);
        let of = |number: u64| name(&format!("{long}.{number:05}"));
        let (shape, mut kept) = (shape("U", "B"), 0);
        while counters.bytes_wanted(&of(kept), &shape) <= counters.room() {
            counters.book(&of(kept), &shape, kept);
            kept += 1;
        }
        assert!((1000..1100).contains(&kept), "{kept} of 4,000 bytes each");
        counters.book(&of(kept), &shape, 7);
        assert_eq!((counters.len() as u64, counters.total(&of(kept), &shape)), (kept, None));
        counters.book(&of(3), &shape, 77);
        assert_eq!(counters.total(&of(3), &shape), Some(77));
        assert_eq!(counters.bytes_wanted(&of(3), &shape), 0);
        let mut out = Vec::new();
        counters.encode(&mut out);
        assert!(out.len() <= COUNTERS_BYTES_MAX + 10, "{} bytes", out.len());
    }

    proptest! {
        #[test]
        fn counters_come_back_as_they_were(
            entries in prop::collection::vec(("[a-c]{1,2}", "[UF]", "[sm]{0,1}", any::<u64>()), 0..20),
        ) {
            let mut counters = Counters::default();
            for (text, letter, unit, total) in &entries {
                counters.book(&name(text), &shape(letter, unit), *total);
            }
            let mut out = Vec::new();
            counters.encode(&mut out);
            let mut fields = Fields(&out);
            prop_assert_eq!(Counters::decode(&mut fields), Some(counters.clone()));
            prop_assert!(fields.0.is_empty());
            let mut count = Vec::new();
            put_varint(&mut count, counters.len() as u64);
            prop_assert_eq!(counters.bytes, out.len() - count.len());
            for cut in 0..out.len() {
                prop_assert_eq!(Counters::decode(&mut Fields(&out[..cut])), None, "cut at {}", cut);
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Counters::decode(&mut Fields(&bytes));
        }
    }
}
