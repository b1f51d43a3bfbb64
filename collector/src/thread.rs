//! Threads the program cannot live without.

use std::thread::{Builder, JoinHandle};

use dotter_daemon::AbortOnPanic;

use crate::Error;

/// Starts a thread whose panic ends the process: without it the collector would look alive and do nothing, and
/// whoever restarts it would not know.
pub(crate) fn spawn_core<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let guarded = move || {
        let _guard = AbortOnPanic(name);
        work()
    };
    Builder::new().name(name.into()).spawn(guarded).map_err(|source| Error::Resources { what: name, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    /// Set for the child that is to panic.
    const PANIC: &str = "DOTTER_TEST_PANIC";

    #[test]
    fn a_panic_in_a_core_thread_ends_the_process() {
        if std::env::var_os(PANIC).is_some() {
            let thread = spawn_core("test", || panic!("as a bug would")).unwrap();
            let _: Result<(), _> = thread.join();
            std::process::exit(0);
        }
        let name = "thread::tests::a_panic_in_a_core_thread_ends_the_process";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(PANIC, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{output:?}");
    }
}
