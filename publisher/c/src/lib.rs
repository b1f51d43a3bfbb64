//! The publisher for C: what `include/dotter.h` declares and explains.
//!
//! What always holds:
//!
//! - no panic leaves a function: it becomes `DOTTER_BUG`
//! - a NULL where there must be none becomes `DOTTER_NULL`, and nothing else happens
//! - a series belongs to its publisher, is the same pointer each time it is asked for, and goes with
//!   `dotter_close`
//! - nothing here allocates or locks on the way of a dot: a signal handler may publish where
//!   `dotter_publisher` lets it
// Pointers come in from C, and names go out to it: neither has a safe form.
#![allow(unsafe_code)]

mod failure;

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use dotter_publisher::{Publisher, Series, SeriesName, Timestamp};
use dotter_ring::SlowPath;

use crate::failure::Failure;

/// Changes where a program that was built for the last one would go wrong: `DOTTER_ABI`.
const ABI: u32 = 1;

/// `struct dotter`
pub struct Handle {
    publisher: Publisher,
    /// By name and unit. Boxed: what C holds is where they are. Locked only inside the slow path, so that
    /// a forked child finds it free.
    series: Mutex<HashMap<(SeriesName, String), Box<Series>>>,
}

/// `struct dotter_options`
#[repr(C)]
pub struct Options {
    struct_bytes: u32,
    lanes_max: u32,
    lane_dots: u64,
    registry_bytes: u64,
    application: *const c_char,
    path: *const c_char,
}

/// `struct dotter_counts`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    struct_bytes: u64,
    published: u64,
    refused_series: u64,
    refused_signal_handler: u64,
    refused_too_big: u64,
    refused_other: u64,
}

// The header makes the same statements to the C compiler.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Options>() == 40);
    assert!(std::mem::offset_of!(Options, lanes_max) == 4);
    assert!(std::mem::offset_of!(Options, lane_dots) == 8);
    assert!(std::mem::offset_of!(Options, registry_bytes) == 16);
    assert!(std::mem::offset_of!(Options, application) == 24);
    assert!(std::mem::offset_of!(Options, path) == 32);
};
const _: () = {
    assert!(size_of::<Counts>() == 48);
    assert!(std::mem::offset_of!(Counts, published) == 8);
    assert!(std::mem::offset_of!(Counts, refused_series) == 16);
    assert!(std::mem::offset_of!(Counts, refused_signal_handler) == 24);
    assert!(std::mem::offset_of!(Counts, refused_too_big) == 32);
    assert!(std::mem::offset_of!(Counts, refused_other) == 40);
};

/// Runs what a function of the header does; what it gives where that fails is `otherwise`'s.
fn guard<T>(otherwise: impl FnOnce(c_int) -> T, work: impl FnOnce() -> Result<T, Failure>) -> T {
    // Unwind safe: after a panic the handle is as it was, or holds one series more.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => done,
        Ok(Err(failure)) => otherwise(failure.note()),
        Err(panic) => {
            // What was thrown may throw again when it goes; nobody threw anything that needs to.
            std::mem::forget(panic);
            otherwise(Failure::bug().note())
        }
    }
}

/// The bytes of a C string.
///
/// # Safety
///
/// NULL, or a string that ends in a zero byte and stays as it is while the result is used.
unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: not NULL in this arm; the rest is the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Text that must be UTF-8; `what` it is stands in the message.
fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::text(&format!(
            "the {what} is not UTF-8 from byte {} on; nothing was done",
            error.valid_up_to()
        ))
    })
}

fn open(options: dotter_publisher::Options) -> Result<*mut Handle, Failure> {
    let publisher = options.open()?;
    Ok(Box::into_raw(Box::new(Handle { publisher, series: Mutex::default() })))
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_abi() -> u32 {
    ABI
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// See `dotter.h`.
///
/// # Safety
///
/// `application`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_open(application: *const c_char) -> *mut Handle {
    guard(null, || {
        let mut options = Publisher::options();
        // SAFETY: the caller's promise.
        if let Some(name) = unsafe { bytes(application) } {
            options = options.application(utf8(name, "application")?);
        }
        open(options)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `path`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_create(path: *const c_char, dots: u64) -> *mut Handle {
    guard(null, || {
        // SAFETY: the caller's promise.
        let path = unsafe { bytes(path) }.ok_or(Failure::null(c"the path is NULL; no ring was made"))?;
        open(Publisher::options().path(Path::new(OsStr::from_bytes(path))).lane_dots(dots))
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `options`: NULL, or a struct as the header declares it whose texts are NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_open_with(options: *const Options) -> *mut Handle {
    guard(null, || {
        if options.is_null() {
            return Err(Failure::null(c"the options are NULL; no ring was made"));
        }
        // SAFETY: not NULL; the first field is there whatever the struct's size.
        let found = unsafe { (*options).struct_bytes };
        if found as usize != size_of::<Options>() {
            let expected = size_of::<Options>();
            return Err(Failure::size(&format!(
                "the options say that they have {found} bytes, expected {expected}; no ring was made"
            )));
        }
        // SAFETY: all its fields are there.
        let options = unsafe { &*options };
        let mut wanted = Publisher::options();
        // SAFETY: the caller's promise.
        if let Some(name) = unsafe { bytes(options.application) } {
            wanted = wanted.application(utf8(name, "application")?);
        }
        // SAFETY: as above.
        if let Some(path) = unsafe { bytes(options.path) } {
            wanted = wanted.path(Path::new(OsStr::from_bytes(path)));
        }
        if options.lane_dots > 0 {
            wanted = wanted.lane_dots(options.lane_dots);
        }
        if options.lanes_max > 0 {
            wanted = wanted.lanes_max(options.lanes_max);
        }
        if options.registry_bytes > 0 {
            wanted = wanted.registry_bytes(options.registry_bytes);
        }
        open(wanted)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: NULL, or from one of the functions that open and not closed. `name`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_series(dotter: *mut Handle, name: *const c_char) -> *const Series {
    // SAFETY: the caller's promise.
    unsafe { dotter_series_with_unit(dotter, name, ptr::null()) }
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_series`]; `unit`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_series_with_unit(
    dotter: *mut Handle,
    name: *const c_char,
    unit: *const c_char,
) -> *const Series {
    guard(
        |_| ptr::null(),
        || {
            // SAFETY: the caller's promise: NULL or a living handle, which is only ever used as shared.
            let handle =
                unsafe { dotter.as_ref() }.ok_or(Failure::absent(c"the publisher is NULL; no series"))?;
            // SAFETY: as above.
            let name = unsafe { bytes(name) }.ok_or(Failure::null(c"the name is NULL; no series"))?;
            // SAFETY: as above.
            let unit = unsafe { bytes(unit) }.unwrap_or_default();
            handle.series(utf8(name, "name")?, utf8(unit, "unit")?)
        },
    )
}

impl Handle {
    /// Where the series of that name and unit is, for as long as the handle is.
    fn series(&self, name: &str, unit: &str) -> Result<*const Series, Failure> {
        let mut series = self.publisher.series(name)?;
        if !unit.is_empty() {
            series = series.unit(unit);
        }
        let key = (series.name().clone(), unit.to_owned());
        let _inside = SlowPath::enter().ok_or(Failure::interrupted())?;
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry(key).or_insert_with(|| Box::new(series));
        Ok(ptr::from_ref::<Series>(kept))
    }
}

/// What a dot on NULL says; made before, because a signal handler may ask.
const NO_SERIES: Failure = Failure::absent(c"the series is NULL; the dot is not published");

/// See `dotter.h`.
///
/// # Safety
///
/// `series`: NULL, or a series of a publisher that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_dot(series: *const Series, value: f64) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; nobody has another than a shared reference.
        unsafe { series.as_ref() }.ok_or(NO_SERIES)?.dot(value);
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_dot`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_dot_at(series: *const Series, nanoseconds: u64, value: f64) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_dot`.
        unsafe { series.as_ref() }.ok_or(NO_SERIES)?.dot_at(Timestamp::from_nanos(nanoseconds), value);
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_series`]. `counts`: NULL, or a struct whose first field says how long it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_counts(dotter: *const Handle, counts: *mut Counts) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_series_with_unit`.
        let handle =
            unsafe { dotter.as_ref() }.ok_or(Failure::absent(c"the publisher is NULL; nothing counted"))?;
        if counts.is_null() {
            return Err(Failure::null(c"the counts are NULL; nothing counted"));
        }
        // SAFETY: not NULL; the first field is there whatever the struct's size.
        let found = unsafe { (*counts).struct_bytes };
        let expected = size_of::<Counts>() as u64;
        if found != expected {
            return Err(Failure::size(&format!(
                "the counts say that they have {found} bytes, expected {expected}; nothing counted"
            )));
        }
        let refused = handle.publisher.refused();
        let now = Counts {
            struct_bytes: expected,
            published: handle.publisher.published().iter().sum(),
            refused_series: refused.series,
            refused_signal_handler: refused.signal_handler,
            refused_too_big: refused.too_big,
            refused_other: refused.other,
        };
        // SAFETY: the struct is as long as ours, as it has just said.
        unsafe { counts.write(now) };
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_series`]. `buffer`: NULL, or `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_path(dotter: *const Handle, buffer: *mut c_char, bytes: usize) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_series_with_unit`.
        let handle = unsafe { dotter.as_ref() }.ok_or(Failure::absent(c"the publisher is NULL; no path"))?;
        let path = handle.publisher.path();
        let path = path.as_os_str().as_bytes();
        let length =
            c_int::try_from(path.len()).map_err(|_| Failure::size("the path is too long; not copied"))?;
        if !buffer.is_null() && bytes > 0 {
            let copied = path.len().min(bytes - 1);
            // SAFETY: `copied` and one more fit into the caller's buffer, and no path of ours lies in it.
            unsafe {
                ptr::copy_nonoverlapping(path.as_ptr().cast(), buffer, copied);
                buffer.add(copied).write(0);
            }
        }
        Ok(length)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_series`]; neither it nor its series are used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_close(dotter: *mut Handle) -> c_int {
    guard(code, || {
        if !dotter.is_null() {
            // SAFETY: it came from `Box::into_raw` in `open`, and the caller gives it up.
            drop(unsafe { Box::from_raw(dotter) });
        }
        Ok(0)
    })
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_last_code() -> c_int {
    failure::last_code()
}

/// See `dotter.h`.
#[unsafe(no_mangle)]
pub extern "C" fn dotter_last_error() -> *const c_char {
    failure::last_message()
}

fn null(_: c_int) -> *mut Handle {
    ptr::null_mut()
}

fn code(code: c_int) -> c_int {
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_number_and_a_sentence() {
        assert_eq!(guard(code, || panic!("as it should")), -7);
        // SAFETY: the message is a C string, good until this thread's next failure.
        let message = unsafe { CStr::from_ptr(dotter_last_error()) };
        assert_eq!((dotter_last_code(), message.to_str().unwrap().contains("mistake")), (-7, true));
    }
}
