//! Everyone's turns, and what they come to.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::Failure;
use crate::engine::{ENGINES, Engine};
use crate::figure::{FIGURES, Figure, Table};
use crate::lines::{self, LINES, NEEDLE};
use crate::work::{KINDS, Kind, Work};

const LINES_WORD: &str = "lines";
/// After so long a child is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is asked for.
pub(crate) struct Options {
    rounds: usize,
    works: Vec<String>,
    engines: Vec<&'static Engine>,
    file: Option<PathBuf>,
    dir: PathBuf,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Options, Failure> {
        let mut works: Vec<String> = KINDS.iter().map(|kind| kind.word().to_owned()).collect();
        works.push(LINES_WORD.to_owned());
        let (known, engines) = (works.clone(), ENGINES.iter().collect());
        let mut options = Options { rounds: 3, works, engines, file: None, dir: std::env::temp_dir() };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--works" => options.works = value.split(',').map(str::to_owned).collect(),
                "--engines" => {
                    let find = |word| ENGINES.iter().find(|engine| engine.word == word);
                    let unknown = || format!("--engines {value}: one of them is unknown");
                    options.engines =
                        value.split(',').map(find).collect::<Option<_>>().ok_or_else(unknown)?;
                }
                "--nab" => options.file = Some(value.into()),
                "--dir" => options.dir = value.into(),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if options.rounds == 0 {
            return Err("--rounds is at least 1".into());
        }
        if let Some(unknown) = options.works.iter().find(|work| !known.contains(work)) {
            return Err(format!("--works: there is no {unknown}").into());
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let (here, missing): (Vec<&Engine>, Vec<&Engine>) =
        options.engines.iter().copied().partition(|engine| engine.is_here());
    for engine in missing {
        let (program, package) = engine.needs.expect("what needs nothing is here");
        eprintln!("{}: left out, there is no {program} here (apt-get install {package})", engine.title);
    }
    for engine in &here {
        println!("# {}: {}", engine.title, engine.durability);
    }
    println!();
    let mut failed = Vec::new();
    for word in &options.works {
        let mut table = Table::default();
        let kind = KINDS.into_iter().find(|kind| kind.word() == word);
        if kind == Some(Kind::Real) && options.file.is_none() {
            eprintln!("nab: left out, no --nab FILE is given");
            continue;
        }
        let takes = |engine: &&&Engine| match kind {
            // Nothing of the real series is measured but what they become.
            Some(Kind::Real) if engine.word == crate::nothing::ENGINE.word => false,
            Some(kind) => engine.dots.is_some() && (engine.share)(kind) > 0.0,
            None => engine.lines.is_some(),
        };
        for round in 0..options.rounds {
            for engine in here.iter().filter(takes) {
                eprintln!("{word}, round {} of {}: {}", round + 1, options.rounds, engine.title);
                // What the others give is worth the same without it.
                if let Err(error) = turn(options, engine, kind, &mut table) {
                    eprintln!("{word}: {}: {error}; the others go on", engine.title);
                    failed.push(format!("{} with {word}", engine.title));
                }
            }
        }
        println!(
            "## {}\n",
            kind.map_or("3,000,000 log lines of 54 characters, 10,000 lines a commit", Kind::title)
        );
        table.print(crate::dotter::ENGINE.title);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("turns that failed: {}", failed.join(", ")).into()) }
}

fn turn(options: &Options, engine: &Engine, kind: Option<Kind>, table: &mut Table) -> Result<(), Failure> {
    let dir = tempfile::Builder::new().prefix("dotter-compare-").tempdir_in(&options.dir)?;
    let share = kind.map_or(1.0, engine.share);
    let title =
        if share < 1.0 { format!("{}, {share} of it", engine.title) } else { engine.title.to_owned() };
    child("write", options, engine, kind, dir.path(), &title, table)?;
    if engine.word == crate::nothing::ENGINE.word {
        return Ok(());
    }
    let items = match kind {
        Some(kind) => Work::new(kind, share, options.file.as_deref())?.dots(),
        None => LINES,
    };
    let mut files = Vec::new();
    list(dir.path(), &mut files)?;
    let mut bytes = 0;
    for file in &files {
        bytes += bytes_written(file)?;
    }
    if kind == Some(Kind::Small) {
        return Ok(());
    }
    table.add(&title, Figure::Bytes, bytes as f64 / items as f64);
    // Out of the page cache, as far as that can be asked for: what follows is a first read.
    for file in &files {
        let file = File::open(file)?;
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    child("read", options, engine, kind, dir.path(), &title, table)?;
    if kind.is_none() && engine.word == crate::file::ENGINE.word {
        ripgrep(&files, table)?;
    }
    Ok(())
}

fn child(
    what: &str,
    options: &Options,
    engine: &Engine,
    kind: Option<Kind>,
    dir: &Path,
    title: &str,
    table: &mut Table,
) -> Result<(), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", what, engine.word, kind.map_or(LINES_WORD, Kind::word)]).arg(dir);
    command.arg(options.file.as_deref().unwrap_or(Path::new("")));
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let begun = Instant::now();
    let status = loop {
        match process.try_wait()? {
            Some(status) => break status,
            None if begun.elapsed() > PATIENCE => {
                process.kill()?;
                break process.wait()?;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if !status.success() {
        return Err(format!("its process that was to {what} ended with {status}").into());
    }
    let told = std::io::read_to_string(process.stdout.take().ok_or("the child has an output")?)?;
    for line in told.lines() {
        let (word, value) = line.split_once(' ').ok_or("a child says a word and a number")?;
        let figure = FIGURES.into_iter().find(|figure| figure.word() == word).ok_or("no such figure")?;
        table.add(title, figure, value.parse()?);
    }
    Ok(())
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

/// The bytes of a file without what is reserved and not written (holes, and zeros at its end) and without the rest of
/// its last block.
fn bytes_written(path: &Path) -> Result<u64, Failure> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    let mut piece = vec![0; 64 << 10];
    let mut end = meta.len();
    while end > 0 {
        let begin = end.saturating_sub(piece.len() as u64);
        let piece = &mut piece[..(end - begin) as usize];
        file.read_exact_at(piece, begin)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = begin + last as u64 + 1;
            break;
        }
        end = begin;
    }
    Ok(end.min(meta.blocks() * 512))
}

/// The same file, looked through by ripgrep where it is installed.
fn ripgrep(files: &[PathBuf], table: &mut Table) -> Result<(), Failure> {
    let mut best = None;
    for _ in 0..3 {
        let begun = Instant::now();
        let counted = Command::new("rg")
            .args(["--no-config", "--count", "--fixed-strings", NEEDLE])
            .args(files)
            .output();
        let Ok(counted) = counted else { return Ok(()) };
        let spent = begun.elapsed();
        let lines = std::str::from_utf8(&counted.stdout)?.trim().parse::<u64>()?;
        if lines != lines::expected()?.0.lines {
            return Err(format!("ripgrep counts {lines} lines").into());
        }
        best = Some(best.map_or(spent, |best: Duration| best.min(spent)));
    }
    if let Some(best) = best {
        table.add("ripgrep over that file", Figure::Scan, LINES as f64 / best.as_secs_f64() / 1e6);
    }
    Ok(())
}
