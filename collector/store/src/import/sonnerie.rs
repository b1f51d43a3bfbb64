//! What `sonnerie read` prints: series, time, with `--print-format` the format, and values, with tabs between.
//!
//! Without `--timestamp-nanos` times are `%F %T`, in UTC. Without formats a single number is taken for `F`, and any
//! other row needs `--format`.

use std::io::BufRead;

use dotter_intake::row_text::{Fields, RowReader, TimeFormat, TimeReader, TimeUnit};

use super::Import;
use crate::error::Error;
use crate::lines::{Line, Lines};

pub(super) fn read(import: &mut Import<'_>, input: &mut dyn BufRead) -> Result<(), Error> {
    let rows = &import.options.rows;
    let readers = |times: TimeReader| {
        RowReader::new(times, rows.format.as_ref(), &rows.unit, &[]).map_err(Error::Usage)
    };
    let mut plain = readers(TimeReader::new(
        rows.timestamp_format.as_ref(),
        import.options.time_unit.map_or(TimeUnit::Ns, TimeUnit::from),
    ))?;
    let human = TimeFormat::new("%F %T").map_err(Error::Usage)?;
    let mut human = readers(TimeReader::Format(human))?;
    let has_form = rows.timestamp_format.is_some();
    let mut lines = Lines::new(input);
    let mut line = String::new();
    loop {
        let number = lines.number() + 1;
        match lines.next().map_err(import.input_error())? {
            None => return Ok(()),
            Some(Line::Bad(what)) => {
                import.bad(number, what)?;
                continue;
            }
            Some(Line::Text { text, .. }) if text.trim_ascii().is_empty() => continue,
            Some(Line::Text { text, .. }) => {
                line.clear();
                line.push_str(text);
            }
        }
        let is_human = !has_form && escape_time(&mut line, |time| time.contains([' ', '-']));
        if has_form {
            escape_time(&mut line, |_| true);
        }
        let reader = if is_human { &mut human } else { &mut plain };
        match reader.read(&line) {
            Ok(row) => import.row(number, &row.name, row.shape, row.time, row.cell)?,
            Err(what) => import.bad(number, what)?,
        }
    }
}

/// Puts backslashes before the blanks of the time, which stands between tabs, where `is_meant` says so of it.
fn escape_time(line: &mut String, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut fields = Fields::new(line);
    // A name that cannot be read is told by the reader of rows.
    if fields.take().is_err() {
        return false;
    }
    let start = line.len() - fields.rest().len();
    let Some(length) = line[start..].find('\t') else { return false };
    let time = &line[start..start + length];
    if !is_meant(time) {
        return false;
    }
    let escaped = time.replace(' ', "\\ ");
    line.replace_range(start..start + length, &escaped);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_a_blank_becomes_one_field() {
        let check = |line: &str, expected: &str, found: bool| {
            let mut text = line.to_owned();
            assert_eq!(escape_time(&mut text, |time| time.contains([' ', '-'])), found, "{line}");
            assert_eq!(text, expected);
        };
        check("a\\ b\t2020-01-01 00:00:00\t1.5", "a\\ b\t2020-01-01\\ 00:00:00\t1.5", true);
        check("a\t2020-01-01 00:00:00\tss\tx y", "a\t2020-01-01\\ 00:00:00\tss\tx y", true);
        check("a\t1577836800000000000\tu\t1", "a\t1577836800000000000\tu\t1", false);
        check("a 5 1", "a 5 1", false);
    }
}
