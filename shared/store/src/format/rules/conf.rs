//! Graphite's `.conf` files: `[name]`, then `key = value` or `key: value`; `#` and `;` begin a comment line.
//!
//! Always true: a mistake is named with its line, and spoils only the section that it is in.
//!
//! Source: Python's `configparser`, which Graphite uses: a line that is indented more than the key before it
//! continues the value of that key.

use crate::format::rules::{Aggregation, Meaning, Rule, Wrong, aggregation, factor, keep, regex};

/// A part of a file.
pub(super) struct Section {
    /// Its name, as far as that can be read.
    name: String,
    line: usize,
    keys: Vec<Key>,
    /// The first mistake in it that does not depend on which file it is in.
    wrong: Option<Wrong>,
}

struct Key {
    name: String,
    value: String,
    line: usize,
    /// How many blanks are before the key.
    indent: usize,
    /// How many lines continue its value.
    more: usize,
}

impl Section {
    fn get(&self, name: &str) -> Option<&Key> {
        self.keys.iter().rev().find(|key| key.name == name)
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { line: self.line, what: what.into() }
    }

    /// The series that the section is for.
    ///
    /// # Errors
    ///
    /// What is wrong, where that cannot be known for sure.
    pub(super) fn meaning(&self) -> Result<Meaning, Wrong> {
        let key = self.get("pattern").ok_or_else(|| self.wrong(format!("[{}] has no pattern", self.name)))?;
        let wrong = |what: String| Wrong { line: key.line, what };
        if key.more > 0 {
            return Err(wrong(format!("the pattern of [{}] goes on in the next line", self.name)));
        }
        regex(&key.value).map_err(wrong)
    }

    /// What it says as a section of `storage-schemas.conf`.
    pub(super) fn schema(&self) -> Result<(Meaning, Rule), Wrong> {
        self.check(&["pattern", "retentions", "priority"])?;
        let meaning = self.meaning()?;
        let key =
            self.get("retentions").ok_or_else(|| self.wrong(format!("[{}] has no retentions", self.name)))?;
        let kept = keep::retentions(&key.value).map_err(|what| Wrong { line: key.line, what })?;
        Ok((meaning, Rule::new(kept)))
    }

    /// What it says as a section of `storage-aggregation.conf`.
    pub(super) fn aggregation(&self) -> Result<(Meaning, Option<Aggregation>, Option<f64>), Wrong> {
        self.check(&["pattern", "aggregationmethod", "xfilesfactor", "priority"])?;
        let meaning = self.meaning()?;
        let wrong = |key: &Key, what| Wrong { line: key.line, what };
        let method = match self.get("aggregationmethod") {
            Some(key) => Some(aggregation(&key.value).map_err(|what| wrong(key, what))?),
            None => None,
        };
        let known = match self.get("xfilesfactor") {
            Some(key) => Some(factor(key.value.parse().ok(), &key.value).map_err(|what| wrong(key, what))?),
            None => None,
        };
        Ok((meaning, method, known))
    }

    /// Whether every line can be read and every key is one of these.
    fn check(&self, known: &[&str]) -> Result<(), Wrong> {
        if let Some(Wrong { line, what }) = &self.wrong {
            return Err(Wrong { line: *line, what: what.clone() });
        }
        match self.keys.iter().find(|key| !known.contains(&key.name.as_str())) {
            Some(key) => {
                let what = format!(
                    "'{}' is not known in [{}]: {} are",
                    Short(&key.name),
                    self.name,
                    known.join(", ")
                );
                Err(Wrong { line: key.line, what })
            }
            None => Ok(()),
        }
    }
}

/// The sections of a text, in their order. Lines before the first heading are a section with a mistake.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (index, whole) in text.lines().enumerate() {
        let (line, number) = (whole.trim(), index + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let indent = whole.chars().take_while(|letter| letter.is_whitespace()).count();
        let wrong = |what: &str| Wrong { line: number, what: format!("'{}': {what}", Short(line)) };
        let open = sections.last_mut();
        if let Some(key) = open.and_then(|section| section.keys.last_mut()).filter(|key| indent > key.indent)
        {
            key.value = format!("{} {line}", key.value).trim_start().to_owned();
            key.more += 1;
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            // configparser takes all up to the last bracket and does not look at what follows.
            let name = rest.rsplit_once(']').map(|(name, _)| name);
            let wrong = name.is_none().then(|| wrong("a section ends with ]"));
            let name = name.unwrap_or(rest).to_owned();
            sections.push(Section { name, line: number, keys: Vec::new(), wrong });
            continue;
        }
        if sections.is_empty() {
            let wrong = Some(wrong("expected a [section] first"));
            sections.push(Section { name: String::new(), line: number, keys: Vec::new(), wrong });
        }
        let section = sections.last_mut().expect("there is one");
        match line.split_once(['=', ':']) {
            Some((name, value)) => section.keys.push(Key {
                name: name.trim().to_ascii_lowercase(),
                value: value.trim().to_owned(),
                line: number,
                indent,
                more: 0,
            }),
            None => _ = section.wrong.get_or_insert(wrong("expected key = value")),
        }
    }
    sections
}

/// Shows the beginning of a text that may be long.
pub(super) struct Short<'a>(pub(super) &'a str);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().take(60).try_for_each(|letter| std::fmt::Write::write_char(f, letter))
    }
}
