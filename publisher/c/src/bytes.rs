//! `struct dotter_bytes`: a series of raw bytes.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use dotter_publisher::{Bytes, Timestamp};

use crate::border::{code, const_null, guard, name};
use crate::failure::Failure;
use crate::publisher::Handle;
use crate::tagged::{Tagged, tag};

tag!(Bytes, b"dot:byte", "the series of bytes");

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts). `name`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_bytes(
    dotter: *const Tagged<Handle>,
    name_text: *const c_char,
) -> *const Tagged<Bytes> {
    guard(const_null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        // SAFETY: the caller's promise.
        let series = handle.publisher.bytes(unsafe { name(name_text) }?)?;
        handle.kept(|kept| {
            let bytes = kept.bytes.entry(series.name().clone());
            ptr::from_ref(&**bytes.or_insert_with(|| Box::new(Tagged::new(series))))
        })
    })
}

/// Bytes as C gives them.
///
/// # Safety
///
/// `bytes`: NULL, or so many bytes that stay as they are while the result is used.
#[inline(always)]
pub(crate) unsafe fn content<'a>(bytes: *const c_void, size: usize) -> Result<&'a [u8], Failure> {
    if size == 0 {
        return Ok(&[]);
    }
    if bytes.is_null() {
        return Err(Failure::null(c"the bytes are NULL; they are not published"));
    }
    if size > isize::MAX as usize {
        return Err(Failure::constant_size(c"there are more bytes than can be; they are not published"));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size) })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `series`: NULL, or of a publisher that is not closed. `bytes`: NULL, or so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_dot_bytes(
    series: *const Tagged<Bytes>,
    bytes: *const c_void,
    size: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; nobody has another than a shared reference.
        let (series, bytes) = unsafe { (Tagged::of(series)?, content(bytes, size)?) };
        series.dot(bytes);
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_dot_bytes`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_dot_at_bytes(
    series: *const Tagged<Bytes>,
    nanoseconds: u64,
    bytes: *const c_void,
    size: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_dot_bytes`.
        let (series, bytes) = unsafe { (Tagged::of(series)?, content(bytes, size)?) };
        series.dot_at(Timestamp::from_nanos(nanoseconds), bytes);
        Ok(0)
    })
}
