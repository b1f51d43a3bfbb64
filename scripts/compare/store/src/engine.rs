//! What is measured of anyone who keeps dots, and who there is.

use std::ops::Range;
use std::path::Path;

use crate::Failure;
use crate::lines::{Found, LineBatch};
use crate::work::{Batch, Kind, Sum, Work};

/// One that takes dots in.
pub(crate) trait Writing {
    /// Comes back when the batch is as durable as [`Engine::durability`] says.
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure>;

    /// Does now what otherwise happens when there is time: compaction, checkpoints.
    fn settle(&mut self) -> Result<(), Failure>;

    /// Another process that does the work, if one does.
    fn server(&self) -> Option<u32> {
        None
    }
}

/// One that gives them back. Everything that is read passes through a [`Sum`], dot by dot.
pub(crate) trait Reading {
    /// One series, within half-open times.
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure>;

    /// All series of a host.
    fn host(&mut self, work: &Work, host: u32) -> Result<Sum, Failure>;

    /// All there is.
    fn scan(&mut self, work: &Work) -> Result<Sum, Failure>;

    fn server(&self) -> Option<u32> {
        None
    }
}

/// One that takes lines in.
pub(crate) trait LineWriting {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure>;
    fn settle(&mut self) -> Result<(), Failure>;
}

/// One that finds lines that contain a text.
pub(crate) trait LineReading {
    fn find(&mut self, range: Range<u64>) -> Result<Found, Failure>;
}

/// Makes what `Trait` says of a directory.
pub(crate) type Make<Trait> = fn(&Path, &Work) -> Result<Box<Trait>, Failure>;
/// The same for lines.
pub(crate) type MakeLines<Trait> = fn(&Path) -> Result<Box<Trait>, Failure>;

/// Someone to compare.
pub(crate) struct Engine {
    pub(crate) word: &'static str,
    pub(crate) title: &'static str,
    /// What a commit that has come back survives.
    pub(crate) durability: &'static str,
    /// The program it needs, and the package that has it.
    pub(crate) needs: Option<(&'static str, &'static str)>,
    pub(crate) dots: Option<(Make<dyn Writing>, Make<dyn Reading>)>,
    pub(crate) lines: Option<(MakeLines<dyn LineWriting>, MakeLines<dyn LineReading>)>,
    /// How much of a workload it is given; nothing where it cannot take it.
    pub(crate) share: fn(Kind) -> f64,
}

impl Engine {
    /// Whether all it needs is installed.
    pub(crate) fn is_here(&self) -> bool {
        let Some((program, _)) = self.needs else { return true };
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
    }
}

pub(crate) const ENGINES: &[Engine] = &[
    crate::nothing::ENGINE,
    crate::dotter::ENGINE,
    crate::sonnerie::ENGINE,
    crate::sqlite::ENGINE,
    crate::lmdb::ENGINE,
    crate::redb::ENGINE,
    crate::fjall::ENGINE,
    crate::victoria::ENGINE,
    crate::prometheus::ENGINE,
    crate::whisper::ENGINE,
    crate::file::ENGINE,
];
