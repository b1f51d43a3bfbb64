//! The tokens of an expression.

use std::borrow::Cow;

use crate::read::filter::FilterError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A field or a word such as `and`.
    Word(String),
    /// A column's name in backquotes.
    Quoted(String),
    Text(String),
    /// Begins with a digit, a sign or a point: a number, a time, or bytes in hex.
    Number(String),
    /// `( ) = == != < <= > >= =~ !~ ! && ||`
    Sign(&'static str),
}

/// All signs, longer ones first.
const SIGNS: [&str; 14] = ["==", "!=", "<=", ">=", "=~", "!~", "&&", "||", "(", ")", "=", "<", ">", "!"];

pub(super) struct Tokens<'a> {
    text: &'a str,
    /// How many bytes have been read.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    /// The next token and where it begins; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token)>, FilterError> {
        let rest = self.text[self.at..].trim_start();
        let at = self.text.len() - rest.len();
        self.at = at;
        let Some(first) = rest.chars().next() else { return Ok(None) };
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Ok(Some((at, Token::Sign(sign))));
        }
        let token = match first {
            '"' | '\'' => Token::Text(self.quoted(first)?),
            '`' => Token::Quoted(self.quoted(first)?),
            '0'..='9' | '+' | '-' | '.' => {
                Token::Number(self.run(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c)))
            }
            c if c.is_alphabetic() || c == '_' => {
                Token::Word(self.run(|c| c.is_alphanumeric() || "_.-".contains(c)))
            }
            _ => return Err(error(self.text, at, "a field, a value, or a bracket")),
        };
        Ok(Some((at, token)))
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let run = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += run.len();
        run.to_owned()
    }

    /// The text between two of `quote`. A backslash stands before `quote` and before a backslash; `\n` and `\t` are
    /// line break and tab. Before any other character the backslash stays, so that regular expressions need no second
    /// one.
    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let mut out = String::new();
        let mut letters = self.text[self.at..].char_indices().skip(1);
        while let Some((offset, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, escaped)) if escaped == quote || escaped == '\\' => out.push(escaped),
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, other)) => out.extend(['\\', other]),
                    None => break,
                },
                letter if letter == quote => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                letter => out.push(letter),
            }
        }
        Err(error(
            self.text,
            self.text.len(),
            format!("{quote} at the end of what begins at byte {}", self.at),
        ))
    }
}

/// The error that says what stands in `text` at byte `at`, and what was expected there.
pub(super) fn error(text: &str, at: usize, expected: impl Into<Cow<'static, str>>) -> FilterError {
    let found = text.get(at..).unwrap_or_default().chars().take(24).collect();
    FilterError { at, found, expected: expected.into() }
}
