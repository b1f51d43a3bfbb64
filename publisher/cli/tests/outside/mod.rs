//! The program and its rings, seen from outside.

use std::path::Path;
use std::process::{Child, Command, Output};

use dotter_ring::{Drained, LaneCursor, RingReader};

/// The program, without what the environment may say about rings.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotter-publisher"));
    command.args(args).env_remove("DOTTER_DIR").env_remove("DOTTER_PUBLISHER_PATH");
    command
}

/// What it prints and how it ends.
pub(crate) fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

/// Asks it to stop.
pub(crate) fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The dots of each lane; nothing may be lost.
pub(crate) fn read(path: &Path) -> (RingReader, Vec<Drained>) {
    let mut ring = RingReader::open(path).unwrap();
    let lanes = (0..ring.lanes_used()).map(|lane| {
        let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
        cursor.drain(&mut ring, usize::MAX, &mut out);
        assert!(out.losses.is_empty());
        out
    });
    let lanes = lanes.collect();
    (ring, lanes)
}

/// What a series is called.
pub(crate) fn name_of(ring: &mut RingReader, series: u32) -> String {
    ring.series(series).unwrap().name.as_ref().unwrap().to_string()
}
