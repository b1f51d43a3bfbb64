//! The design's rule, and the same with one part left out.

/// What settling does with a whole frame that its writer did not publish.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unpublished {
    /// Rolls it forward: the frame counts.
    Counts,
    /// Leaves it out where the published word is of the same boot.
    IsVoid,
}

/// What the processes of one run keep to.
#[derive(Clone, Copy)]
pub struct Rule {
    pub name: &'static str,

    // Sentences of the design.
    pub unpublished: Unpublished,
    /// LOCK is taken only while MANIFEST.lock is held, and that is kept until the log is settled.
    pub log_lock_under_list_lock: bool,
    /// Another process's commit settles the log where LOCK is free.
    pub foreign_settles: bool,
    /// Readers count whole frames where the published word is of another boot.
    pub whole_frames_after_boot: bool,
    /// The collector unlinks a claim before it appends; the sender unlinks it before it goes another way.
    pub claims: bool,
    /// A writer whose sync failed voids its frames before it answers.
    pub voids_frames: bool,
    /// A maker whose sync failed overwrites its edit before it answers.
    pub voids_edit: bool,
    /// Frames are published after their sync, not before.
    pub sync_before_publish: bool,
    /// An edit is written to MANIFEST.2 and synced before it is published.
    pub second_copy: bool,
    /// Whoever takes MANIFEST.lock first completes both copies.
    pub completes: bool,

    // What the design leaves open, and the model shows to be needed.
    /// Whoever rolls frames or edits forward writes their bytes again before the sync: after a sync that
    /// failed the next one succeeds and writes nothing.
    pub writes_again: bool,
    /// Whoever rolls frames forward publishes them in their own file after the sync, before a new file is made.
    pub publishes_settled: bool,
    /// A foreign opener that begins no file writes again and syncs the header which it relies on.
    pub syncs_empty_file: bool,
    /// A writer begins a file of its own, even where the last one is empty.
    pub own_file: bool,
    /// The published word lies apart from the fixed length: half of a write of the word damages no header.
    pub word_apart: bool,
    /// The overwritten edit is synced before the answer.
    pub syncs_void: bool,
    /// An edit has the same place in both copies, behind what is published, whatever else is found there.
    pub keeps_place: bool,
    /// A follower keeps two places, one in the log and one in the list, not one place in the order.
    pub two_places: bool,
    /// A foreign commit that finds LOCK held stands behind every whole frame, not only behind published ones.
    /// The design says the opposite; it matters only where a published word is lost beside a living writer.
    pub behind_whole_frames: bool,
}

/// The rule of the design.
pub const DESIGN: Rule = Rule {
    name: "the design",
    unpublished: Unpublished::Counts,
    log_lock_under_list_lock: true,
    foreign_settles: true,
    whole_frames_after_boot: true,
    claims: true,
    voids_frames: true,
    voids_edit: true,
    sync_before_publish: true,
    second_copy: true,
    completes: true,
    writes_again: true,
    publishes_settled: true,
    syncs_empty_file: true,
    own_file: true,
    word_apart: true,
    syncs_void: true,
    keeps_place: true,
    two_places: true,
    behind_whole_frames: false,
};

/// The protocol that the design replaces: a frame that was written and not published counts from the next
/// opening on, behind every foreign commit made meanwhile, and a request without an answer is made twice.
pub const TODAY: Rule = Rule {
    name: "today's protocol",
    log_lock_under_list_lock: false,
    foreign_settles: false,
    whole_frames_after_boot: false,
    claims: false,
    publishes_settled: false,
    ..DESIGN
};
