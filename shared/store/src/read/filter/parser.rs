//! Parsing an expression into a tree, by recursive descent of bounded depth.

use dotter_dot::{Timestamp, read_hex};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use crate::read::filter::condition::{Column, Comparison, Condition, Field, StringCondition};
use crate::read::filter::number::Number;
use crate::read::filter::tokens::{Token, Tokens, error};
use crate::read::filter::{DEPTH_MAX, FILTER_BYTES_MAX, FilterError, Node};

/// The most bytes of a compiled regular expression, and of the memory that it uses to match.
const REGEX_BYTES_MAX: usize = 1 << 20;

struct Parser<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
    /// The token not yet taken, and where it begins.
    next: Option<(usize, Token)>,
    depth: usize,
}

/// What bytes begin with.
const HEX: &str = "0x";

/// What a search looks for.
enum Wanted {
    /// These bytes, of a text or raw ones.
    Bytes(fn(&[u8]) -> StringCondition),
    /// What matches, which is a text.
    Regex(fn(Box<Regex>) -> StringCondition),
}

/// One side of a comparison.
enum Side {
    Time,
    Field(Field),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        let expected = format!("at most {FILTER_BYTES_MAX} bytes instead of {}", text.len());
        return Err(error(text, text.floor_char_boundary(FILTER_BYTES_MAX), expected));
    }
    let mut tokens = Tokens::new(text);
    let next = tokens.next()?;
    let mut parser = Parser { text, tokens, next, depth: 0 };
    let node = parser.any()?;
    match parser.next {
        None => Ok(node),
        Some((at, _)) => Err(error(text, at, "'and', 'or', or the end")),
    }
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.takes("or", "||")? {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one()?];
        while self.takes("and", "&&")? {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        let at = self.place();
        let negated = self.takes("not", "!")?;
        if !negated && !self.takes("", "(")? {
            return self.comparison().map(Node::Condition);
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error(self.text, at, format!("brackets at most {DEPTH_MAX} deep")));
        }
        let node = if negated {
            Node::Not(Box::new(self.one()?))
        } else {
            let node = self.any()?;
            if !self.takes("", ")")? {
                return Err(self.wrong("'and', 'or', or ')'"));
            }
            node
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Condition, FilterError> {
        let left_at = self.place();
        let left = self.side()?;
        let at = self.place();
        let Some((_, Token::Sign(_) | Token::Word(_))) = &self.next else {
            return Err(self.wrong("a comparison such as '=' or 'contains'"));
        };
        let (_, token) = self.take()?.expect("it is there");
        if let Token::Sign(sign) = token
            && let Some(comparison) = Comparison::of_sign(sign)
        {
            let right_at = self.place();
            let right = self.side()?;
            return self.compare((left_at, left), comparison, (right_at, right));
        }
        let word = match &token {
            Token::Sign(sign) => *sign,
            Token::Word(word) => word.as_str(),
            _ => "",
        };
        let search = match word.to_ascii_lowercase().as_str() {
            "contains" => {
                Wanted::Bytes(|bytes| StringCondition::Contains(Box::new(Finder::new(bytes).into_owned())))
            }
            "starts" => Wanted::Bytes(|bytes| StringCondition::Starts(bytes.into())),
            "ends" => Wanted::Bytes(|bytes| StringCondition::Ends(bytes.into())),
            "matches" | "=~" => Wanted::Regex(StringCondition::Matches),
            "!~" => Wanted::Regex(StringCondition::MatchesNot),
            _ => return Err(error(self.text, at, "a comparison such as '=' or 'contains'")),
        };
        let Side::Field(field) = left else {
            return Err(error(self.text, left_at, "'key' or a column on the left of a search"));
        };
        // `starts with` reads as well as `starts`.
        if matches!(&self.next, Some((_, Token::Word(word))) if word.eq_ignore_ascii_case("with")) {
            self.take()?;
        }
        let at = self.place();
        let text = match self.take()? {
            Some((_, Token::Text(text))) => text,
            Some((_, Token::Number(hex))) if hex.starts_with(HEX) => {
                let bytes = self.bytes(at, &hex)?;
                return match (search, field) {
                    (Wanted::Bytes(make), Field::Column(column)) => {
                        Ok(Condition::Bytes(column, make(&bytes)))
                    }
                    (Wanted::Bytes(_), Field::Key) => {
                        Err(error(self.text, at, "a text in quotes beside 'key'"))
                    }
                    (Wanted::Regex(_), _) => {
                        Err(error(self.text, at, "a text in quotes; regular expressions look at texts alone"))
                    }
                };
            }
            _ => return Err(error(self.text, at, "a text in quotes, or bytes as 0x00ff")),
        };
        let test = match search {
            Wanted::Bytes(make) => make(text.as_bytes()),
            Wanted::Regex(make) => make(regex(&text).map_err(|expected| error(self.text, at, expected))?),
        };
        Ok(Condition::Text(field, test))
    }

    fn compare(
        &self,
        (left_at, left): (usize, Side),
        comparison: Comparison,
        (right_at, right): (usize, Side),
    ) -> Result<Condition, FilterError> {
        match (left, right) {
            (Side::Field(left), Side::Field(right)) => Ok(Condition::Fields(left, comparison, right)),
            (Side::Field(field), Side::Text(text)) => {
                Ok(Condition::Text(field, StringCondition::Compare(comparison, text.into_bytes().into())))
            }
            (Side::Field(Field::Column(column)), Side::Number(text)) => match Number::parse(&text) {
                Some(number) => Ok(Condition::Number(column, comparison, number)),
                None => Err(error(self.text, right_at, "a number")),
            },
            (Side::Field(Field::Column(column)), Side::Bytes(bytes)) => {
                Ok(Condition::Bytes(column, StringCondition::Compare(comparison, bytes.into())))
            }
            (Side::Field(Field::Key), Side::Number(_) | Side::Bytes(_)) => {
                Err(error(self.text, right_at, "a text in quotes beside 'key'"))
            }
            (Side::Time, Side::Text(text) | Side::Number(text)) => {
                Ok(Condition::Time(comparison, self.time(right_at, &text)?))
            }
            (
                left @ (Side::Text(_) | Side::Number(_) | Side::Bytes(_)),
                right @ (Side::Field(_) | Side::Time),
            ) => self.compare((right_at, right), comparison.mirrored(), (left_at, left)),
            (Side::Time, _) | (_, Side::Time) => Err(error(self.text, right_at, "a time beside 'time'")),
            _ => Err(error(self.text, left_at, "a field on one side of a comparison")),
        }
    }

    fn time(&self, at: usize, text: &str) -> Result<Timestamp, FilterError> {
        Timestamp::parse(text).map_err(|_| {
            error(self.text, at, "a time: 2026-03-15T12:00:00Z, 2026-03-15, or whole nanoseconds since 1970")
        })
    }

    fn bytes(&self, at: usize, hex: &str) -> Result<Vec<u8>, FilterError> {
        let mut bytes = Vec::new();
        match read_hex(hex, &mut bytes) {
            Some(()) => Ok(bytes),
            None => Err(error(self.text, at, "bytes: 0x and two hex digits for each")),
        }
    }

    fn side(&mut self) -> Result<Side, FilterError> {
        let expected = "a field or a value";
        let Some((at, token)) = self.take()? else { return Err(error(self.text, self.text.len(), expected)) };
        let column = |column| Side::Field(Field::Column(column));
        Ok(match token {
            Token::Text(text) => Side::Text(text),
            Token::Number(text) if text.starts_with(HEX) => Side::Bytes(self.bytes(at, &text)?),
            Token::Number(text) => Side::Number(text),
            Token::Quoted(name) => column(Column::Named(name.into())),
            Token::Word(word) => match word.as_str() {
                "key" => Side::Field(Field::Key),
                "time" => Side::Time,
                "value" => column(Column::First),
                "nan" | "NaN" | "inf" => Side::Number(word),
                "and" | "or" | "not" => return Err(error(self.text, at, expected)),
                _ => column(Column::Named(word.into())),
            },
            Token::Sign(_) => return Err(error(self.text, at, expected)),
        })
    }

    /// Takes the next token where it is that word or that sign.
    fn takes(&mut self, word: &str, sign: &str) -> Result<bool, FilterError> {
        let is_it = match &self.next {
            Some((_, Token::Word(found))) => found.eq_ignore_ascii_case(word),
            Some((_, Token::Sign(found))) => *found == sign,
            _ => false,
        };
        if is_it {
            self.take()?;
        }
        Ok(is_it)
    }

    fn take(&mut self) -> Result<Option<(usize, Token)>, FilterError> {
        let next = self.tokens.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Where the next token begins.
    fn place(&self) -> usize {
        self.next.as_ref().map_or(self.text.len(), |(at, _)| *at)
    }

    fn wrong(&self, expected: &'static str) -> FilterError {
        error(self.text, self.place(), expected)
    }
}

fn regex(text: &str) -> Result<Box<Regex>, String> {
    let built = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    built.map(Box::new).map_err(|error| {
        // The message has several lines with a drawing of the place; the last line says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("a regular expression: {last}")
    })
}
