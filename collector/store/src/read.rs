//! `dotter-store read`: rows as text, in the order of their series and times.

use std::io::Write;
use std::path::Path;

use dotter_dot::Shape;
use dotter_intake::row_text::Times;
use dotter_store::{Reader, Search, Snapshot};

use crate::args::ReadOptions;
use crate::error::Error;
use crate::follow;
use crate::page::{Binder, Printer, Style};

/// Prints what was asked for; `false` where damaged data had to be left out.
pub(crate) fn run(dir: &Path, options: &ReadOptions, out: &mut impl Write) -> Result<bool, Error> {
    if options.chosen.pattern.is_none()
        && options.chosen.first_key.is_none()
        && options.chosen.last_key.is_none()
    {
        return Err(Error::Usage("no series: name one, or a pattern such as '%'".to_owned()));
    }
    let printer = printer(options);
    let reader = Reader::open(dir)?;
    if options.follow {
        follow::run(reader, options, &printer, out)?;
        return Ok(true);
    }
    let snapshot = reader.snapshot();
    let series = options.chosen.series(&snapshot);
    let search = Search {
        snapshot: &snapshot,
        series: &series,
        range: options.chosen.range(),
        filter: options.filter.as_deref(),
        threads: options.threads,
    };
    head(&search, &printer, out)?;
    if !print(&search, &printer, out)? {
        check_filter(&search)?;
    }
    Ok(is_whole(&snapshot))
}

/// Prints what stands above what a search finds.
pub(crate) fn head(search: &Search<'_>, printer: &Printer, out: &mut impl Write) -> Result<(), Error> {
    let shapes = if matches!(printer.style, Style::Csv { .. }) { shapes(search)? } else { Vec::new() };
    printer.head(&shapes, out).map_err(Error::Output)
}

/// Prints what a search finds; `false` where that is nothing.
pub(crate) fn print(search: &Search<'_>, printer: &Printer, out: &mut impl Write) -> Result<bool, Error> {
    let mut binder = Binder::new(printer.style, out);
    let mut has_rows = false;
    search.run(
        |name, row, page| printer.row(name, row, page),
        |page| {
            has_rows |= !page.is_empty();
            binder.page(page).map_err(Error::Output)
        },
    )?;
    binder.end().map_err(Error::Output)?;
    Ok(has_rows)
}

/// Says why a search found nothing where its filter takes raw bytes for something else, or something else for them.
pub(crate) fn check_filter(search: &Search<'_>) -> Result<(), Error> {
    let Some(filter) = search.filter else { return Ok(()) };
    match filter.mismatch(&shapes(search)?) {
        Some(mismatch) => Err(Error::Usage(format!("--where: {mismatch}"))),
        None => Ok(()),
    }
}

/// Every shape the series have had within the range, each once.
pub(crate) fn shapes(search: &Search<'_>) -> Result<Vec<Shape>, Error> {
    let mut shapes: Vec<Shape> = Vec::new();
    for name in search.series {
        for shape in search.snapshot.shapes(name.as_str(), search.range)? {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
    }
    Ok(shapes)
}

/// Whether nothing was damaged; what was is told.
pub(crate) fn is_whole(snapshot: &Snapshot) -> bool {
    let stat = snapshot.stat();
    let (segments, chunks) = (stat.damaged_segments, stat.damaged_chunks);
    let whole = segments == 0 && chunks == 0;
    if !whole {
        eprintln!("{segments} segments and {chunks} chunks are damaged and left out; verify names them");
    }
    whole
}

fn printer(options: &ReadOptions) -> Printer {
    let style = if options.json {
        Style::Json
    } else if options.csv {
        Style::Csv { with_format: options.print_format }
    } else if options.plain {
        Style::Plain
    } else {
        Style::Rows { with_format: options.print_format }
    };
    let times = if options.json || options.timestamp_seconds {
        Times::Seconds
    } else if options.timestamp_nanos {
        Times::Nanos
    } else {
        options.times.into()
    };
    Printer { style, times, format: options.timestamp_format.clone(), columns: options.columns.clone() }
}
