//! `dotter-store delete`: rows hidden from now on.

use std::path::Path;

use crate::args::DeleteOptions;
use crate::error::Error;

pub(crate) fn run(dir: &Path, options: &DeleteOptions) -> Result<(), Error> {
    let chosen = &options.chosen;
    if chosen.range().is_empty() {
        return Err(Error::Usage("--before is not later than --after: no row lies between them".to_owned()));
    }
    dotter_store::delete(dir, &chosen.deletion())?;
    eprintln!("deleted what was committed before now; a compaction frees its room");
    Ok(())
}
