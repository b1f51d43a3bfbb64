//! `dotter-store import`: rows from other programs' files, in one transaction.

mod csv;
mod openmetrics;
mod rules;
mod sonnerie;
mod tree;
mod whisper;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotter_dot::{Cell, Shape, Timestamp};
use dotter_intake::row_text::TimeUnit;

use crate::args::ImportOptions;
use crate::error::{Error, Place};
use crate::intake::Intake;
use crate::progress::Progress;

use rules::{Said, WhisperRules};

/// What is read of a file at once.
const READ_BYTES: usize = 256 << 10;

pub(crate) fn run(dir: &Path, options: &ImportOptions, input: &mut dyn BufRead) -> Result<(), Error> {
    let mut import = Import {
        intake: Intake::new(dir, options.rows.skip_bad),
        options,
        file: None,
        prefixed: String::new(),
        progress: Progress::new("importing", "rows", None),
        rules: None,
        seen: 0,
    };
    if options.whisper {
        import.rules = Some(WhisperRules::new(dir, !options.no_rules, Timestamp::now()));
        tree::run(&mut import, &options.paths)?;
        return import.finish_whisper(dir);
    }
    if options.paths.is_empty() {
        import.read(input)?;
    }
    for path in &options.paths {
        if path.as_os_str() == "-" {
            import.file = None;
            import.read(input)?;
            continue;
        }
        let file = File::open(path).map_err(cannot("open", path))?;
        import.file = Some(path.clone());
        import.read(&mut BufReader::with_capacity(READ_BYTES, file))?;
    }
    import.finish()
}

/// What one import has come to.
struct Import<'a> {
    intake: Intake<'a>,
    options: &'a ImportOptions,
    /// The file being read; `None` for standard input.
    file: Option<PathBuf>,
    /// The series of the row before, with its prefix.
    prefixed: String,
    progress: Progress,
    /// Of Whisper files.
    rules: Option<WhisperRules>,
    /// Rows of a dry run.
    seen: u64,
}

impl Import<'_> {
    fn read(&mut self, input: &mut dyn BufRead) -> Result<(), Error> {
        if self.options.csv {
            csv::read(self, input)
        } else if self.options.sonnerie {
            sonnerie::read(self, input)
        } else {
            let unit = if self.options.openmetrics { TimeUnit::S } else { TimeUnit::Ms };
            openmetrics::read(self, input, self.options.time_unit.map_or(unit, TimeUnit::from))
        }
    }

    /// Takes a row.
    fn row(
        &mut self,
        line: u64,
        name: &str,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        let place = || Place { file: self.file.clone(), line };
        self.prefixed.clear();
        self.prefixed.push_str(&self.options.prefix);
        self.prefixed.push_str(name);
        if let Some(rules) = &mut self.rules {
            rules.point(time);
        }
        if self.options.dry_run {
            self.seen += 1;
            return Ok(());
        }
        self.intake.push(place, &self.prefixed, shape, time, cell)?;
        if self.intake.count().is_multiple_of(4096) {
            self.progress.at(self.intake.count());
        }
        Ok(())
    }

    /// Takes what a Whisper file says of its archives, before its rows.
    fn archives(&mut self, name: &str, said: &Said) {
        if let Some(rules) = &mut self.rules {
            rules.file(&format!("{}{name}", self.options.prefix), said);
        }
    }

    /// Takes how many points of an archive were taken.
    fn archive(&mut self, seconds: u64, points: usize) {
        if let Some(rules) = &mut self.rules {
            rules.archive(Duration::from_secs(seconds), points as u64);
        }
    }

    /// Notes what is no row.
    fn bad(&mut self, line: u64, what: impl Into<String>) -> Result<(), Error> {
        let place = || Place { file: self.file.clone(), line };
        self.intake.bad(place, what)
    }

    /// Notes lines that are no rows, for one reason.
    fn bad_lines(&mut self, line: u64, lines: u64, what: String) -> Result<(), Error> {
        let place = || Place { file: self.file.clone(), line };
        self.intake.bad_rows(place, lines, what)
    }

    /// Counts what is left out of the file in hand and is nothing bad.
    fn left_out(&mut self, count: u64, what: &str) {
        let place = || Place { file: self.file.clone(), line: 0 };
        self.intake.left_out(place, count, what);
    }

    /// What the system said of the input.
    fn input_error(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        let file = self.file.clone();
        move |source| match file {
            Some(path) => Error::File { doing: "read", path, source },
            None => Error::Input(source),
        }
    }

    /// Says which rules come and what goes by them; then stores the rows and adds the rules, in this order: so the rules
    /// are a change, after which nothing goes for a day.
    fn finish_whisper(mut self, dir: &Path) -> Result<(), Error> {
        let rules = self.rules.take();
        if let Some(rules) = &rules {
            rules.tell();
        }
        if self.options.dry_run {
            eprintln!("{} dots would be stored; nothing has changed", self.seen);
            return Ok(());
        }
        self.finish()?;
        rules.map_or(Ok(()), |rules| rules.record(dir))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.intake.commit()?;
        drop(self.progress);
        self.intake.tell();
        Ok(())
    }
}

/// For `map_err`: what was being done to which file.
fn cannot(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { doing, path: path.to_owned(), source }
}
