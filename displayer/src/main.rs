//! `dotter-displayer`: reads arguments, runs, prints the error.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = dotter_displayer::Args::parse();
    dotter_daemon::exit_code("dotter-displayer", dotter_displayer::run(args))
}
