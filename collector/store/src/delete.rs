//! `dotter-store delete`: rows hidden from now on, and with `--purge` gone from all files of the store.

use std::path::Path;
use std::time::{Duration, Instant};

use dotter_daemon::{chain, stop_on_signals};
use dotter_store::{Purge, Purged};

use crate::args::DeleteOptions;
use crate::error::Error;
use crate::handover::{Closed, Collector};

/// How long a collector is asked to close the file of the log.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// How long a seal that another process has begun is waited for.
const SEAL_WITHIN: Duration = Duration::from_secs(600);

/// Between two looks at whether the log is sealed.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(dir: &Path, options: &DeleteOptions) -> Result<(), Error> {
    let chosen = &options.chosen;
    if chosen.range().is_empty() {
        return Err(Error::Usage("--before is not later than --after: no row lies between them".to_owned()));
    }
    if options.purge {
        return purge(dir, options);
    }
    dotter_store::delete(dir, &chosen.deletion())?;
    eprintln!("deleted what was committed before now; a compaction frees its room");
    Ok(())
}

fn purge(dir: &Path, options: &DeleteOptions) -> Result<(), Error> {
    // Before the delete: from then on it is to be said what has happened.
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let cancel = || stop.is_set();
    let purge = Purge::begin(dir, &options.chosen.deletion())?;
    let not_purged = |error: dotter_store::Error| match error {
        dotter_store::Error::GivenUp => Error::NotPurged("it was stopped".to_owned()),
        error => Error::NotPurged(chain(&error)),
    };
    seal(dir, &purge, &cancel)?;
    let waits = || eprintln!("waiting up to 10 minutes for another process, which merges segments");
    let Purged { rows, segments, damaged } = purge.run(&cancel, &waits).map_err(not_purged)?;
    if damaged > 0 {
        return Err(Error::NotPurged(format!(
            "{damaged} segments are damaged, and may have some of them: verify names them. {rows} rows were removed, \
             {segments} segments written anew"
        )));
    }
    eprintln!(
        "deleted and purged: {rows} rows removed, {segments} segments written anew. No file of the store has them any \
         more; backups, and copies made in other ways, do"
    );
    Ok(())
}

/// Brings what was committed before the delete into segments, where needed with the help of the collector.
fn seal(dir: &Path, purge: &Purge, cancel: &dyn Fn() -> bool) -> Result<(), Error> {
    let began = Instant::now();
    let mut is_closed = false;
    let mut last = "another process has the log open, and no collector answers at collector.sock".to_owned();
    loop {
        if purge.seal(cancel).map_err(|error| Error::NotPurged(chain(&error)))? {
            return Ok(());
        }
        if cancel() {
            return Err(Error::NotPurged("it was stopped".to_owned()));
        }
        if !is_closed && let Some(collector) = Collector::reach(dir) {
            match collector.close_file() {
                Closed::Yes => {
                    is_closed = true;
                    last =
                        format!("another process has been sealing the log for {} s", SEAL_WITHIN.as_secs());
                }
                Closed::NotNow(why) => last = why,
                Closed::Never(why) => return Err(Error::NotPurged(why)),
            }
        }
        if began.elapsed() >= if is_closed { SEAL_WITHIN } else { CLOSE_WITHIN } {
            return Err(Error::NotPurged(last));
        }
        std::thread::sleep(LOOK);
    }
}
