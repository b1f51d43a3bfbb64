//! `dotter-store backup`: a copy of a store while it is being written.

use std::path::Path;

use dotter_daemon::stop_on_signals;

use crate::error::Error;

pub(crate) fn run(dir: &Path, dest: &Path) -> Result<(), Error> {
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let backup = dotter_store::backup(dir, dest, &|| stop.is_set())?;
    eprintln!(
        "{} segments linked, {} files of {} bytes copied, up to sequence {} of generation {}",
        backup.linked, backup.copied, backup.copied_bytes, backup.sequence, backup.generation
    );
    Ok(())
}
