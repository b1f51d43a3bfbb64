//! `dotter-store read`: dots as text, in the order of their series and times.

use std::io::Write;
use std::path::Path;

use dotter_dot::{TimeRange, Timestamp};
use dotter_store::{Dot, Reader};

use crate::args::{ReadOptions, Times};
use crate::error::Error;
use crate::{pattern, row};

/// Prints what a pattern means; `false` where damaged data had to be left out.
pub(crate) fn run(dir: &Path, options: &ReadOptions, out: &mut impl Write) -> Result<bool, Error> {
    let snapshot = Reader::open(dir)?.snapshot();
    let range =
        TimeRange::new(options.after.unwrap_or(Timestamp::MIN), options.before.unwrap_or(Timestamp::MAX));
    if options.csv {
        writeln!(out, "series,time,value").map_err(Error::Output)?;
    }
    for name in pattern::series(&snapshot, &options.pattern) {
        let dots = snapshot.read(name.as_str(), range)?;
        if options.json {
            json(name.as_str(), &dots, out)?;
            continue;
        }
        let shown = if options.csv { quote(name.as_str()) } else { row::escape(name.as_str()).into_owned() };
        let between = if options.csv { ',' } else { '\t' };
        for dot in dots {
            let time = match options.times {
                Times::Rfc3339 => dot.time.to_string(),
                Times::Nanos => dot.time.nanos().to_string(),
                Times::Seconds => dot.time.seconds_text(),
            };
            writeln!(out, "{shown}{between}{time}{between}{}", dot.value).map_err(Error::Output)?;
        }
    }
    let stat = snapshot.stat();
    let (segments, chunks) = (stat.damaged_segments, stat.damaged_chunks);
    let whole = segments == 0 && chunks == 0;
    if !whole {
        eprintln!("{segments} segments and {chunks} chunks are damaged and left out; verify names them");
    }
    Ok(whole)
}

/// A line as POST /data takes it, but for null where a value is no JSON number.
fn json(name: &str, dots: &[Dot], out: &mut impl Write) -> Result<(), Error> {
    let series = serde_json::Value::from(name);
    write!(out, "{{\"series\":{series},\"dots\":[").map_err(Error::Output)?;
    for (index, dot) in dots.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let time = dot.time.seconds_text();
        let value = serde_json::Value::from(dot.value);
        write!(out, "{comma}[{time},{value}]").map_err(Error::Output)?;
    }
    writeln!(out, "]}}").map_err(Error::Output)
}

/// A field of a comma-separated line.
fn quote(name: &str) -> String {
    if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}
