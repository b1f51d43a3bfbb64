//! `dotter-store rename`: the rows of a series under another name.

use std::path::Path;

use dotter_daemon::stop_on_signals;
use dotter_store::Renamed;

use crate::args::RenameOptions;
use crate::error::Error;

pub(crate) fn run(dir: &Path, options: &RenameOptions) -> Result<(), Error> {
    let RenameOptions { old, new } = options;
    if old == new {
        return Err(Error::Usage(format!("series {old} has this name already")));
    }
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let waits = || eprintln!("waiting up to 10 minutes for another process, which merges segments");
    let Renamed { rows, segments } = dotter_store::rename(dir, old, new, &|| stop.is_set(), &waits)?;
    eprintln!(
        "{rows} rows have the name {new} now, in {segments} segments; whoever publishes {old} goes on under that name"
    );
    Ok(())
}
