//! A list of series, as a rule may mean them: a file with a name a line, in any order.

use std::sync::Arc;

use dotter_dot::{SeriesName, put_varint};

use crate::format::bytes::{Fields, put_shared, put_text};

/// Names of series, each once, in order.
#[derive(Clone, Debug)]
pub(crate) struct NameList {
    /// The file that they come from, in the directory of the store.
    file: Arc<str>,
    names: Arc<[Box<str>]>,
    /// A hash of all names.
    ///
    /// Source: FNV-1a, 64 bits.
    mark: u64,
}

/// Two that have the same names, from whatever file.
impl PartialEq for NameList {
    fn eq(&self, other: &NameList) -> bool {
        self.mark == other.mark && self.names == other.names
    }
}

impl NameList {
    fn new(file: &str, mut names: Vec<Box<str>>) -> NameList {
        names.sort_unstable();
        names.dedup();
        let bytes = names.iter().flat_map(|name| name.bytes().chain([b'\n']));
        let mark = bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        NameList { file: file.into(), names: names.into(), mark }
    }

    /// Reads the text of a file: a name a line. Empty lines count for nothing.
    ///
    /// An error says the line, from 1, and what is wrong with it.
    pub(crate) fn read(file: &str, text: &str) -> Result<NameList, String> {
        let mut names: Vec<Box<str>> = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
            let name = SeriesName::new(line).map_err(|error| format!("{file} line {number}: {error}"))?;
            names.push(name.as_str().into());
        }
        Ok(NameList::new(file, names))
    }

    /// Whether a series is among them.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.binary_search_by(|other| (**other).cmp(name)).is_ok()
    }

    /// The file that they come from.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// A number that differs where the names differ.
    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    /// Appends all of it: the file, then the names, each by what it shares with the one before.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.file);
        put_varint(out, self.names.len() as u64);
        let mut before: &[u8] = &[];
        for name in &*self.names {
            put_shared(out, before, name.as_bytes());
            before = name.as_bytes();
        }
    }

    /// Reads what [`NameList::encode`] wrote; `None` where it makes no sense.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<NameList> {
        let file = fields.text()?;
        let (mut names, mut name): (Vec<Box<str>>, Vec<u8>) = (Vec::new(), Vec::new());
        for _ in 0..fields.count(3)? {
            fields.shared(&mut name)?;
            let name: Box<str> = std::str::from_utf8(&name).ok()?.into();
            if names.last().is_some_and(|before| *before >= name) {
                return None;
            }
            names.push(name);
        }
        Some(NameList::new(file, names))
    }
}
