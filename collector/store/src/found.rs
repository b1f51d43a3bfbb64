//! What a search finds, printed.

use std::io::Write;

use dotter_dot::Shape;
use dotter_store::{Search, Snapshot};

use crate::error::Error;
use crate::page::{Binder, Printer, Style};

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
