//! The dotter-store program: a store from the command line, whether or not a collector is writing to it.
//!
//! It reads its arguments, does what they say, and says what went wrong. Standard output is data.

mod add;
mod args;
mod error;
mod ledger;
mod pattern;
mod read;
mod row;
mod stat;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser as _;
use error::Error;

/// Damaged data was found.
const DAMAGED: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = run(&args, &mut out).and_then(|code| {
        out.flush().map_err(Error::Output)?;
        Ok(code)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has enough of it.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => dotter_daemon::exit_code("dotter-store", Err(error)),
    }
}

fn run(args: &Args, out: &mut impl Write) -> Result<u8, Error> {
    let dir = &args.data;
    match &args.command {
        Command::Add(options) => add::run(dir, options, &mut io::stdin().lock())?,
        Command::Read(options) => {
            let whole = read::run(dir, options, out)?;
            return Ok(if whole { 0 } else { DAMAGED });
        }
        Command::Stat { json } => stat::run(dir, *json, out)?,
        Command::Ledger { json } => ledger::run(dir, *json, out)?,
        Command::Verify => {
            let verified = dotter_store::verify(dir)?;
            for damage in &verified.damage {
                writeln!(out, "{} at byte {}: {}", damage.path.display(), damage.offset, damage.what)
                    .map_err(Error::Output)?;
            }
            let (files, bytes, dots) = (verified.files, verified.bytes, verified.dots);
            writeln!(
                out,
                "{files} files, {bytes} bytes, {dots} dots whole, {} damaged places",
                verified.damage.len()
            )
            .map_err(Error::Output)?;
            return Ok(if verified.damage.is_empty() { 0 } else { DAMAGED });
        }
    }
    Ok(0)
}
