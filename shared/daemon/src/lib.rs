//! What every program shares: the stop flag, SIGHUP, log lines, numbers on the command line, the token, self-metrics, exit
//! codes.

mod args;
mod exit;
mod hangup;
mod log;
mod metrics;
mod panic;
mod stop;
mod token;

pub use args::{bytes_arg, duration_arg, store_bytes_arg};
pub use exit::{chain, exit_code};
pub use hangup::on_hangup;
pub use log::Log;
pub use metrics::Exposition;
pub use panic::AbortOnPanic;
pub use stop::{StopFlag, stop_on_signals};
pub use token::{Origin, Secret, TokenError, token};
