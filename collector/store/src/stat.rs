//! `dotter-store stat`: how large the store is.

use std::io::Write;
use std::path::Path;

use dotter_store::{Placed, Reader, Stat};
use serde_json::json;

use crate::error::Error;

pub(crate) fn run(dir: &Path, as_json: bool, out: &mut impl Write) -> Result<(), Error> {
    let stat = Reader::open(dir)?.snapshot().stat();
    if as_json { print_json(&stat, out) } else { print(&stat, out) }.map_err(Error::Output)
}

fn print(stat: &Stat, out: &mut impl Write) -> std::io::Result<()> {
    let per_dot = |bytes: u64, dots: u64| if dots == 0 { 0.0 } else { bytes as f64 / dots as f64 };
    writeln!(out, "series          {}", stat.series)?;
    writeln!(out, "dots            {}", stat.dots)?;
    writeln!(
        out,
        "segments        {}, {} bytes, {} dots, {:.2} bytes a dot",
        stat.segments,
        stat.segment_bytes,
        stat.segment_dots,
        per_dot(stat.segment_bytes, stat.segment_dots)
    )?;
    for level in &stat.levels {
        writeln!(
            out,
            "  level {}       {}, {} bytes, {} dots, {:.2} bytes a dot",
            level.level,
            level.segments,
            level.bytes,
            level.dots,
            per_dot(level.bytes, level.dots)
        )?;
    }
    for placed in &stat.places {
        let Placed { place, segments, bytes, dots } = placed;
        writeln!(out, "  {place}: {segments}, {bytes} bytes, {dots} dots")?;
    }
    writeln!(out, "WAL files       {}, {} bytes, {} dots", stat.wal_files, stat.wal_bytes, stat.wal_dots)?;
    if stat.names_files > 0 {
        writeln!(out, "names files     {}, {} bytes", stat.names_files, stat.names_bytes)?;
    }
    if stat.tombstones > 0 {
        writeln!(out, "tombstones      {}; a compaction removes what they hide", stat.tombstones)?;
    }
    writeln!(out, "sequence        {}", stat.sequence)?;
    writeln!(out, "generation      {}", stat.generation)?;
    if stat.damaged_segments > 0 {
        writeln!(out, "damaged         {} segments; see verify", stat.damaged_segments)?;
    }
    Ok(())
}

fn print_json(stat: &Stat, out: &mut impl Write) -> std::io::Result<()> {
    let level = |level: &dotter_store::Level| {
        json!({
            "level": level.level, "segments": level.segments, "bytes": level.bytes, "dots": level.dots,
        })
    };
    let placed = |placed: &Placed| {
        let Placed { place, segments, bytes, dots } = placed;
        json!({
            "step_ns": place.tier.step.as_nanos() as u64, "keep_ns": place.tier.keep.as_nanos() as u64,
            "window_from_ns": place.window.from.nanos(), "window_width_ns": place.window.width.as_nanos() as u64,
            "late": place.is_late, "segments": segments, "bytes": bytes, "dots": dots,
        })
    };
    let object = json!({
        "series": stat.series,
        "dots": stat.dots,
        "segments": stat.segments,
        "segment_bytes": stat.segment_bytes,
        "segment_dots": stat.segment_dots,
        "levels": stat.levels.iter().map(level).collect::<Vec<_>>(),
        "places": stat.places.iter().map(placed).collect::<Vec<_>>(),
        "wal_files": stat.wal_files,
        "wal_bytes": stat.wal_bytes,
        "wal_dots": stat.wal_dots,
        "names_files": stat.names_files,
        "names_bytes": stat.names_bytes,
        "tombstones": stat.tombstones,
        "sequence": stat.sequence,
        "generation": stat.generation,
        "damaged_segments": stat.damaged_segments,
    });
    writeln!(out, "{object}")
}
