//! Many rows at once.

use dotter_dot::{BYTE_ORDER_MARK, NamedDots, SeriesName};

use super::{RowReader, TimeReader, TimeUnit};

/// Reads the lines of a body, whose bare times are whole nanoseconds; lines of blanks alone are passed over.
///
/// # Errors
///
/// A sentence that says which line or byte is wrong.
pub fn read_body(body: &[u8]) -> Result<NamedDots, String> {
    let text = std::str::from_utf8(body)
        .map_err(|error| format!("byte {} of the body is no UTF-8", error.valid_up_to()))?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut dots = NamedDots::default();
    let mut reader = RowReader::new(TimeReader::new(None, TimeUnit::Ns), None, "", &[])?;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        read_row(&mut reader, line, &mut dots).map_err(|error| format!("line {}: {error}", index + 1))?;
    }
    Ok(dots)
}

fn read_row(reader: &mut RowReader, line: &str, dots: &mut NamedDots) -> Result<(), String> {
    let row = reader.read(line)?;
    let name = || SeriesName::new(&row.name).map_err(|error| error.to_string());
    let series = match dots.find(&row.name, row.shape) {
        Some(series) => series,
        None => dots.series(&name()?, row.shape),
    };
    dots.push_to(series, row.time, row.cell);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::all;

    #[test]
    fn rows_of_a_body_are_read_or_the_line_is_named() {
        let rows = read_body(b"a 1 F 2.5\n\nb\\ c 2 Fs 1 a\\ line\n a  3\tU 7\r\nplain 4 1e3\n").unwrap();
        let found: Vec<_> =
            all(&rows).into_iter().map(|(name, format, time, _)| (name, format, time)).collect();
        let expected = [("a", "F", 1), ("b c", "Fs", 2), ("a", "U", 3), ("plain", "F", 4)];
        assert_eq!(found, expected.map(|(name, format, time)| (name.to_owned(), format.to_owned(), time)));
        let marked = read_body("\u{feff}a 1 F 2.5\n".as_bytes()).unwrap();
        assert_eq!(all(&marked)[0].0, "a", "a byte order mark is no part of a name");
        let check = |body: &[u8], expected: &str| {
            let error = read_body(body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(b"a 1 2\nb 1\n", "line 2: ");
        check(b"a 1 i 2147483648\n", "line 1: ");
        check(b"a 1 2\n\xff\n", "byte 6 of the body is no UTF-8");
        check(b"a yesterday 2", "line 1: ");
    }
}
