//! Path patterns: `servers.web0[1-3].cpu.{user,system}`.
//!
//! A pattern is split at its dots, and each node stands for one node of a name: `*` for any run of
//! characters, `?` for one, `[a-z]` for one of a class (`[!a-z]` for one that is not), `{a,b}` for one of a
//! list, and a backslash takes the next character as it is. A name with tags is only met by a pattern with
//! tags: `disk.used;host=*`.
//!
//! Source: Graphite's storage finder and Python's `fnmatch`; one difference: a `{` inside braces is refused.

use std::collections::BTreeSet;

/// How many texts the braces of one node may stand for.
pub(crate) const ALTERNATIVES_MAX: usize = 10_000;

/// A pattern, ready to be compared with names.
#[derive(Clone, Debug)]
pub struct Pattern {
    nodes: Vec<NodePattern>,
    tags: Option<NodePattern>,
}

/// Where a pattern cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// In characters, the first one being 1.
    pub column: usize,
    /// What was found and what was expected.
    pub reason: String,
}

/// What one node may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodePattern {
    /// Exact texts, each once.
    exact: BTreeSet<String>,
    /// Anything with a wildcard.
    globs: Vec<Vec<Token>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    Any,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`] for an empty node, an open brace that is never closed, braces inside braces, a dot
    /// inside braces, and braces that stand for more than ten thousand texts.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let mut nodes = Vec::new();
        let mut reader = Reader { chars: text.chars().peekable(), column: 0 };
        loop {
            let (node, end) = reader.node(false)?;
            if node.is_empty() {
                return Err(PatternError {
                    column: reader.column.max(1),
                    reason: match end {
                        Some(found) => format!("found '{found}', expected a path node before it"),
                        None if nodes.is_empty() => "found nothing, expected a path".to_owned(),
                        None => "found the end, expected a path node after the '.'".to_owned(),
                    },
                });
            }
            nodes.push(node);
            match end {
                Some('.') => {}
                Some(_) => return Ok(Pattern { nodes, tags: Some(reader.node(true)?.0) }),
                None => return Ok(Pattern { nodes, tags: None }),
            }
        }
    }

    /// That of one path to the letter, which may have empty nodes.
    pub(crate) fn literal(path: &str) -> Pattern {
        let node = |text: &str| NodePattern { exact: BTreeSet::from([text.to_owned()]), globs: Vec::new() };
        Pattern { nodes: path.split('.').map(node).collect(), tags: None }
    }

    /// The nodes, first to last.
    pub(crate) fn nodes(&self) -> &[NodePattern] {
        &self.nodes
    }

    /// What the text after the first `;` may be.
    pub(crate) fn tags(&self) -> Option<&NodePattern> {
        self.tags.as_ref()
    }

    /// The one name this can stand for, where it has no wildcards.
    pub fn exact(&self) -> Option<String> {
        let nodes: Option<Vec<&str>> = self.nodes.iter().map(NodePattern::single).collect();
        let mut name = nodes?.join(".");
        if let Some(tags) = &self.tags {
            name.push(';');
            name.push_str(tags.single()?);
        }
        Some(name)
    }

    /// How many patterns this one stands for, where each alternative with a wildcard that braces make counts as one:
    /// what a comparison with one name costs at most.
    pub fn alternatives(&self) -> usize {
        let more = |node: &NodePattern| node.globs.len().saturating_sub(1);
        1 + self.nodes.iter().chain(&self.tags).map(more).sum::<usize>()
    }

    /// Whether `name` is one of those meant.
    pub fn matches(&self, name: &str) -> bool {
        let (path, tags) = match name.split_once(';') {
            Some((path, tags)) => (path, Some(tags)),
            None => (name, None),
        };
        let tags_match = match (&self.tags, tags) {
            (None, None) => true,
            (Some(pattern), Some(tags)) => pattern.matches(tags),
            _ => false,
        };
        let mut found = path.split('.');
        tags_match
            && self.nodes.iter().all(|node| found.next().is_some_and(|text| node.matches(text)))
            && found.next().is_none()
    }
}

impl NodePattern {
    /// The one text this can stand for.
    pub(crate) fn single(&self) -> Option<&str> {
        match self.exact.first() {
            Some(text) if self.exact.len() == 1 && self.globs.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Every text this can stand for, where there are no wildcards.
    pub(crate) fn list(&self) -> Option<&BTreeSet<String>> {
        self.globs.is_empty().then_some(&self.exact)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        (!self.exact.is_empty() && self.exact.contains(text))
            || self.globs.iter().any(|tokens| glob(tokens, text))
    }

    fn is_empty(&self) -> bool {
        self.single() == Some("")
    }
}

/// Reads nodes and keeps count of the column.
struct Reader<I: Iterator<Item = char>> {
    chars: std::iter::Peekable<I>,
    column: usize,
}

impl<I: Iterator<Item = char> + Clone> Reader<I> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        // The end stands one column behind the last character.
        self.column += 1;
        next
    }

    /// One node and what ended it: a dot, a semicolon, or the end. Tags are read to the end.
    fn node(&mut self, tags: bool) -> Result<(NodePattern, Option<char>), PatternError> {
        let mut alternatives: Vec<Vec<Token>> = vec![Vec::new()];
        let end = loop {
            let Some(mut next) = self.next() else { break None };
            if next == '\\' && matches!(self.chars.peek(), Some('.' | ';')) {
                // No name holds either as anything else, so a backslash before it changes nothing.
                next = self.next().unwrap_or(next);
            }
            match next {
                '.' | ';' if !tags => break Some(next),
                '{' => self.braces(&mut alternatives, tags)?,
                _ => {
                    let token = self.token(next);
                    alternatives.iter_mut().for_each(|tokens| push(tokens, token.clone()));
                }
            }
        };
        let mut node = NodePattern::default();
        for tokens in alternatives {
            match tokens.iter().map(|t| if let Token::One(c) = t { Some(*c) } else { None }).collect() {
                Some(text) => _ = node.exact.insert(text),
                None => node.globs.push(tokens),
            }
        }
        Ok((node, end))
    }

    /// The list behind a `{`: every alternative so far is continued by every item of it.
    fn braces(&mut self, alternatives: &mut Vec<Vec<Token>>, tags: bool) -> Result<(), PatternError> {
        let column = self.column;
        let mut items: Vec<Vec<Token>> = vec![Vec::new()];
        let fail = |column, reason: &str| Err(PatternError { column, reason: reason.to_owned() });
        loop {
            match self.next() {
                None => return fail(column, "found '{' that is never closed, expected '}'"),
                Some('}') => break,
                Some(',') => items.push(Vec::new()),
                Some('{') => return fail(self.column, "found '{' inside braces, expected a plain list"),
                Some(end @ ('.' | ';')) if !tags => {
                    let reason = format!("found '{end}' inside braces, expected them to stay in one node");
                    return Err(PatternError { column: self.column, reason });
                }
                Some('\\') if matches!(self.chars.peek(), Some('.' | ';')) => {}
                Some(other) => {
                    let token = self.token(other);
                    push(items.last_mut().expect("the list starts with one item"), token);
                }
            }
            if items.len().saturating_mul(alternatives.len()) > ALTERNATIVES_MAX {
                return fail(column, "found braces that stand for too many texts, at most 10000 are allowed");
            }
        }
        *alternatives = alternatives
            .iter()
            .flat_map(|tokens| {
                items.iter().map(|item| {
                    let mut joined = tokens.clone();
                    item.iter().for_each(|token| push(&mut joined, token.clone()));
                    joined
                })
            })
            .collect();
        Ok(())
    }

    fn token(&mut self, first: char) -> Token {
        match first {
            '*' => Token::Many,
            '?' => Token::Any,
            '[' => self.class().unwrap_or(Token::One('[')),
            '\\' => Token::One(self.next().unwrap_or('\\')),
            other => Token::One(other),
        }
    }

    /// The class behind a `[`; `None`, and nothing taken, where it is never closed.
    fn class(&mut self) -> Option<Token> {
        let mut ahead = self.chars.clone();
        let mut body = Vec::new();
        loop {
            match ahead.next()? {
                // A bracket right at the start is one of the class.
                ']' if !matches!(body[..], [] | ['!']) => break,
                '.' => return None,
                other => body.push(other),
            }
        }
        self.column += body.len() + 1;
        self.chars = ahead;
        let (negated, body) = match body.split_first() {
            Some(('!', rest)) => (true, rest),
            _ => (false, &body[..]),
        };
        let mut ranges = Vec::new();
        let mut at = 0;
        while let Some(&low) = body.get(at) {
            match (body.get(at + 1), body.get(at + 2)) {
                (Some('-'), Some(&high)) => {
                    ranges.push((low, high));
                    at += 3;
                }
                _ => {
                    ranges.push((low, low));
                    at += 1;
                }
            }
        }
        Some(Token::Class { negated, ranges })
    }
}

/// Two `*` in a row mean no more than one, and cost much more.
fn push(tokens: &mut Vec<Token>, token: Token) {
    if token != Token::Many || tokens.last() != Some(&Token::Many) {
        tokens.push(token);
    }
}

/// Whether all of `text` is what `tokens` say, in at most `text` times `tokens` steps.
///
/// Only the last `*` is ever gone back to: whatever an earlier one could still take, the last one can too.
fn glob(tokens: &[Token], text: &str) -> bool {
    if tokens == [Token::Many] {
        return true;
    }
    let (mut token_index, mut rest) = (0, text);
    // Where the last `*` stands, and what was left of the text when it had taken all it has so far.
    let mut star: Option<(usize, &str)> = None;
    loop {
        let next = rest.chars().next();
        match (tokens.get(token_index), next) {
            (Some(Token::Many), _) => {
                star = Some((token_index, rest));
                token_index += 1;
                continue;
            }
            (Some(token), Some(c)) if token.takes(c) => {
                token_index += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // The last `*` takes one character more.
        let Some((index, left)) = star else { return false };
        let Some(c) = left.chars().next() else { return false };
        let left = &left[c.len_utf8()..];
        star = Some((index, left));
        token_index = index + 1;
        rest = left;
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::One(one) => *one == c,
            Token::Any => true,
            Token::Many => false,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Random;

    #[test]
    fn wildcards_stay_inside_their_node() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        };
        check("a.b", "a.b", true);
        check("a.b", "a.bc", false);
        check("a.*", "a.b", true);
        check("a.*", "a.b.c", false);
        check("*", "a", true);
        check("a.*c*e", "a.bcde", true);
        check("a.*c*e", "a.bcdef", false);
        check("a.?", "a.ü", true);
        check("a.?", "a.", false);
        check("web0[12]", "web02", true);
        check("web0[1-3]", "web02", true);
        check("web0[!1]", "web02", true);
        check("web0[!1]", "web01", false);
        check("web[", "web[", true);
        check("a[]]", "a]", true);
        check("servers.{web*,db01}.cpu", "servers.web7.cpu", true);
        check("servers.{web*,db01}.cpu", "servers.db01.cpu", true);
        check("servers.{web*,db01}.cpu", "servers.db02.cpu", false);
        check("{us,sys}*", "system", true);
        check("edge.{,x}", "edge.x", true);
        check("d;v={1.2,1.3}", "d;v=1.3", true);
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check(r"a\.b", "a.b", true);
        check("disk.used", "disk.used;host=a", false);
        check("disk.used;host=*", "disk.used;host=a.b", true);
        check("disk.used;host=*", "disk.used", false);
    }

    #[test]
    fn what_has_no_wildcards_is_one_name() {
        assert_eq!(Pattern::new("a.b;c=d.e").unwrap().exact().as_deref(), Some("a.b;c=d.e"));
        assert_eq!(Pattern::new(r"a\{b").unwrap().exact().as_deref(), Some("a{b"));
        assert_eq!(Pattern::new("a.{b}").unwrap().exact().as_deref(), Some("a.b"));
        assert_eq!(Pattern::new("a.*").unwrap().exact(), None);
        assert_eq!(Pattern::new("a.{b,c}").unwrap().exact(), None);
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let check = |pattern: &str, column: usize| {
            assert_eq!(Pattern::new(pattern).unwrap_err().column, column, "{pattern}");
        };
        check("", 1);
        check("a..b", 3);
        check(".a", 1);
        check("a.", 3);
        check("a.{b", 3);
        check("a.{}", 5);
        check("ä.{b{c}}", 5);
        check("{a.b}", 3);
        check(&"{0,1,2,3,4,5,6,7,8,9}".repeat(5), 85);
    }

    #[test]
    fn many_stars_cost_no_more_than_text_times_pattern() {
        let pattern = Pattern::new(&"*a".repeat(1000)).unwrap();
        assert!(!pattern.matches(&"b".repeat(4000)));
        assert!(pattern.matches("ab".repeat(1000).trim_end_matches('b')));
    }

    #[test]
    fn any_text_is_read_or_refused_and_an_escaped_name_finds_itself() {
        let mut random = Random::seeded();
        for _ in 0..20_000 {
            let text = random.text("ab.*?[]{},!-\\;=ü ", 12);
            if let Ok(pattern) = Pattern::new(&text) {
                pattern.matches("ab.b");
                if let Some(name) = pattern.exact() {
                    assert!(pattern.matches(&name), "{text:?} {name:?}, {random}");
                }
            }
            let name = random.text("ab*?[]{},\\ü ", 8);
            let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
            if !name.is_empty() {
                let pattern = Pattern::new(&escaped).unwrap();
                assert_eq!(pattern.exact().as_deref(), Some(name.as_str()), "{random}");
            }
        }
    }
}
