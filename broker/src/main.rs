//! The dotter-broker program: reads its arguments, runs, says what went wrong.

mod args;

use std::process::ExitCode;

use clap::Parser as _;
use dotter_broker::{Error, run};
use dotter_daemon::{Log, exit_code, stop_on_signals};

fn main() -> ExitCode {
    let args = args::Args::parse();
    let work = || {
        let stop = stop_on_signals().map_err(Error::Thread)?;
        run(&args.options()?, &stop, &Log::new("dotter-broker")).map(drop)
    };
    exit_code("dotter-broker", work())
}
