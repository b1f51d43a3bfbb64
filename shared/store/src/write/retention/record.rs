//! Recording rules: what is known of series from elsewhere is added to `retention.toml`, behind the rules that are there.
//!
//! Always true: `retention.toml` is the old one or the new one, whole. A file of names is there before a rule names it.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dotter_dot::SeriesName;

use crate::disk::layout::Layout;
use crate::disk::rules::RULES;
use crate::error::Error;
use crate::format::rules::{Rule, Rules};

/// Everybody may read what says how long series are kept; the collector may run as another user.
const MODE: u32 = 0o644;

/// A rule for series that are listed by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRule {
    /// As `keep` in `retention.toml`: `10s:6h, 1m:7d`.
    pub keep: String,
    /// As `aggregation` there: `average`.
    pub aggregation: String,
    /// As `x-files-factor` there, 0 to 1.
    pub x_files_factor: f64,
    /// Which series it means.
    pub names: Vec<SeriesName>,
}

impl ListedRule {
    /// The rule as it will be read.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn rule(&self) -> Result<Rule, String> {
        let mut rules = Rules::default();
        rules.take_own_with(Path::new(RULES), &self.table("names"), &|_| Ok("a".to_owned()));
        let wrong =
            || rules.skipped().first().map_or("it says nothing".to_owned(), |wrong| wrong.what.clone());
        rules.of("a").cloned().ok_or_else(wrong)
    }

    /// Its table in `retention.toml`.
    ///
    /// - `file`: of the names
    fn table(&self, file: &str) -> String {
        let ListedRule { keep, aggregation, x_files_factor, .. } = self;
        // As a float of TOML, which has a point.
        format!(
            "[[rule]]\nnames = \"{file}\"\nkeep = \"{keep}\"\naggregation = \"{aggregation}\"\n\
             x-files-factor = {x_files_factor:?}\n"
        )
    }

    /// The names as a file has them, a name a line.
    fn list(&self) -> String {
        let mut names: Vec<&str> = self.names.iter().map(SeriesName::as_str).collect();
        names.sort_unstable();
        names.iter().fold(String::new(), |list, name| list + name + "\n")
    }
}

/// In one line, for people.
impl fmt::Display for ListedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedRule { keep, aggregation, x_files_factor, names } = self;
        write!(
            f,
            "keep = \"{keep}\", {aggregation}, x-files-factor {x_files_factor} for {} series",
            names.len()
        )?;
        names.first().map_or(Ok(()), |first| write!(f, ", such as {first}"))
    }
}

/// Adds rules to `retention.toml` of a store, behind those that are there, each with a file of names beside it. The store
/// goes by them once [`super::take_rules`] is called.
///
/// # Errors
///
/// The system's, and where `retention.toml` is not UTF-8; it is as before then.
pub fn record_rules(dir: &Path, rules: &[ListedRule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let layout = Layout::new(dir);
    // Where it is a symbolic link, the file that it leads to is replaced.
    let path = dir.join(RULES);
    let (path, mut text, mode) = match fs::canonicalize(&path) {
        Ok(path) => {
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            let mode = fs::metadata(&path).map_err(Error::io("look at", &path))?.permissions();
            (path, text, mode)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (path, String::new(), Permissions::from_mode(MODE))
        }
        Err(error) => return Err(Error::io("find", &path)(error)),
    };
    for rule in rules {
        let file = format!("whisper-{:016x}.names", layout.number()?);
        replace(&layout, &dir.join(&file), &rule.list(), Permissions::from_mode(MODE))?;
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&rule.table(&file));
    }
    layout.sync_dir(dir)?;
    replace(&layout, &path, &text, mode)?;
    layout.sync_name(&path)
}

/// Puts a file in the place of what has that name.
fn replace(layout: &Layout, path: &Path, text: &str, mode: Permissions) -> Result<(), Error> {
    let new = layout.make_beside(path)?;
    new.fill(text.as_bytes())?;
    new.rename(path)?;
    fs::set_permissions(path, mode).map_err(Error::io("set the mode of", path))
}
