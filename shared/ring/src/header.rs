//! The header of a ring file: who publishes, since when, where the parts lie.

use std::path::Path;

use dotter_dot::{Incarnation, Timestamp};

use crate::clock::{ClockKind, HZ_SANE};
use crate::crc::crc32c;
use crate::error::Error;
use crate::layout::{
    APPLICATION_BYTES_MAX, BLOCK_BYTES, BYTE_ORDER, Geometry, HEADER_BYTES, HEADER_CHECKED_BYTES, MAGIC,
    MAJOR, MINOR,
};
use crate::{process, sys};

/// Who made a ring, and when: what tells a living owner from a dead one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The random name of this life of the ring.
    pub incarnation: Incarnation,
    /// The system's name of the current boot.
    pub boot_id: [u8; 16],
    /// When the ring was made.
    pub created: Timestamp,
    /// The process.
    pub pid: u32,
    /// The user it acts as.
    pub uid: u32,
    /// When the process started, in the system's ticks since the boot.
    pub start_ticks: u64,
    /// The inode of its process namespace: process numbers mean something only inside.
    pub pid_namespace: u64,
}

impl Identity {
    /// This process, now, under a new incarnation.
    ///
    /// # Errors
    ///
    /// Where the system gives no random numbers. What /proc does not tell stays zero.
    pub fn of_this_process() -> Result<Identity, Error> {
        let mut incarnation = Incarnation::default();
        sys::random(&mut incarnation.0).map_err(Error::io("cannot read", Path::new("random numbers")))?;
        let pid = std::process::id();
        Ok(Identity {
            incarnation,
            boot_id: process::boot_id(),
            created: Timestamp::now(),
            pid,
            uid: sys::effective_user(),
            start_ticks: process::start_ticks(pid).unwrap_or(0),
            pid_namespace: process::pid_namespace(),
        })
    }
}

/// The checked part of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) application: String,
    pub(crate) clock: ClockKind,
    pub(crate) tick_hz: u64,
    pub(crate) geometry: Geometry,
}

impl Header {
    /// The bytes FORMAT.md describes.
    pub(crate) fn encode(&self) -> [u8; HEADER_CHECKED_BYTES] {
        let mut bytes = [0; HEADER_CHECKED_BYTES];
        let mut put =
            |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &BYTE_ORDER.to_le_bytes());
        put(12, &MAJOR.to_le_bytes());
        put(14, &MINOR.to_le_bytes());
        put(16, &(HEADER_BYTES as u32).to_le_bytes());
        put(24, &self.geometry.file_bytes.to_le_bytes());
        put(32, &self.identity.incarnation.0);
        put(48, &self.identity.boot_id);
        put(64, &self.identity.created.nanos().to_le_bytes());
        put(72, &self.clock.code().to_le_bytes());
        put(76, &(BLOCK_BYTES as u32).to_le_bytes());
        put(80, &self.tick_hz.to_le_bytes());
        put(88, &self.identity.pid.to_le_bytes());
        put(92, &self.identity.uid.to_le_bytes());
        put(96, &self.identity.start_ticks.to_le_bytes());
        put(104, &self.geometry.lanes_max.to_le_bytes());
        put(108, &self.geometry.lane_log2.to_le_bytes());
        put(112, &self.geometry.control_offset.to_le_bytes());
        put(120, &self.geometry.lanes_offset.to_le_bytes());
        put(128, &self.geometry.registry_offset.to_le_bytes());
        put(136, &self.geometry.registry_bytes.to_le_bytes());
        put(144, &self.identity.pid_namespace.to_le_bytes());
        put(192, self.application.as_bytes());
        let sum = crc32c(&[&bytes]);
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads and checks what a file says of itself; `path` is for the error.
    pub(crate) fn decode(bytes: &[u8; HEADER_CHECKED_BYTES], path: &Path) -> Result<Header, Error> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u16_at(at) as u32 | (u16_at(at + 2) as u32) << 16;
        let u64_at = |at: usize| u32_at(at) as u64 | (u32_at(at + 4) as u64) << 32;
        let sixteen_at = |at: usize| std::array::from_fn::<u8, 16, _>(|index| bytes[at + index]);
        let wrong = |offset: usize, found: String, expected: &str| {
            let (path, expected) = (path.to_owned(), expected.to_owned());
            Error::Header { path, offset, found, expected }
        };

        if bytes[..8] != MAGIC {
            return Err(Error::NotARing { path: path.to_owned() });
        }
        if u32_at(8) != BYTE_ORDER {
            return Err(wrong(8, format!("{:#010x}", u32_at(8)), "0x01020304"));
        }
        if u16_at(12) != MAJOR {
            return Err(Error::Version { path: path.to_owned(), found: u16_at(12), known: MAJOR });
        }
        let mut unsummed = *bytes;
        unsummed[20..24].fill(0);
        let sum = crc32c(&[&unsummed]);
        if u32_at(20) != sum {
            return Err(wrong(20, format!("checksum {:08x}", u32_at(20)), &format!("{sum:08x}")));
        }
        if u32_at(16) as u64 != HEADER_BYTES {
            return Err(wrong(16, u32_at(16).to_string(), "4096"));
        }
        if u32_at(76) as u64 != BLOCK_BYTES {
            return Err(wrong(76, u32_at(76).to_string(), "4096"));
        }
        let clock = ClockKind::of_code(u32_at(72))
            .ok_or_else(|| wrong(72, u32_at(72).to_string(), "clock kind 0, 1 or 2"))?;
        let tick_hz = u64_at(80);
        if clock != ClockKind::Realtime && !HZ_SANE.contains(&tick_hz) {
            return Err(wrong(80, format!("{tick_hz} ticks a second"), "10^6 to 10^11"));
        }
        let geometry = Geometry {
            file_bytes: u64_at(24),
            registry_offset: u64_at(128),
            registry_bytes: u64_at(136),
            control_offset: u64_at(112),
            lanes_offset: u64_at(120),
            lanes_max: u32_at(104),
            lane_log2: u32_at(108),
        };
        if !geometry.is_sound() {
            return Err(wrong(104, format!("{geometry:?}"), "parts in order, inside the file"));
        }
        let name = &bytes[192..192 + APPLICATION_BYTES_MAX];
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let application = std::str::from_utf8(&name[..length])
            .ok()
            .filter(|name| is_application(name))
            .ok_or_else(|| wrong(192, name[..length].escape_ascii().to_string(), "an application name"))?;
        Ok(Header {
            identity: Identity {
                incarnation: Incarnation(sixteen_at(32)),
                boot_id: sixteen_at(48),
                created: Timestamp::from_nanos(u64_at(64)),
                pid: u32_at(88),
                uid: u32_at(92),
                start_ticks: u64_at(96),
                pid_namespace: u64_at(144),
            },
            application: application.to_owned(),
            clock,
            tick_hz,
            geometry,
        })
    }
}

/// Whether `name` can stand in the header and in front of a file name.
pub(crate) fn is_application(name: &str) -> bool {
    (1..=APPLICATION_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LANE_LOG2_MIN;

    fn header() -> Header {
        Header {
            identity: Identity {
                incarnation: Incarnation([7; 16]),
                boot_id: [8; 16],
                created: Timestamp::from_nanos(9),
                pid: 10,
                uid: 11,
                start_ticks: 12,
                pid_namespace: 13,
            },
            application: "größe".into(),
            clock: ClockKind::Tsc,
            tick_hz: 2_600_000_000,
            geometry: Geometry::new(4096, 3, LANE_LOG2_MIN),
        }
    }

    #[test]
    fn a_header_reads_as_it_was_written() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes, Path::new("x")).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bytes, Path::new("x")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn parts_that_leave_the_file_or_overlap_are_refused() {
        let check = |change: &dyn Fn(&mut Header), message: &str| {
            let mut header = header();
            change(&mut header);
            let error = Header::decode(&header.encode(), Path::new("x")).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(&|h| h.geometry.lanes_max = 0, "byte 104");
        check(&|h| h.geometry.lanes_max = u32::MAX, "byte 104");
        check(&|h| h.geometry.lane_log2 = 63, "byte 104");
        check(&|h| h.geometry.lane_log2 = u32::MAX, "byte 104");
        check(&|h| h.geometry.file_bytes = u64::MAX, "byte 104");
        check(&|h| h.geometry.file_bytes -= 4096, "byte 104");
        check(&|h| h.geometry.registry_offset = 0, "byte 104");
        check(&|h| h.geometry.registry_bytes = u64::MAX - 4095, "byte 104");
        check(&|h| h.geometry.control_offset = h.geometry.lanes_offset, "byte 104");
        check(&|h| h.geometry.lanes_offset += 8, "byte 104");
        check(&|h| h.tick_hz = 0, "byte 80");
        check(&|h| h.application = "../x".into(), "byte 192");
    }
}
