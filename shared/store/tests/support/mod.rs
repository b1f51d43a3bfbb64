//! What the tests of this crate share: a random source with a seed, and a copy of a store as a crash leaves it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::Path;

use dotter_dot::Incarnation;

/// Random numbers from a seed that is printed and can be given back as DOTTER_SEED.
pub struct Random(u64);

impl Random {
    pub fn from_env() -> Random {
        let seed = match std::env::var("DOTTER_SEED") {
            Ok(seed) => seed.parse().expect("DOTTER_SEED is a number"),
            Err(_) => {
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
            }
        };
        println!("DOTTER_SEED={seed}");
        Random(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
}

pub fn incarnation(number: u8) -> Incarnation {
    Incarnation([number; 16])
}

/// Copies a store file by file: what another process would find if its writer died now.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
