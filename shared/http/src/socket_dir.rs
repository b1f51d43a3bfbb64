//! The directory of the private socket: mode 0700, new for every server, gone when the server is.

use std::fs::{DirBuilder, remove_dir, remove_file};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::Error;

const PREFIX: &str = "dotter-http.";
const SOCKET: &str = "socket";

/// Owns the directory; dropping it removes it.
#[derive(Debug)]
pub(crate) struct SocketDir {
    path: PathBuf,
}

impl SocketDir {
    /// Makes a new one under `parent`, and removes those that killed servers left there.
    pub(crate) fn create(parent: &Path) -> Result<SocketDir, Error> {
        remove_left_behind(parent);
        let pid = std::process::id();
        loop {
            let chance = RandomState::new().hash_one(pid);
            let path = parent.join(format!("{PREFIX}{pid}.{chance:016x}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(SocketDir { path }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error::SocketDir { path, source }),
            }
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = remove_file(self.socket());
        let _ = remove_dir(&self.path);
    }
}

/// A killed server cannot clean up. Its directory goes when its process is no more and nobody listens:
/// either alone could be a live server, in another process namespace or just starting.
fn remove_left_behind(parent: &Path) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|rest| rest.split('.').next());
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        // Others may write to a temporary directory: neither a link nor another user's directory is ours.
        let ours = |m: std::fs::Metadata| m.is_dir() && m.uid() == geteuid().as_raw();
        if !entry.path().symlink_metadata().is_ok_and(ours) {
            continue;
        }
        let dir = SocketDir { path: entry.path() };
        let live = match UnixStream::connect(dir.socket()) {
            Ok(_) => true,
            Err(e) => !matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
        };
        if live {
            std::mem::forget(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let dir = SocketDir::create(parent.path()).unwrap();
        assert_eq!(dir.path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let _listener = UnixListener::bind(dir.socket()).unwrap();
        let path = dir.path.clone();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn what_killed_servers_left_is_removed_and_live_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        // No process has this number: Linux stops at 2^22.
        let left = |name: &str| {
            let path = parent.path().join(format!("{PREFIX}4294967295.{name}"));
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (dead, live) = (left("dead"), left("live"));
        drop(UnixListener::bind(dead.join(SOCKET)).unwrap());
        let _listener = UnixListener::bind(live.join(SOCKET)).unwrap();
        let _mine = SocketDir::create(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(live.exists());
    }
}
