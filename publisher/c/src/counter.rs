//! `struct dotter_counter`: the running total of one instance.

use std::ffi::{c_char, c_int};
use std::ptr;

use dotter_publisher::Counter;

use crate::border::{code, const_null, guard, name, unit};
use crate::publisher::Handle;
use crate::tagged::{Tagged, tag};

tag!(Counter, b"dot:many", "the counter");

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts). `name`, `unit`: NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_counter(
    dotter: *const Tagged<Handle>,
    name_text: *const c_char,
    unit_text: *const c_char,
) -> *const Tagged<Counter> {
    guard(const_null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        // SAFETY: the caller's promise.
        let (name, unit) = unsafe { (name(name_text)?, unit(unit_text)?) };
        let mut counter = handle.publisher.counter(name)?;
        if !unit.is_empty() {
            counter = counter.unit(unit);
        }
        handle.kept(|kept| {
            let counters = kept.counters.entry((counter.name().clone(), unit.to_owned()));
            ptr::from_ref(&**counters.or_insert_with(|| Box::new(Tagged::new(counter))))
        })
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `counter`: NULL, or of a publisher that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_count(counter: *const Tagged<Counter>, more: u64) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; nobody has another than a shared reference.
        unsafe { Tagged::of(counter) }?.count(more);
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_count`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_total(counter: *const Tagged<Counter>) -> u64 {
    guard(
        |_| 0,
        || {
            // SAFETY: as in `dotter_count`.
            Ok(unsafe { Tagged::of(counter) }?.total())
        },
    )
}
