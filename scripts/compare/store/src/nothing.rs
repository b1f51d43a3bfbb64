//! Nobody: what it costs to make the dots that the others are given.

use std::hint::black_box;
use std::path::Path;

use crate::Failure;
use crate::engine::{Engine, LineReading, LineWriting, Reading, Writing};
use crate::lines::LineBatch;
use crate::work::{Batch, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "nothing",
    title: "(making the dots, keeping nothing)",
    durability: "none",
    needs: None,
    dots: Some((write, read)),
    lines: Some((write_lines, read_lines)),
    share: |_| 1.0,
};

struct Nothing;

fn write(_: &Path, _: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(Nothing))
}

fn read(_: &Path, _: &Work) -> Result<Box<dyn Reading>, Failure> {
    Err("nothing was kept".into())
}

fn write_lines(_: &Path) -> Result<Box<dyn LineWriting>, Failure> {
    Ok(Box::new(Nothing))
}

fn read_lines(_: &Path) -> Result<Box<dyn LineReading>, Failure> {
    Err("nothing was kept".into())
}

impl Writing for Nothing {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        black_box((&batch.series, &batch.times, &batch.values));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl LineWriting for Nothing {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        black_box((&batch.times, &batch.text));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
