//! `dotter-store verify`: every checksum of a store.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;

use crate::error::Error;
use crate::progress::Progress;

/// Names what is damaged; `false` where anything is.
pub(crate) fn run(dir: &Path, out: &mut impl Write) -> Result<bool, Error> {
    let line = RefCell::new(Progress::new("verifying", "bytes", None));
    let progress = |done, total| {
        let mut line = line.borrow_mut();
        line.set_total(total);
        line.at(done);
    };
    let verified = dotter_store::verify_with(dir, &progress)?;
    drop(line);
    let mut print = || -> std::io::Result<()> {
        for damage in &verified.damage {
            writeln!(out, "{} at byte {}: {}", damage.path.display(), damage.offset, damage.what)?;
        }
        let (files, bytes, dots, damaged) =
            (verified.files, verified.bytes, verified.dots, verified.damage.len());
        writeln!(out, "{files} files, {bytes} bytes, {dots} dots whole, {damaged} damaged places")
    };
    print().map_err(Error::Output)?;
    Ok(verified.damage.is_empty())
}
