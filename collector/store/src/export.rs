//! `dotter-store export`: rows as another program's file.

use std::io::Write;
use std::path::Path;

use dotter_intake::row_text::Times;
use dotter_store::{Reader, Search};

use crate::args::ExportOptions;
use crate::error::Error;
use crate::found;
use crate::page::{Printer, Style};

/// Writes what was asked for; `false` where damaged data had to be left out.
pub(crate) fn run(dir: &Path, options: &ExportOptions, out: &mut impl Write) -> Result<bool, Error> {
    let snapshot = Reader::open(dir)?.snapshot();
    let series = options.chosen.series(&snapshot);
    let search = Search {
        snapshot: &snapshot,
        series: &series,
        range: options.chosen.range(),
        filter: options.filter.as_deref(),
        threads: options.threads,
    };
    match &options.parquet {
        Some(path) => parquet(&search, path)?,
        None => {
            let (style, times) = match options.json {
                true => (Style::Json, Times::Seconds),
                false => (Style::Csv { with_format: true }, Times::Rfc3339),
            };
            let printer = Printer { style, times, format: None, columns: None };
            found::head(&search, &printer, out)?;
            if !found::print(&search, &printer, out)? {
                found::check_filter(&search)?;
            }
        }
    }
    Ok(found::is_whole(&snapshot))
}

#[cfg(feature = "parquet")]
fn parquet(search: &Search<'_>, path: &Path) -> Result<(), Error> {
    crate::parquet::write(search, path)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Search<'_>, _: &Path) -> Result<(), Error> {
    let what = "this build writes no Parquet files: build it with cargo build --release --features parquet, or export --csv";
    Err(Error::Usage(what.to_owned()))
}
