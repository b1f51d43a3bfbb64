//! `dotter-store compact`: small segments into larger ones.

use std::cell::RefCell;
use std::path::Path;

use dotter_daemon::stop_on_signals;
use dotter_store::{Compacted, Limits, Machine, Reader, Writer};

use crate::args::CompactOptions;
use crate::error::Error;
use crate::filtered;
use crate::progress::Progress;
use crate::retain;

pub(crate) fn run(dir: &Path, options: &CompactOptions) -> Result<(), Error> {
    compact(dir, options)?;
    // No collector may be running to unlink the files that were replaced.
    dotter_store::tidy(dir, &Machine::now()?)?;
    Ok(())
}

fn compact(dir: &Path, options: &CompactOptions) -> Result<(), Error> {
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let cancel = || stop.is_set();
    let line = RefCell::new(Progress::new("compacting", "bytes", None));
    let progress = |done: u64, total: u64| {
        let mut line = line.borrow_mut();
        line.set_total(total);
        line.at(done);
    };
    if let Some(command) = &options.filter {
        *line.borrow_mut() = Progress::new("filtering", "rows", None);
        return filtered::run(dir, command, options.timestamp_format.as_ref(), &cancel, &progress);
    }
    close_log(dir)?;
    retain::take_rules(dir)?;
    dotter_store::read_clock(dir, &Machine::now()?)?;
    if options.major {
        dotter_store::seal_all(dir, &cancel)?;
        let Compacted { before, after, replaced, deleted, damaged } =
            dotter_store::compact_major(dir, &cancel, &progress)?;
        // What lies in its window now may have been over for as long as it is kept.
        let expired = grow_old(dir, &cancel)?;
        drop(line);
        eprintln!(
            "{before} segments became {after}: {replaced} dots replaced, {deleted} deleted, {expired} expired, \
             {damaged} damaged"
        );
        return Ok(());
    }
    let sealed = dotter_store::seal_all(dir, &cancel)?;
    let mut rounds = 0;
    while dotter_store::compact(dir, &cancel)? {
        rounds += 1;
    }
    eprintln!("{sealed} dots sealed, {rounds} rounds of merging");
    Ok(())
}

/// One retention pass; returns how many dots expired.
fn grow_old(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<u64, Error> {
    let retained = dotter_store::retain(dir, &Machine::now()?, &Limits::default(), cancel)?;
    if retained.held > 0 {
        retain::say(&retained);
    }
    Ok(retained.dots)
}

/// Closes the last WAL file where no process writes the log, so that it can be sealed with the others.
fn close_log(dir: &Path) -> Result<(), Error> {
    // Opening a writer would make a store where there is none.
    Reader::open(dir)?;
    match Writer::open(dir) {
        Ok(_) | Err(dotter_store::Error::Locked(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
