//! `dotter-store read`: rows as text, in the order of their series and times.

use std::io::Write;
use std::path::Path;

use dotter_intake::row_text::Times;
use dotter_store::{Reader, Search};

use crate::args::ReadOptions;
use crate::error::Error;
use crate::follow;
use crate::found::{check_filter, head, is_whole, print};
use crate::page::{Printer, Style};

/// Prints what was asked for; `false` where damaged data had to be left out.
pub(crate) fn run(dir: &Path, options: &ReadOptions, out: &mut impl Write) -> Result<bool, Error> {
    if options.chosen.pattern.is_none()
        && options.chosen.first_key.is_none()
        && options.chosen.last_key.is_none()
    {
        return Err(Error::Usage("no series: name one, or a pattern such as '%'".to_owned()));
    }
    let printer = printer(options);
    if options.follow {
        follow::run(dir, options, &printer, out)?;
        return Ok(true);
    }
    let snapshot = Reader::open(dir)?.snapshot();
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
