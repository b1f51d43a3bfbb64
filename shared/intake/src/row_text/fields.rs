//! Splitting a line into fields, which have blanks between them, and removing backslash escapes.

use std::borrow::Cow;

/// A text without characters.
pub(super) const EMPTY: &str = "\"\"";

/// The fields of a line, without their escapes.
#[derive(Clone)]
pub struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The fields of a line, which is given without its end.
    pub fn new(line: &'a str) -> Fields<'a> {
        Fields(line)
    }

    /// The part of the line that was not read yet.
    pub fn rest(&self) -> &'a str {
        self.0
    }

    /// The next field; `None` at the end of the line.
    ///
    /// # Errors
    ///
    /// A sentence that says which escape makes no sense.
    pub fn take(&mut self) -> Result<Option<Cow<'a, str>>, String> {
        let text = self.0.trim_start_matches(is_blank);
        let bytes = text.as_bytes();
        let Some(end) = bytes.iter().position(|byte| is_blank_byte(*byte) || *byte == b'\\') else {
            self.0 = "";
            return Ok(if text.is_empty() { None } else { Some(Cow::Borrowed(whole(text))) });
        };
        if bytes[end] != b'\\' {
            self.0 = &text[end + 1..];
            return Ok(Some(Cow::Borrowed(whole(&text[..end]))));
        }
        let mut field = text[..end].to_owned();
        let mut rest = &text[end..];
        loop {
            let run =
                rest.bytes().position(|byte| is_blank_byte(byte) || byte == b'\\').unwrap_or(rest.len());
            field.push_str(&rest[..run]);
            rest = &rest[run..];
            match rest.strip_prefix('\\') {
                Some(after) => rest = unescape(after, &mut field)?,
                None => break,
            }
        }
        // The blank that ends it goes with it.
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(Some(Cow::Owned(field)))
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.trim_start_matches(is_blank).is_empty()
    }

    /// How many are left.
    ///
    /// # Errors
    ///
    /// As [`Fields::take`].
    pub fn count(&self) -> Result<usize, String> {
        let mut fields = self.clone();
        let mut count = 0;
        while fields.take()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r')
}

fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// A field without a backslash.
fn whole(field: &str) -> &str {
    if field == EMPTY { "" } else { field }
}

/// Reads the characters behind a backslash and appends what they stand for; returns the rest of the line.
///
/// Source: the escapes that Sonnerie writes, and Rust's `\u{...}` for the other control characters.
fn unescape<'a>(after: &'a str, field: &mut String) -> Result<&'a str, String> {
    let mut letters = after.chars();
    let letter = match letters.next().ok_or("a backslash at the end of the line")? {
        'a' => '\x07',
        'b' => '\x08',
        't' => '\t',
        'n' => '\n',
        'v' => '\x0b',
        'f' => '\x0c',
        'r' => '\r',
        'u' if letters.as_str().starts_with('{') => {
            let (digits, rest) = letters.as_str()[1..].split_once('}').ok_or("'\\u{' without its '}'")?;
            let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            field.push(letter.ok_or_else(|| format!("'\\u{{{}}}' is no character", clip(digits)))?);
            return Ok(rest);
        }
        other => other,
    };
    field.push(letter);
    Ok(letters.as_str())
}

fn clip(text: &str) -> String {
    text.chars().take(16).collect()
}
