//! Reading fields one after the other from bytes that may be damaged. Every read is checked.

use dotter_dot::{get_varint, put_varint, unzigzag};

/// The bytes not read yet. All methods return `None` where the bytes end too soon or make no sense.
#[derive(Clone)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        // Most have one byte.
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => get_varint(&mut self.0),
        }
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    /// A varint that must fit `T`.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    /// A count of things that have at least `bytes_each` bytes each; `None` where the bytes left are too few for
    /// them. So memory allocated for the things is bounded by the bytes read.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count: usize = self.number()?;
        (count.checked_mul(bytes_each)? <= self.0.len()).then_some(count)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// Makes of the name before what [`put_shared`] wrote.
    pub(crate) fn shared(&mut self, name: &mut Vec<u8>) -> Option<()> {
        let (shared, further) = (self.number::<usize>()?, self.number()?);
        let further = self.bytes(further)?;
        if shared > name.len() {
            return None;
        }
        name.truncate(shared);
        name.extend_from_slice(further);
        Some(())
    }

    /// What [`put_owner`] wrote.
    pub(crate) fn owner(&mut self) -> Option<Option<u32>> {
        match self.varint()? {
            0 => Some(None),
            more => u32::try_from(more - 1).ok().map(Some),
        }
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let count = self.number()?;
        std::str::from_utf8(self.bytes(count)?).ok()
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a name: how many bytes it shares with the name before, how many further ones it has, and these.
pub(crate) fn put_shared(out: &mut Vec<u8>, before: &[u8], name: &[u8]) {
    let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_varint(out, (name.len() - shared) as u64);
    out.extend_from_slice(&name[shared..]);
}

/// Appends the uid of an owner: 0 where it is not known, else one more than the uid.
pub(crate) fn put_owner(out: &mut Vec<u8>, owner: Option<u32>) {
    put_varint(out, owner.map_or(0, |uid| u64::from(uid) + 1));
}

/// Eight bytes at a known place of a fixed table.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Four bytes at a known place of a fixed table.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_unknown_or_any_uid() {
        for owner in [None, Some(0), Some(1000), Some(u32::MAX)] {
            let mut out = Vec::new();
            put_owner(&mut out, owner);
            let mut fields = Fields(&out);
            assert_eq!(fields.owner(), Some(owner));
            assert!(fields.0.is_empty());
        }
        let mut out = Vec::new();
        put_varint(&mut out, (1 << 32) + 1);
        assert_eq!(Fields(&out).owner(), None, "no uid is so great");
        assert_eq!(Fields(&[]).owner(), None);
    }
}
