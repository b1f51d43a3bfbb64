//! `dotter-store compact`: small segments into larger ones.

use std::cell::RefCell;
use std::path::Path;

use dotter_daemon::stop_on_signals;
use dotter_store::{Compacted, Machine, Reader, Retention, Rules, Writer};

use crate::args::CompactOptions;
use crate::error::Error;
use crate::filtered;
use crate::progress::Progress;

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
    if options.major {
        dotter_store::seal_all(dir, &cancel)?;
        let (retention, removed) = grow_old(dir, &cancel)?;
        let Compacted { before, after, replaced, deleted, expired, damaged } =
            retention.compact_major(dir, &cancel, &progress)?;
        let expired = expired + removed;
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

/// Runs retention passes until all windows of archives are computed. Where the rules were not announced before, it
/// prints what they would remove, and removes nothing. Returns how many dots they removed, too.
fn grow_old(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<(Retention, u64), Error> {
    for rule in Rules::read(dir).skipped() {
        eprintln!(
            "retention rules: {rule}; skipped: nothing is removed of series that it means, or may mean"
        );
    }
    let mut retention = Retention::default();
    let mut removed = 0;
    loop {
        let retained = retention.pass(dir, &Machine::now()?, cancel)?;
        removed += if retained.only_reported { 0 } else { retained.dots };
        if retained.only_reported && retained.dots + retained.archives_gone + retained.archives_thinned > 0 {
            eprintln!(
                "{} dots, {} archive windows and parts of {} are older than they are kept, by rules that no look has \
                 announced before this one, or by a clock that has jumped: they stay, and go the next time",
                retained.dots, retained.archives_gone, retained.archives_thinned
            );
        }
        // A second pass in the same run would find the rules announced before a person has read what they remove.
        if retained.only_reported || retained.archives_made == 0 {
            return Ok((retention, removed));
        }
    }
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
