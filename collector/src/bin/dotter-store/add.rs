//! `dotter-store add`: rows from standard input, in one transaction.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;

use crate::args::AddOptions;
use crate::error::Error;
use crate::row;

/// A line longer than this is no row: a name has at most 4,096 bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

pub(crate) fn run(dir: &Path, options: &AddOptions, input: &mut impl BufRead) -> Result<(), Error> {
    let mut rows = Vec::new();
    let mut names = HashSet::new();
    let mut bad = 0_u64;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let bytes = std::io::Read::take(&mut *input, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if bytes.map_err(Error::Input)? == 0 {
            break;
        }
        let whole = line.pop_if(|byte| *byte == b'\n').is_some() || (line.len() as u64) < LINE_BYTES_MAX;
        if !whole {
            input.skip_until(b'\n').map_err(Error::Input)?;
        }
        let parsed = match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) if whole => row::parse(text),
            _ if !whole => Err(format!("longer than {LINE_BYTES_MAX} bytes")),
            _ => Err("not UTF-8".to_owned()),
        };
        match parsed {
            Ok((name, time, value)) => {
                // One copy of a name, however many rows it has.
                let name = match names.get(&name) {
                    Some(known) => dotter_dot::SeriesName::clone(known),
                    None => {
                        names.insert(name.clone());
                        name
                    }
                };
                rows.push((name, time, value));
            }
            Err(what) if options.skip_bad => {
                bad += 1;
                if bad <= 10 {
                    eprintln!("line {number}: {what}; skipped");
                }
            }
            Err(what) => return Err(Error::Line { number, what }),
        }
    }
    let given = rows.len() as u64;
    let stored = dotter_store::add(dir, rows)?;
    let replaced = given - stored;
    eprintln!(
        "stored {stored} dots of {} series, {replaced} replaced by later lines, {bad} skipped",
        names.len()
    );
    Ok(())
}
