//! What a panic in a thread means: the end of the process.

/// Ends the process when the thread that holds it panics: a program that goes on without one of its threads looks alive
/// and does not do its work, while one that has ended is started anew.
///
/// ```should_panic
/// let thread = std::thread::spawn(|| {
///     let _guard = dotter_daemon::AbortOnPanic("example");
///     panic!("a bug");
/// });
/// // Never comes to its end: the process is gone.
/// let _ = thread.join();
/// ```
pub struct AbortOnPanic(
    /// What the thread is called.
    pub &'static str,
);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("thread {} panicked; ending the process so that it is restarted", self.0);
            std::process::abort();
        }
    }
}
