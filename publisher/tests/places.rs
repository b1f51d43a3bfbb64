//! Places for rings: which a publisher, and a broker of the same user, take unless told otherwise.
// setresuid has no safe form.
#![allow(unsafe_code)]

mod common;

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use common::in_child;
use dotter_publisher::Publisher;
use dotter_ring::directory;

/// From now on this process may write only where others, or everybody, may.
fn be_nobody() {
    // SAFETY: takes numbers.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
        }
    }
}

#[test]
fn a_directory_that_one_cannot_write_to_is_no_place_for_rings() {
    let dir = tempfile::tempdir().unwrap();
    set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
    DirBuilder::new().mode(0o555).create(&closed).unwrap();
    DirBuilder::new().create(&open).unwrap();
    set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    in_child(|| {
        be_nobody();
        assert!(!directory::is_usable(&closed));
        assert!(Publisher::create(&closed, 1).is_err());
        assert!(directory::is_usable(&open));
        assert!(Publisher::create(&open, 1).is_ok());
        assert!(!directory::is_usable(&dir.path().join("none")));
    });
}
