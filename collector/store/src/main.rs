//! The dotter-store program: a store from the command line, whether or not a collector is writing to it.
//!
//! It reads its arguments, does what they say, and says what went wrong. Standard output is data.

mod add;
mod args;
mod backup;
mod columns;
mod commit;
mod compact;
mod delete;
mod error;
mod export;
mod filtered;
mod follow;
mod found;
mod handover;
mod import;
mod intake;
mod ledger;
mod lines;
mod page;
#[cfg(feature = "parquet")]
mod parquet;
mod progress;
mod read;
mod rename;
mod repair;
mod retain;
mod selection;
mod sonnerie;
mod stat;
#[cfg(feature = "parquet")]
mod target;
mod top;
mod verify;

use std::io::{self, BufReader, Write};
use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser as _;
use error::Error;

/// What was asked for makes no sense.
const USAGE: u8 = 2;

/// Damaged data was found.
const DAMAGED: u8 = 3;

/// What is read of standard input and written to standard output at once.
const PIPE_BYTES: usize = 256 << 10;

fn main() -> ExitCode {
    let args = Args::parse();
    // From here on a page of a segment that cannot be read is an error. Where the system does not allow that, it ends
    // the process.
    let _ = dotter_store::survive_truncation();
    // A reader of many segments keeps a file open for each.
    dotter_store::allow_many_files();
    let mut out = io::BufWriter::with_capacity(PIPE_BYTES, io::stdout().lock());
    let outcome = run(&args, &mut out).and_then(|code| {
        out.flush().map_err(Error::Output)?;
        Ok(code)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        // The reader of the output has closed it: no error.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let is_usage = matches!(error, Error::Usage(_));
            let code = dotter_daemon::exit_code("dotter-store", Err(error));
            if is_usage { ExitCode::from(USAGE) } else { code }
        }
    }
}

fn run(args: &Args, out: &mut impl Write) -> Result<u8, Error> {
    let dir = &args.data;
    sonnerie::check(dir)?;
    // Where there is no store, or it cannot be opened, the command says so itself.
    let rebuilt = dotter_store::rebuilt(dir).unwrap_or_default();
    // Repair says it itself.
    let is_repair = matches!(args.command, Command::Repair { .. });
    if let Some(told) = rebuilt.as_ref().filter(|_| !is_repair) {
        eprintln!("dotter-store: {told}");
    }
    let mut input = BufReader::with_capacity(PIPE_BYTES, io::stdin());
    let whole = match &args.command {
        Command::Add(options) => {
            add::run(dir, options, &mut input, input_bytes())?;
            true
        }
        Command::Read(options) => read::run(dir, options, out)? && rebuilt.is_none(),
        Command::Delete(options) => {
            delete::run(dir, options)?;
            true
        }
        Command::Rename(options) => {
            rename::run(dir, options)?;
            true
        }
        Command::Compact(options) => {
            compact::run(dir, options)?;
            true
        }
        Command::Retain(options) => {
            retain::run(dir, options, out)?;
            true
        }
        Command::Stat { json } => {
            stat::run(dir, *json, out)?;
            true
        }
        Command::Top(options) => {
            top::run(dir, options, out)?;
            true
        }
        Command::Ledger { json } => {
            ledger::run(dir, *json, out)?;
            true
        }
        Command::Verify => verify::run(dir, out)?,
        Command::Repair { dry_run } => repair::run(dir, *dry_run, out)?,
        Command::Backup { dest } => {
            backup::run(dir, dest)?;
            true
        }
        Command::Export(options) => export::run(dir, options, out)? && rebuilt.is_none(),
        Command::Import(options) => {
            import::run(dir, options, &mut input)?;
            true
        }
    };
    Ok(if whole { 0 } else { DAMAGED })
}

/// How long standard input is, where it is a file.
fn input_bytes() -> Option<u64> {
    let stat = nix::sys::stat::fstat(io::stdin()).ok()?;
    let is_file = stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG;
    if is_file { u64::try_from(stat.st_size).ok() } else { None }
}
