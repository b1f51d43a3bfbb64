//! Reading several names files of one id epoch as one, from the least id to the greatest.

use dotter_dot::{SeriesName, Shape};

use crate::disk::names::NamesFile;
use crate::error::Error;

/// What one id means.
type Meaning = (u32, SeriesName, Shape);

/// Several names files of one id epoch as one. An id may stand in several of them.
pub(crate) struct Merge {
    streams: Vec<Stream>,
    /// Memory that is reused.
    bytes: Vec<u8>,
}

/// A names file that is read from its first id to its last.
struct Stream {
    file: NamesFile,
    /// The next block.
    block: usize,
    names: std::vec::IntoIter<Meaning>,
    next: Option<Meaning>,
}

impl Merge {
    pub(crate) fn new(files: impl IntoIterator<Item = NamesFile>) -> Merge {
        let stream = |file| Stream { file, block: 0, names: Vec::new().into_iter(), next: None };
        Merge { streams: files.into_iter().map(stream).collect(), bytes: Vec::new() }
    }

    /// The next id and what it means; `None` behind the last one. Ids ascend, and each comes once.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where a block is damaged, or where two files say that an id means different things; the system's.
    pub(crate) fn next(&mut self) -> Result<Option<Meaning>, Error> {
        for stream in &mut self.streams {
            stream.fill(&mut self.bytes)?;
        }
        let id_of = |stream: &Stream| stream.next.as_ref().map(|(id, ..)| *id);
        let Some(id) = self.streams.iter().filter_map(id_of).min() else { return Ok(None) };
        let mut same = self.streams.iter_mut().filter(|stream| id_of(stream) == Some(id));
        let Some(first) = same.next() else { return Ok(None) };
        let meaning = first.next.take();
        for other in same {
            let next = other.next.take();
            if next != meaning
                && let Some(((_, here, _), (_, there, _))) = next.zip(meaning.as_ref())
            {
                let file = first.file.path().file_name().unwrap_or_default().display();
                let what = format!("id {id} is {here}, expected {there} with its shape, as in {file}");
                return Err(Error::damaged(other.file.path(), 0, what));
            }
        }
        Ok(meaning)
    }
}

impl Stream {
    /// Makes `next` the next one; it stays `None` at the end.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        while self.next.is_none() {
            self.next = self.names.next();
            if self.next.is_some() || self.block == self.file.blocks().len() {
                break;
            }
            let mut names = Vec::new();
            let each = |id, name, shape: &Shape| {
                names.push((id, name, shape.clone()));
                true
            };
            self.file.block(self.block, bytes, each, |_| true)?;
            self.block += 1;
            self.names = names.into_iter();
        }
        Ok(())
    }
}
