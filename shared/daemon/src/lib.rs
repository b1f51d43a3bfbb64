//! What every program shares: the stop flag, log lines, numbers on the command line, the token, self-metrics, exit
//! codes.

mod args;
mod exit;
mod log;
mod metrics;
mod panic;
mod stop;
mod token;

pub use args::duration_arg;
pub use exit::{chain, exit_code};
pub use log::Log;
pub use metrics::Exposition;
pub use panic::AbortOnPanic;
pub use stop::{StopFlag, stop_on_signals};
pub use token::{Origin, Secret, TokenError, token};
