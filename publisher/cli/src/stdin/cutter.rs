//! Bytes become lines.
//!
//! Always true: how the bytes are cut into chunks makes no difference, and no more than one line is kept.

/// A longer line is thrown away.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It was longer than [`LINE_BYTES_MAX`]; this is how it begins.
    TooLong(&'a [u8]),
}

/// What is left of one chunk until the next.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// The line is too long already; the rest of it is thrown away.
    skipping: bool,
}

impl Cutter {
    /// Gives out the lines that end in `bytes` and keeps what follows the last of them.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut to: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            bytes = after;
            if self.rest.is_empty() && !self.skipping && line.len() <= LINE_BYTES_MAX {
                to(Line::Whole(line));
            } else {
                self.keep(line);
                self.end(&mut to);
            }
        }
        self.keep(bytes);
    }

    /// Gives out the unfinished line, which is empty where there is none.
    pub(super) fn end(&mut self, mut to: impl FnMut(Line<'_>)) {
        to(if self.skipping { Line::TooLong(&self.rest) } else { Line::Whole(&self.rest) });
        self.rest.clear();
        self.skipping = false;
    }

    /// Adds to the unfinished line, as far as it may grow.
    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.rest.len();
        self.skipping |= bytes.len() > room;
        self.rest.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let mut input = b"one\n\ntwo\r\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX));
        input.push(b'\n');
        input.extend(std::iter::repeat_n(b'y', LINE_BYTES_MAX + 1));
        input.extend_from_slice(b"\nlast");
        for chunk_bytes in [1, 7, 4096, LINE_BYTES_MAX + 3, input.len()] {
            let mut seen = Vec::new();
            let mut keep = |line: Line<'_>| match line {
                Line::Whole(line) => seen.push((true, line.len(), line.first().copied())),
                Line::TooLong(line) => seen.push((false, line.len(), line.first().copied())),
            };
            let mut cutter = Cutter::default();
            for chunk in input.chunks(chunk_bytes) {
                cutter.take(chunk, &mut keep);
                assert!(cutter.rest.len() <= LINE_BYTES_MAX);
            }
            cutter.end(&mut keep);
            let expected = [
                (true, 3, Some(b'o')),
                (true, 0, None),
                (true, 4, Some(b't')),
                (true, LINE_BYTES_MAX, Some(b'x')),
                (false, LINE_BYTES_MAX, Some(b'y')),
                (true, 4, Some(b'l')),
            ];
            assert_eq!(seen, expected, "chunks of {chunk_bytes}");
        }
    }
}
