//! What the collector asks for before it takes anything: read from a file only its owner can read, or from the
//! environment; never from a command line, never shown.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::Error;

const BYTES_MAX: u64 = 4096;

/// A secret for the header `Authorization`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads a token from a file; blanks around it do not count.
    ///
    /// # Errors
    ///
    /// [`Error::TokenFile`] where it cannot be read, [`Error::TokenFileOpen`] where others can read it or it is no
    /// regular file, and as [`Token::new`].
    pub fn from_file(path: &Path) -> Result<Token, Error> {
        let failed = |source: io::Error| Error::TokenFile { path: path.to_owned(), source };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_file() || mode & 0o077 != 0 {
            return Err(Error::TokenFileOpen { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        Token::new(&text)
    }

    /// Takes a token as it stands in the environment; blanks around it do not count.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] where it is empty, too long, or has characters a header cannot carry as they are.
    pub fn new(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        let sent_as_is = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        let right = !text.is_empty() && text.len() as u64 <= BYTES_MAX && text.bytes().all(sent_as_is);
        if right { Ok(Token(text.to_owned())) } else { Err(Error::Token) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_a_private_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Token::from_file(&path), Err(Error::TokenFileOpen { mode: 0o644, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let token = Token::from_file(&path).unwrap();
        assert_eq!(token.as_str(), "0f1e2d3c4b5a69788796a5b4c3d2e1f0");
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert!(matches!(Token::from_file(&directory.path().join("none")), Err(Error::TokenFile { .. })));
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for text in ["", "  ", "a b", "a\nb", "ä", &"x".repeat(4097)] {
            assert!(matches!(Token::new(text), Err(Error::Token)), "{text}");
        }
    }
}
