//! Row bytes of many dots in one buffer.

use crate::ROW_BYTES_MAX;

/// Bits of a row's length in its word; its place stands above them.
const LENGTH_BITS: u32 = 24;
const _: () = assert!(ROW_BYTES_MAX < 1 << LENGTH_BITS, "the length of a row fits its word");

/// Row bytes, one row behind the other. A word says where a row stands and how long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(Vec<u8>);

impl Rows {
    /// Appends a row and gives the word that finds it again.
    #[inline]
    pub fn push(&mut self, row: &[u8]) -> u64 {
        let word = Rows::word(self.0.len(), row.len());
        self.0.extend_from_slice(row);
        word
    }

    /// As [`push`](Self::push) of the bytes that `put` appends.
    pub fn push_with(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let at = self.0.len();
        put(&mut self.0);
        Rows::word(at, self.0.len() - at)
    }

    /// Appends the bytes of many rows, which `put` appends; [`Rows::word`] makes the word of each.
    ///
    /// Returns at which byte the first row begins, and what `put` gave.
    pub fn append_with<T>(&mut self, put: impl FnOnce(&mut Vec<u8>) -> T) -> (usize, T) {
        let at = self.0.len();
        (at, put(&mut self.0))
    }

    /// The word of a row that begins at byte `at`.
    ///
    /// # Panics
    ///
    /// Where the row is of 16 MiB or more, which is far above [`ROW_BYTES_MAX`].
    #[inline]
    pub fn word(at: usize, length: usize) -> u64 {
        assert!(length < 1 << LENGTH_BITS, "a row has fewer than 16 MiB");
        (at as u64) << LENGTH_BITS | length as u64
    }

    /// Bytes of the row under a word.
    #[inline]
    pub fn length(word: u64) -> usize {
        word as usize & ((1 << LENGTH_BITS) - 1)
    }

    /// The row under a word.
    ///
    /// # Panics
    ///
    /// Where no row stands there.
    #[inline]
    pub fn get(&self, word: u64) -> &[u8] {
        let at = (word >> LENGTH_BITS) as usize;
        &self.0[at..at + Rows::length(word)]
    }

    /// Bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all rows out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the first `bytes` bytes.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_its_row_whatever_stands_around_it() {
        let mut rows = Rows::default();
        let first = rows.push(b"one");
        let empty = rows.push(b"");
        let longest = rows.push(&vec![7; ROW_BYTES_MAX]);
        let put = rows.push_with(|out| out.extend_from_slice(b"two"));
        let (at, ()) = rows.append_with(|out| out.extend_from_slice(b"three"));
        assert_eq!((rows.get(first), rows.get(empty), rows.get(put)), (&b"one"[..], &b""[..], &b"two"[..]));
        assert_eq!((rows.get(longest).len(), Rows::length(longest)), (ROW_BYTES_MAX, ROW_BYTES_MAX));
        assert_eq!((rows.get(Rows::word(at, 2)), rows.get(Rows::word(at + 2, 3))), (&b"th"[..], &b"ree"[..]));
        assert_eq!(rows.bytes(), ROW_BYTES_MAX + 11);
    }
}
