//! The dotter-collector program: reads its arguments, runs, says what went wrong.

mod args;

use std::process::ExitCode;

use clap::Parser as _;
use dotter_collector::{Error, run};
use dotter_daemon::{Log, exit_code, stop_on_signals};

fn main() -> ExitCode {
    let args = args::Args::parse();
    let work = || {
        let stop =
            stop_on_signals().map_err(|source| Error::Resources { what: "a signal handler", source })?;
        run(args.options()?, &stop, &Log::new("dotter-collector"))
    };
    exit_code("dotter-collector", work())
}
