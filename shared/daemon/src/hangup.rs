//! SIGHUP: "look at your files again". Without this it would end the process.

use std::io;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

/// Takes SIGHUP from now on; a thread of its own calls `act` after each. Signals that come while `act` runs are one.
///
/// # Errors
///
/// Where the signal cannot be taken or the thread that waits for it cannot be started.
pub fn on_hangup(act: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    std::thread::Builder::new().name("hangup".into()).spawn(move || {
        for _ in signals.forever() {
            act();
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_hangup_is_told_and_the_process_goes_on() {
        let (tell, told) = channel();
        on_hangup(move || _ = tell.send(())).unwrap();
        for _ in 0..2 {
            signal_hook::low_level::raise(SIGHUP).unwrap();
            told.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }
}
