//! The shared secret that a request carries.
//!
//! It must be hard to guess, is never printed, and is compared in constant time. Where it comes from is the program's
//! business.

use std::fmt;
use std::hint::black_box;

use crate::Error;

const BITS_MIN: f64 = 128.0;
/// Fewer different characters than this and a long token is a pattern, not chance.
const DIFFERENT_MIN: usize = 8;
const BYTES_MAX: usize = 4096;

/// A secret of at least 128 bits, as it stands in `Authorization: Bearer`.
#[derive(Clone)]
pub struct Token {
    secret: Box<[u8]>,
}

impl Token {
    /// Takes a token as a file or an environment variable holds it; blanks and line ends around it do not
    /// count.
    ///
    /// # Errors
    ///
    /// [`Error::TokenWeak`] when it is shorter than 128 bits (32 hexadecimal digits, 22 characters of
    /// base 64), repeats a few characters, or holds what `Authorization` cannot carry.
    pub fn from_env_value(value: &str) -> Result<Token, Error> {
        let secret = value.trim().as_bytes();
        let weak = |found| Err(Error::TokenWeak { found });
        if secret.is_empty() {
            return weak("is empty");
        }
        if secret.len() > BYTES_MAX {
            return weak("is longer than 4096 characters");
        }
        let sent_as_is = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b);
        if !secret.iter().all(sent_as_is) {
            return weak("holds characters other than letters, digits and -._~+/=");
        }
        let alphabet: f64 = match secret {
            s if s.iter().all(u8::is_ascii_digit) => 10.0,
            s if s.iter().all(u8::is_ascii_hexdigit) => 16.0,
            s if s.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) => 36.0,
            _ => 64.0,
        };
        if secret.len() as f64 * alphabet.log2() < BITS_MIN {
            return weak("is shorter than 128 bits");
        }
        let mut seen = [false; 256];
        secret.iter().for_each(|b| seen[usize::from(*b)] = true);
        if seen.iter().filter(|s| **s).count() < DIFFERENT_MIN {
            return weak("repeats a few characters");
        }
        Ok(Token { secret: secret.into() })
    }

    /// Whether `offered` is this token. Takes as long for a near miss as for a far one; only the length
    /// can be told from outside.
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        if offered.len() != self.secret.len() {
            return false;
        }
        let different = self.secret.iter().zip(offered).fold(0_u8, |sum, (a, b)| black_box(sum | (a ^ b)));
        different == 0
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

    const GOOD: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    #[test]
    fn a_token_needs_128_bits_and_sendable_characters() {
        for good in [GOOD, "Zk3rPq8_vW1xYt6uBn0mLd", "  0f1e2d3c4b5a69788796a5b4c3d2e1f0\n"] {
            Token::from_env_value(good).expect(good);
        }
        for bad in ["", "secret", &GOOD[1..], "12345678901234567890123456789012345678", &"ab".repeat(40)] {
            Token::from_env_value(bad).expect_err(bad);
        }
        Token::from_env_value("0f1e2d3c4b5a6978 8796a5b4c3d2e1f0").expect_err("a blank inside");
        Token::from_env_value("0f1e2d3c4b5a6978\r\n8796a5b4c3d2e1f0").expect_err("a line end inside");
    }

    #[test]
    fn only_the_whole_token_matches_and_it_is_never_printed() {
        let token = Token::from_env_value(GOOD).unwrap();
        assert!(token.matches(GOOD.as_bytes()));
        assert!(!token.matches(&GOOD.as_bytes()[1..]));
        assert!(!token.matches(GOOD.to_uppercase().as_bytes()));
        assert!(!token.matches(b""));
        assert!(!format!("{token:?}").contains(GOOD));
    }
}
