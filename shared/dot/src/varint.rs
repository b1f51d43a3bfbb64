//! Numbers in as few bytes as they need: seven bits a byte, low ones first, the top bit says "more".
//!
//! Signed numbers go through [`zigzag`], which puts small ones of either sign first.

/// Appends `value`, 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes one number off the front of `bytes`; `None` where they end too soon or the number passes 64 bits.
///
/// `bytes` moves on only where a number was read.
#[inline]
pub fn get_varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    if first < 0x80 {
        *bytes = &bytes[1..];
        return Some(first as u64);
    }
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = (byte & 0x7f) as u64;
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

/// 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The way back from [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_at_every_length() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, !0 >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                let mut rest = &bytes[..];
                assert_eq!(get_varint(&mut rest), Some(value));
                assert!(rest.is_empty());
                assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
            }
        }
    }

    #[test]
    fn a_cut_or_endless_number_is_none() {
        assert_eq!(get_varint(&mut &[][..]), None);
        assert_eq!(get_varint(&mut &[0x80][..]), None);
        assert_eq!(get_varint(&mut &[0xff; 11][..]), None);
        assert_eq!(get_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None);
    }
}
