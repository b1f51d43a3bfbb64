//! The token of requests, as every program reads it: from a file that only its owner can read, else from
//! `DOTTER_TOKEN`; never from a command line, never shown.
//!
//! Always true: who names a token gets one or an error. A program goes on without a token only where no file is named
//! and the variable is not set at all: an empty or damaged one is a mistake, and a door that opens by mistake is the
//! last thing a token is for.

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

const VARIABLE: &str = "DOTTER_TOKEN";
const BYTES_MAX: usize = 4096;

/// The text of a token: 1 to 4096 characters that the header `Authorization` carries as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Blanks and line ends around it do not count.
    fn of(bytes: Vec<u8>, origin: &Origin) -> Result<Secret, TokenError> {
        let wrong = |found| TokenError::Text { origin: origin.clone(), found };
        if bytes.len() > BYTES_MAX {
            return Err(wrong("is longer than 4096 bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))?;
        let text = text.trim();
        let sent_as_is = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if text.is_empty() {
            return Err(wrong("is empty"));
        }
        if !text.bytes().all(sent_as_is) {
            return Err(wrong("holds other characters"));
        }
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Where a token was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable `DOTTER_TOKEN`.
    Environment,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Environment => write!(f, "${VARIABLE}"),
            Origin::File(path) => write!(f, "token file {}", path.display()),
        }
    }
}

/// Why a token that is there cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no regular file, or others than its owner can read it.
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is there is no token.
    Text {
        /// Where.
        origin: Origin,
        /// Why not, in words that do not repeat it.
        found: &'static str,
    },
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Read { path, .. } => write!(f, "cannot read token file {}", path.display()),
            TokenError::Open { path, mode } => write!(
                f,
                "token file {} has mode {mode:04o}, expected a regular file that only its owner can read (0600)",
                path.display()
            ),
            TokenError::Text { origin, found } => {
                write!(f, "{origin} {found}, expected a token of letters, digits and -._~+/=")?;
                match origin {
                    Origin::Environment => write!(f, "; unset {VARIABLE} to go without one"),
                    Origin::File(_) => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TokenError::Read { source, .. } => Some(source),
            TokenError::Open { .. } | TokenError::Text { .. } => None,
        }
    }
}

/// The token a program is given: what `file` holds, else what `DOTTER_TOKEN` holds; `None` where neither is there.
///
/// # Errors
///
/// Where the file cannot be read, is a link or no regular file, or can be read by others than its owner; where the file
/// or the variable is empty, not UTF-8, or no text that `Authorization` carries as it is.
pub fn token(file: Option<&Path>) -> Result<Option<Secret>, TokenError> {
    token_of(file, std::env::var_os(VARIABLE))
}

fn token_of(file: Option<&Path>, variable: Option<OsString>) -> Result<Option<Secret>, TokenError> {
    match (file, variable) {
        (Some(path), _) => Secret::of(read(path)?, &Origin::File(path.to_owned())).map(Some),
        (None, Some(value)) => Secret::of(value.into_vec(), &Origin::Environment).map(Some),
        (None, None) => Ok(None),
    }
}

/// At most one byte more than a token may have.
fn read(path: &Path) -> Result<Vec<u8>, TokenError> {
    let failed = |source: io::Error| TokenError::Read { path: path.to_owned(), source };
    // Not following links keeps a name in a public place from leading elsewhere; not blocking keeps a FIFO from
    // holding us up.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_file() || mode & 0o077 != 0 {
        return Err(TokenError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    fn private_file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_token_is_what_the_file_holds_else_the_variable() {
        let (_dir, path) = private_file(format!(" {GOOD}\r\n").as_bytes());
        let other = || Some(OsString::from("another\n"));
        let text =
            |file, variable| token_of(file, variable).unwrap().map(|secret| secret.as_str().to_owned());
        assert_eq!(text(Some(&path), None).as_deref(), Some(GOOD));
        assert_eq!(text(Some(&path), other()).as_deref(), Some(GOOD));
        assert_eq!(text(None, other()).as_deref(), Some("another"));
        assert_eq!(text(None, None), None);
        assert!(!format!("{:?}", token_of(Some(&path), None)).contains(GOOD));
    }

    #[test]
    fn a_token_that_is_there_and_is_none_is_an_error_wherever_it_stands() {
        let long = "x".repeat(4097);
        let empty: &[u8] = b"";
        for bad in
            [empty, b" \n", b"\xff\xfe0f1e", b"a b", b"a\nb", b"a\0b", "\u{e4}".as_bytes(), long.as_bytes()]
        {
            let (_dir, path) = private_file(bad);
            for (file, origin) in [(Some(&*path), Origin::File(path.clone())), (None, Origin::Environment)] {
                let error = token_of(file, Some(OsString::from_vec(bad.to_vec()))).unwrap_err();
                assert!(
                    matches!(&error, TokenError::Text { origin: found, .. } if *found == origin),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_file_others_can_read_is_refused() {
        let (dir, path) = private_file(GOOD.as_bytes());
        for mode in [0o644, 0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let found = token_of(Some(&path), None);
            assert!(matches!(found, Err(TokenError::Open { mode: found, .. }) if found == mode), "{mode:o}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(
            matches!(token_of(Some(&link), None), Err(TokenError::Read { .. })),
            "a link is not followed"
        );
        assert!(matches!(token_of(Some(dir.path()), None), Err(TokenError::Open { .. })), "a directory");
        let none = dir.path().join("none");
        assert!(matches!(token_of(Some(&none), Some(GOOD.into())), Err(TokenError::Read { .. })), "no file");
    }
}
