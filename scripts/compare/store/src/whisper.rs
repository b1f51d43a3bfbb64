//! Whisper: Graphite's store, a file of fixed size for each series, from Python.

use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::work::{Batch, Kind, SECOND, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "whisper",
    title: "Whisper",
    durability: "none: written, not synced",
    needs: Some(("whisper-create", "python3-whisper")),
    dots: Some((write, read)),
    lines: None,
    share: |kind| match kind {
        Kind::Long => 0.1,
        Kind::Wide => 0.05,
        // Its files hold what a retention says, at a step that is given.
        _ => 0.0,
    },
};

/// Debian's package is for Debian's Python, whatever other there is.
const PYTHON: &str = "/usr/bin/python3";
const PROGRAM: &str = include_str!("whisper.py");

struct Store {
    child: Child,
    to: Option<BufWriter<ChildStdin>>,
    from: BufReader<ChildStdout>,
    order: Vec<u32>,
    bytes: Vec<u8>,
}

fn start(dir: &Path, work: &Work) -> Result<Store, Failure> {
    let mut command = Command::new(PYTHON);
    command.args(["-c", PROGRAM]).arg(dir);
    command.args([(work.ticks + 1).to_string(), (work.span().end / SECOND).to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let to = child.stdin.take().map(BufWriter::new);
    let from = BufReader::new(child.stdout.take().ok_or("the child has an output")?);
    Ok(Store { child, to, from, order: Vec::new(), bytes: Vec::new() })
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(start(dir, work)?))
}

impl Store {
    fn send(&mut self) -> Result<(), Failure> {
        let to = self.to.as_mut().ok_or("the child has ended")?;
        to.write_all(&self.bytes)?;
        Ok(to.flush()?)
    }
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.order.clear();
        self.order.extend(0..batch.len() as u32);
        self.order.sort_by_key(|at| batch.series[*at as usize]);
        let of = |at: &u32| batch.series[*at as usize];
        let groups = self.order.chunk_by(|a, b| of(a) == of(b));
        self.bytes.clear();
        self.bytes.push(b'w');
        self.bytes.extend_from_slice(&(groups.clone().count() as u32).to_le_bytes());
        for dots in groups {
            self.bytes.extend_from_slice(&of(&dots[0]).to_le_bytes());
            self.bytes.extend_from_slice(&(dots.len() as u32).to_le_bytes());
            let times = dots.iter().map(|at| (batch.times[*at as usize] / SECOND) as u32);
            times.for_each(|time| self.bytes.extend_from_slice(&time.to_le_bytes()));
            let values = dots.iter().map(|at| batch.values[*at as usize]);
            values.for_each(|value| self.bytes.extend_from_slice(&value.to_le_bytes()));
        }
        self.send()?;
        Ok(self.from.read_exact(&mut [0])?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.to = None;
        if self.child.wait()?.success() { Ok(()) } else { Err("the child failed".into()) }
    }

    fn server(&self) -> Option<u32> {
        Some(self.child.id())
    }
}

fn read(dir: &Path, work: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(start(dir, work)?))
}

impl Reading for Store {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        let span = work.span();
        let (from, until) = (range.start.max(span.start) / SECOND, range.end.min(span.end) / SECOND);
        self.bytes.clear();
        self.bytes.push(b'r');
        [number, from as u32, until as u32]
            .iter()
            .for_each(|word| self.bytes.extend_from_slice(&word.to_le_bytes()));
        self.send()?;
        let mut count = [0; 4];
        self.from.read_exact(&mut count)?;
        let count = u32::from_le_bytes(count) as usize;
        self.bytes.resize(count * 12, 0);
        self.from.read_exact(&mut self.bytes)?;
        let (times, values) = self.bytes.split_at(count * 4);
        let mut sum = Sum::default();
        for (time, value) in times.as_chunks().0.iter().zip(values.as_chunks().0) {
            sum.add(u64::from(u32::from_le_bytes(*time)) * SECOND, f64::from_le_bytes(*value));
        }
        Ok(sum)
    }

    fn host(&mut self, work: &Work, host: u32) -> Result<Sum, Failure> {
        self.all(work, host * work.together..(host + 1) * work.together)
    }

    fn scan(&mut self, work: &Work) -> Result<Sum, Failure> {
        self.all(work, 0..work.names.len() as u32)
    }

    fn server(&self) -> Option<u32> {
        Some(self.child.id())
    }
}

impl Store {
    fn all(&mut self, work: &Work, numbers: Range<u32>) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for number in numbers {
            sum.join(&self.series(work, number, 0..u64::MAX)?);
        }
        Ok(sum)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}
