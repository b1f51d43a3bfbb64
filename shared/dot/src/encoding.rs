//! Raw bytes as text: hex in lines and tables, base64 in JSON.
//!
//! Always true: whatever bytes are written are read back as the same bytes, and bytes have one base64 text. Hex digits
//! are written in lower case and read in either.
//!
//! Source: RFC 4648, "Base 64 Encoding"; its padding is written and expected, and the bits behind the last byte are
//! zero.

use std::fmt;

/// What hex begins with.
const PREFIX: &str = "0x";

const HEX: &[u8; 16] = b"0123456789abcdef";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What no digit has.
const NONE: u8 = 0xff;

/// By character: which digit of base64 it is.
const BASE64_DIGITS: [u8; 256] = digits(BASE64);

const fn digits(alphabet: &[u8; 64]) -> [u8; 256] {
    let mut all = [NONE; 256];
    let mut at = 0;
    while at < alphabet.len() {
        all[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    all
}

fn hex_digits(byte: u8) -> [u8; 2] {
    [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]
}

/// Appends bytes as `0x` and two hex digits for each.
pub fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(PREFIX.len() + 2 * bytes.len());
    out.extend_from_slice(PREFIX.as_bytes());
    out.extend(bytes.iter().flat_map(|byte| hex_digits(*byte)));
}

/// Writes bytes as [`put_hex`] does.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(PREFIX)?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Appends the bytes that `0x` and hex digits stand for; `None` where a text is something else, and `out` may then
/// have some of them.
pub fn read_hex(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = text.strip_prefix(PREFIX)?.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    out.reserve(pairs.len());
    for [high, low] in pairs {
        out.push((digit(*high)? << 4 | digit(*low)?) as u8);
    }
    rest.is_empty().then_some(())
}

/// Appends bytes as base64 with padding.
pub fn put_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().unwrap_or(0) as u32;
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = BASE64[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
}

/// Appends the bytes that a base64 text stands for; `None` where it is none, and `out` may then have some of them.
pub fn read_base64(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    out.reserve(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let is_last = index + 1 == groups.len();
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > if is_last { 2 } else { 0 } {
            return None;
        }
        let mut word = 0;
        for byte in &group[..4 - padding] {
            let digit = BASE64_DIGITS[*byte as usize];
            if digit == NONE {
                return None;
            }
            word = word << 6 | digit as u32;
        }
        let [_, bytes @ ..] = (word << (6 * padding)).to_be_bytes();
        let (bytes, behind) = bytes.split_at(3 - padding);
        if behind.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(bytes);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        read_hex(text, &mut out).map(|()| out)
    }

    fn base64(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        read_base64(text, &mut out).map(|()| out)
    }

    fn written(put: fn(&[u8], &mut Vec<u8>), bytes: &[u8]) -> String {
        let mut out = b"before ".to_vec();
        put(bytes, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn bytes_have_a_hex_text() {
        let check = |bytes: &[u8], text: &str| {
            assert_eq!((written(put_hex, bytes), hex(text)), (text.to_owned(), Some(bytes.to_vec())));
        };
        check(&[], "0x");
        check(&[0, 0x0a, 0xff], "0x000aff");
        assert_eq!(hex("0xAbCd"), Some(vec![0xab, 0xcd]));
        for text in
            ["", "0", "00", "x00", "0X00", "0x0", "0x000", "0xgg", "0x 0", "0x00 ", " 0x00", "0x+0", "0xé"]
        {
            assert_eq!(hex(text), None, "{text}");
        }
    }

    /// Source: RFC 4648, "Test Vectors".
    #[test]
    fn bytes_have_the_base64_text_of_the_standard() {
        let check = |bytes: &[u8], text: &str| {
            assert_eq!((written(put_base64, bytes), base64(text)), (text.to_owned(), Some(bytes.to_vec())));
        };
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foob", "Zm9vYg==");
        check(b"fooba", "Zm9vYmE=");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xfb, 0xff], "+/8=");
        let wrong = [
            "Z", "Zg", "Zg=", "Zg===", "Zm9", "Zh==", "Zm9=", "====", "=", "Z===", "Zg==Zg==", "Zm8=Zm8=",
            "Zm9v=", "-_8=", "Zm 8", "Zm9v\n", "Z=8=", "Zmé=",
        ];
        for text in wrong {
            assert_eq!(base64(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_both(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(hex(&written(put_hex, &bytes)), Some(bytes.clone()));
            prop_assert_eq!(base64(&written(put_base64, &bytes)), Some(bytes));
        }

        #[test]
        fn what_is_read_from_base64_has_no_other_text(text in "[A-D+/=]{0,12}") {
            if let Some(bytes) = base64(&text) {
                prop_assert_eq!(written(put_base64, &bytes), text);
            }
        }
    }
}
