//! What lies on the disk of the model: cells, WAL files, and the two copies of the list.
//!
//! A cell holds one frame or one header. The page cache has one value of the cell, which every process
//! reads. The disk has one of several values: what was there before, what was written since, or half of a
//! write. A sync that succeeds leaves one. A sync that fails leaves all of them, and the page is no longer
//! dirty: the next sync succeeds and writes nothing.

use crate::rule::Rule;

/// At most this many items; equal lists are equal bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row<T, const N: usize> {
    count: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Row<T, N> {
    pub fn new() -> Self {
        Row { count: 0, items: [T::default(); N] }
    }

    pub fn push(&mut self, item: T) {
        self.items[usize::from(self.count)] = item;
        self.count += 1;
    }

    pub fn pop(&mut self) {
        self.count -= 1;
        self.items[usize::from(self.count)] = T::default();
    }
}

impl<T, const N: usize> std::ops::Deref for Row<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.count)]
    }
}

impl<T, const N: usize> std::ops::DerefMut for Row<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.count)]
    }
}

/// The value of a cell without a whole frame.
pub const NOTHING: u8 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// What the page cache holds: [`NOTHING`], a commit plus one, or a fixed length plus one.
    pub value: u8,
    /// One bit for each value that the disk may hold.
    pub on_disk: u8,
    /// Whether the next sync writes the cell.
    pub dirty: bool,
}

impl Default for Cell {
    fn default() -> Self {
        Cell { value: NOTHING, on_disk: 1 << NOTHING, dirty: false }
    }
}

impl Cell {
    pub fn written(value: u8) -> Cell {
        let mut cell = Cell::default();
        cell.write(value);
        cell
    }

    pub fn write(&mut self, value: u8) {
        // Half of a write is no frame, unless the same bytes were there.
        if self.value != value {
            self.on_disk |= 1 << NOTHING;
        }
        self.on_disk |= 1 << value;
        self.value = value;
        self.dirty = true;
    }

    pub fn write_again(&mut self) {
        self.write(self.value);
    }

    pub fn sync(&mut self, succeeds: bool) {
        if self.dirty && succeeds {
            self.on_disk = 1 << self.value;
        }
        self.dirty = false;
    }

    /// The page cache forgets the cell, and the disk turns out to hold `value`.
    pub fn reread(&mut self, value: u8) {
        *self = Cell { value, on_disk: 1 << value, dirty: false };
    }

    pub fn is_certain(&self) -> bool {
        self.on_disk == 1 << self.value
    }

    pub fn choices(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |value| self.on_disk & (1 << value) != 0)
    }
}

pub type Frames = Row<Cell, 4>;

impl Frames {
    /// How many whole frames there are before the first place without one.
    pub fn whole(&self) -> usize {
        self.iter().take_while(|cell| cell.value != NOTHING).count()
    }

    pub fn write(&mut self, index: usize, value: u8) {
        while self.len() <= index {
            self.push(Cell::default());
        }
        self[index].write(value);
    }

    /// Drops the places at the end that hold nothing, in the page cache and on the disk.
    pub fn trim(&mut self) {
        while self.last().is_some_and(|cell| *cell == Cell::default()) {
            self.pop();
        }
    }

    pub fn sync(&mut self, succeeds: bool) {
        for cell in self.iter_mut() {
            cell.sync(succeeds);
        }
        self.trim();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct File {
    /// The length of the file before this one, plus one.
    pub header: Cell,
    /// The boot in which the file was made.
    pub boot: u8,
    /// How many frames the header says are published; never synced.
    pub published: u8,
    /// The commits in the file, plus one each.
    pub frames: Frames,
}

impl Default for File {
    fn default() -> Self {
        File { header: Cell::default(), boot: 0, published: 0, frames: Frames::new() }
    }
}

impl File {
    pub fn publish(&mut self, rule: &Rule, count: u8) {
        self.published = count;
        if !rule.word_apart {
            self.header.on_disk |= 1 << NOTHING;
            self.header.dirty = true;
        }
    }

    pub fn sync(&mut self, succeeds: bool) {
        self.header.sync(succeeds);
        self.frames.sync(succeeds);
    }
}

/// MANIFEST and MANIFEST.2: edits, each the number of its commit plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct List {
    pub copies: [Frames; 2],
    /// How many edits the header says are published; never synced.
    pub published: u8,
    /// The boot in which `published` was written.
    pub boot: u8,
}

impl List {
    pub fn new() -> List {
        List { copies: [Frames::new(); 2], published: 0, boot: 0 }
    }

    /// The copy with more whole edits; MANIFEST where both have equally many.
    pub fn source(&self) -> &Frames {
        let [first, second] = &self.copies;
        if second.whole() > first.whole() { second } else { first }
    }
}
