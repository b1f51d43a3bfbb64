//! How much of what was written was read.

/// What a reader got of what was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) written: u64,
    pub(super) seen: u64,
    pub(super) lost: u64,
}

impl Counts {
    pub(super) fn json(&self) -> String {
        format!(r#""written": {}, "seen": {}, "lost": {}"#, self.written, self.seen, self.lost)
    }
}
