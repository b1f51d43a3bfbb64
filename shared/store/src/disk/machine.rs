//! Reading the machine's clocks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dotter_dot::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::format::clock::Machine;

impl Machine {
    /// This machine, now.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn now() -> Result<Machine, Error> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut digits = text.bytes().filter_map(|byte| (byte as char).to_digit(16)).map(|digit| digit as u8);
        let mut boot = [0; 16];
        for byte in &mut boot {
            *byte = digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0);
        }
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map_err(|error| Error::io("read the boot-time clock beside", path)(error.into()))?;
        Ok(Machine { wall: Timestamp::now(), boot, since_boot: Duration::from(since_boot) })
    }
}
