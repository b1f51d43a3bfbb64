//! `dotter-store top`: which series make a store large.

use std::cmp::Ordering;
use std::io::Write;
use std::path::Path;

use dotter_dot::{SeriesName, TimeRange};
use dotter_store::{Reader, Snapshot};
use serde_json::json;

use crate::args::{By, TopOptions};
use crate::error::Error;
use crate::progress::Progress;

/// How large a series is.
struct Size {
    name: SeriesName,
    dots: u64,
    bytes: u64,
    /// Dots a second from the first to the last; none where there is but one moment.
    rate: f64,
}

pub(crate) fn run(dir: &Path, options: &TopOptions, out: &mut impl Write) -> Result<(), Error> {
    let snapshot = Reader::open(dir)?.snapshot();
    let series = options.chosen.series(&snapshot);
    let mut progress = Progress::new("reading", "series", Some(series.len() as u64));
    let mut top: Vec<Size> = Vec::new();
    for (done, name) in (0..).zip(series) {
        let size = size(&snapshot, name, options.chosen.range())?;
        if size.dots > 0 {
            top.push(size);
        }
        // Sorted now and then, so that no more is held than a few times what is asked for.
        if top.len() >= options.count.saturating_mul(4).saturating_add(4096) {
            cut(&mut top, options);
        }
        progress.at(done);
    }
    drop(progress);
    cut(&mut top, options);
    if options.json { print_json(&top, out) } else { print(&top, out) }.map_err(Error::Output)
}

fn cut(top: &mut Vec<Size>, options: &TopOptions) {
    let order = |left: &Size, right: &Size| match options.by {
        By::Dots => right.dots.cmp(&left.dots),
        By::Bytes => right.bytes.cmp(&left.bytes),
        By::Rate => right.rate.total_cmp(&left.rate),
    };
    top.sort_by(|left, right| match order(left, right) {
        Ordering::Equal => left.name.cmp(&right.name),
        other => other,
    });
    top.truncate(options.count);
}

/// Of chunks that lie within the range at all.
fn size(snapshot: &Snapshot, name: SeriesName, range: TimeRange) -> Result<Size, Error> {
    let chunks = snapshot.chunks(name.as_str(), range)?;
    let dots = chunks.iter().map(|chunk| chunk.dots).sum();
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    let first = chunks.iter().map(|chunk| chunk.first).min();
    let last = chunks.iter().map(|chunk| chunk.last).max();
    let seconds = first.zip(last).map_or(0.0, |(first, last)| last.since(first).as_secs_f64());
    // From the first to the last there is one dot fewer.
    let rate = if seconds > 0.0 { (dots - 1) as f64 / seconds } else { 0.0 };
    Ok(Size { name, dots, bytes, rate })
}

fn print(top: &[Size], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:>14} {:>14} {:>8} {:>12}  series", "dots", "bytes", "a dot", "dots/s")?;
    for Size { name, dots, bytes, rate } in top {
        let each = *bytes as f64 / *dots as f64;
        writeln!(out, "{dots:>14} {bytes:>14} {each:>8.2} {rate:>12.3}  {name}")?;
    }
    Ok(())
}

fn print_json(top: &[Size], out: &mut impl Write) -> std::io::Result<()> {
    let object = |size: &Size| {
        json!({
            "series": size.name.as_str(), "dots": size.dots, "bytes": size.bytes, "dots_per_second": size.rate,
        })
    };
    writeln!(out, "{}", serde_json::Value::Array(top.iter().map(object).collect()))
}
