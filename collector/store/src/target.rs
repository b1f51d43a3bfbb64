//! Where an export goes: standard output, what is no regular file, or a regular file.
//!
//! A regular file is written under another name in the same folder, and renamed once it is whole. A device, a pipe or
//! a socket is never replaced: the export is written into it, and bytes written before an error stay. Symbolic links
//! are followed, also to a file that does not exist yet.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// Symbolic links one behind the other, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// What is being written.
pub(crate) enum Target {
    /// What is there already, and stays.
    Direct { file: File, is_stdout: bool },
    /// A file that is to be at `place`.
    Beside { file: NamedTempFile, place: PathBuf },
}

impl Target {
    /// - `path`: `-` for standard output
    pub(crate) fn begin(path: &Path) -> Result<Target, Error> {
        let cannot = |doing| move |source| Error::File { doing, path: path.to_owned(), source };
        let stdout = || io::stdout().as_fd().try_clone_to_owned().map(File::from);
        if path.as_os_str() == "-" {
            return Ok(Target::Direct { file: stdout().map_err(Error::Output)?, is_stdout: true });
        }
        let there = match fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("look at")(error)),
        };
        if let Some(there) = &there {
            let file = stdout().map_err(Error::Output)?;
            let own = file.metadata().map_err(Error::Output)?;
            // `/dev/stdout` under any name: bytes that are in it already must stay.
            if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
                return Ok(Target::Direct { file, is_stdout: true });
            }
            if !there.is_file() {
                let file = File::options().write(true).open(path).map_err(cannot("write to"))?;
                return Ok(Target::Direct { file, is_stdout: false });
            }
        }
        let place = followed(path).map_err(cannot("follow the links of"))?;
        let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".dotter-export-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .map_err(cannot("make a file beside"))?;
        if let Some(there) = &there {
            // The new file has the mode of the old one, so that nobody may read it who could not read the old one.
            file.as_file().set_permissions(there.permissions()).map_err(cannot("set the permissions of"))?;
        }
        Ok(Target::Beside { file, place })
    }

    /// Another handle of the file that is written.
    pub(crate) fn file(&self) -> io::Result<File> {
        match self {
            Target::Direct { file, .. } => file.try_clone(),
            Target::Beside { file, .. } => file.as_file().try_clone(),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Target::Direct { is_stdout: true, .. })
    }

    /// Everything is written: puts it in its place.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Target::Beside { file, place } = self else { return Ok(()) };
        let path = &place;
        let cannot = |doing| move |source| Error::File { doing, path: path.clone(), source };
        file.as_file().sync_all().map_err(cannot("write"))?;
        file.persist(&place).map_err(|error| cannot("put in its place")(error.error))?;
        Ok(())
    }
}

/// Follows symbolic links until the last part of the path is none.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // The path is no link, or does not exist.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("more than {LINKS_MAX} symbolic links one behind the other")))
}
