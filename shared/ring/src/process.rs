//! What /proc tells about processes: whether the owner of a ring is still the one it was.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// The system's name of the current boot; zero where /proc does not tell.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).unwrap_or(0);
    number.to_be_bytes()
}

/// The same, asked of the system once.
///
/// Threads that ask at the same time each ask the system: a lock that let only one of them ask would be a lock
/// that a forked child could find held for ever.
pub(crate) fn boot_id_cached() -> [u8; 16] {
    static HALVES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    static KNOWN: AtomicBool = AtomicBool::new(false);
    // Acquire, pair "boot id": whoever sees that it is known sees both halves. The Release half is below.
    if KNOWN.load(Acquire) {
        let [high, low] = HALVES.each_ref().map(|half| u128::from(half.load(Relaxed)));
        return (high << 64 | low).to_be_bytes();
    }
    let id = boot_id();
    let number = u128::from_be_bytes(id);
    // Whoever else stores here stores the same.
    HALVES[0].store((number >> 64) as u64, Relaxed);
    HALVES[1].store(number as u64, Relaxed);
    KNOWN.store(true, Release);
    id
}

/// The inode of this process's process namespace; zero where /proc does not tell.
pub(crate) fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// Inodes of the files that this process has mapped; none where /proc does not tell.
pub(crate) fn mapped_inodes() -> HashSet<u64> {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    // Addresses, permissions, offset, device, inode and a path that may be anything, with blanks between.
    let inode = |line: &[u8]| {
        let field = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).nth(4)?;
        std::str::from_utf8(field).ok()?.parse().ok()
    };
    maps.split(|byte| *byte == b'\n').filter_map(inode).filter(|inode| *inode != 0).collect()
}

/// When a process started, in ticks since the boot; `None` where there is none, or only its remains.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_ticks(&stat)
}

/// The command, second field, may hold anything, so fields are counted from its closing parenthesis.
fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    // The state was the third field, the start is the 22nd.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_command() {
        let rest = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_start_ticks(format!("12 (a) b) (c) S {rest}").as_bytes()), Some(4711));
        assert_eq!(parse_start_ticks(format!("12 (\u{fc}) Z {rest}").as_bytes()), None);
        assert_eq!(parse_start_ticks(b"12 (x) S 1 2"), None);
        assert_eq!(parse_start_ticks(b""), None);
        assert!(start_ticks(std::process::id()).is_some());
    }

    #[test]
    fn the_boot_id_is_the_same_each_time() {
        assert_eq!([boot_id_cached(), boot_id_cached()], [boot_id(); 2]);
        assert_ne!(boot_id(), [0; 16]);
    }
}
